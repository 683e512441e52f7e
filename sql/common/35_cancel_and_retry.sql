-- Cancelling calls, and making them again.

-- A NULL reason leaves reason, error and hint of the last attempt.
CREATE FUNCTION wee5_cron.end_call(call_id bigint, status text, reason text DEFAULT NULL, error text DEFAULT NULL,
                                   hint text DEFAULT NULL) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  now constant timestamptz := clock_timestamp();
BEGIN
  UPDATE wee5_cron.invocation i
  SET status = $2, next_attempt_at = NULL, finished_at = now, duration = now - i.first_sent_at,
      reason = CASE WHEN $3 IS NULL THEN i.reason ELSE $3 END,
      error = CASE WHEN $3 IS NULL THEN i.error ELSE $4 END,
      hint = CASE WHEN $3 IS NULL THEN i.hint ELSE $5 END
  -- Not "finished_at IS NULL": Postgres could then read an index of all open rows, which it may take for an empty one.
  WHERE i.id = $1 AND coalesce(i.finished_at, 'infinity') = 'infinity';
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION wee5_cron.end_call(bigint, text, text, text, text) IS
  'Internal: ends a call that is not on the wire; false if it has ended already';

CREATE FUNCTION wee5_cron.end_cancelled(call_id bigint, endpoint_path text) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.end_call($1, 'cancelled', 'cancelled', wee5_cron.outcome_error('cancelled', $2)) $$;
COMMENT ON FUNCTION wee5_cron.end_cancelled(bigint, text) IS
  'Internal, for cancel() and arm(): ends a call as cancelled; false if it has ended already';

-- Only the worker knows whether it is sending a call, so it decides whether cancel() was in time. A session that writes here
-- locks no row of the ledger, so the worker never waits for it. There is no key: two sessions that cancel the same calls do
-- not wait for each other. If the table is published, Postgres needs a replica identity for DELETE.
CREATE TABLE wee5_cron.cancellation (
  invocation_id bigint NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  requested_by name NOT NULL DEFAULT SESSION_USER,
  replaced_by bigint
);
ALTER TABLE wee5_cron.cancellation REPLICA IDENTITY FULL;
COMMENT ON TABLE wee5_cron.cancellation IS 'Calls that the worker is asked to give up: by cancel(), or by a newer call with the same key. The worker deletes the row when the call has ended';
COMMENT ON COLUMN wee5_cron.cancellation.replaced_by IS
  'The newer call with the same key, which replaces this one unless it is in flight; NULL: cancel() was called';

-- pg_net's worker locks the rows of the batch that it sends: those cannot be taken back. The caller of this function holds the
-- call's row locked.
CREATE FUNCTION wee5_cron.take_back_from_pg_net(call wee5_cron.invocation) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  taken_back bigint;
BEGIN
  IF call.next_attempt_at IS NULL AND wee5_cron.pg_net_installed() THEN
    PERFORM wee5_cron.refuse_tampered_queue();
    EXECUTE $query$
      DELETE FROM net.http_request_queue d WHERE d.id IN (
        SELECT q.id FROM net.http_request_queue q JOIN wee5_cron.pg_net_request b ON b.request_id = q.id
        WHERE b.invocation_id = $1 AND b.queue = 'net.http_request_queue'::regclass FOR UPDATE OF q SKIP LOCKED)
    $query$ USING call.id;
    GET DIAGNOSTICS taken_back = ROW_COUNT;
    IF taken_back = 0 THEN
      RETURN false;
    END IF;
  END IF;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call.id;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.take_back_from_pg_net(wee5_cron.invocation) IS
  'Internal: removes a call from pg_net''s queue; false if pg_net has begun to send it';

CREATE FUNCTION wee5_cron.cancel_on_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
BEGIN
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF NOT wee5_cron.take_back_from_pg_net(call) THEN
    RAISE NOTICE 'call % cannot be cancelled: pg_net is sending it, or has sent it', call_id
      USING HINT = format('SELECT wee5_cron.wait_for(%s);', call_id);
    RETURN false;
  END IF;
  RETURN wee5_cron.end_cancelled(call_id, call.endpoint_path);
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel_on_pg_net(bigint) IS
  'Internal, for cancel() and arm(): cancels a call that pg_net has not begun to send';

CREATE FUNCTION wee5_cron.cancel(id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'id must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id that invoke_cron_endpoint() returned.';
  END IF;
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no call % in wee5_cron.invocation', $1
      USING ERRCODE = '02000',
            HINT = 'SELECT id, endpoint_path, status FROM wee5_cron.invocation WHERE finished_at IS NULL;';
  END IF;
  IF call.finished_at IS NOT NULL THEN
    RETURN false;
  END IF;
  IF call.transport = 'pg_net' THEN
    RETURN wee5_cron.cancel_on_pg_net($1);
  END IF;
  IF NOT wee5_cron.library_preloaded() THEN
    -- There is no worker that sends the call.
    RETURN wee5_cron.end_cancelled($1, call.endpoint_path);
  END IF;
  INSERT INTO wee5_cron.cancellation (invocation_id) VALUES ($1);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'call % was not cancelled: a trigger or rule on wee5_cron.cancellation discards the request', $1
      USING ERRCODE = 'triggered_action_exception', HINT = 'Look at the table: \d wee5_cron.cancellation';
  END IF;
  PERFORM wee5_cron.wake_worker();
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel(bigint) IS
  'Gives up a call that is queued, waits for a retry or is in flight. The worker ends it when this transaction commits; its row then says cancelled. If the request is in flight, the app may still do the work. Returns false if the call has ended already, or pg_net has begun to send it';

CREATE FUNCTION wee5_cron.end_replaced(call_id bigint, replaced_by bigint) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.end_call($1, 'cancelled', 'cancelled', format('Call %s, which has the same key, replaced this call.', $2))
  $$;
COMMENT ON FUNCTION wee5_cron.end_replaced(bigint, bigint) IS
  'Internal: ends a call that a newer one with the same key replaced; false if it has ended already';

-- Another session that holds the row locked may be about to replace the call, too. This does not wait for it: the sender of the
-- calls sees which one is the newest.
CREATE FUNCTION wee5_cron.replace_call(call_id bigint, replaced_by bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  call wee5_cron.invocation;
BEGIN
  SELECT i.* INTO call FROM wee5_cron.invocation i
  WHERE i.id = call_id AND coalesce(i.finished_at, 'infinity') = 'infinity' FOR NO KEY UPDATE SKIP LOCKED;
  IF call.id IS NOT NULL AND (call.transport <> 'pg_net' OR wee5_cron.take_back_from_pg_net(call)) THEN
    PERFORM wee5_cron.end_replaced($1, $2);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.replace_call(bigint, bigint) IS
  'Internal, for invoke(): cancels a call that a newer one with the same key replaces, unless pg_net has begun to send it';

-- A call of the builtin transport that is due may be in flight, although its row does not say so yet. The worker knows.
CREATE FUNCTION wee5_cron.replace_calls(new_call_id bigint, requested_by name, key text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  preloaded constant boolean := wee5_cron.library_preloaded();
  call record;
BEGIN
  FOR call IN
    SELECT i.id, i.transport = 'builtin' AND i.xmin <> pg_current_xact_id()::xid
                 AND coalesce(i.next_attempt_at, 'epoch') < clock_timestamp() + interval '1 second' AS may_be_sent
    FROM wee5_cron.invocation i
    WHERE i.requested_by = $2 AND i.key = $3 AND i.finished_at IS NULL AND i.status IN ('queued', 'retrying')
      AND i.id <> new_call_id
  LOOP
    IF call.may_be_sent AND preloaded THEN
      INSERT INTO wee5_cron.cancellation (invocation_id, replaced_by) VALUES (call.id, new_call_id);
      PERFORM wee5_cron.wake_worker();
    ELSE
      PERFORM wee5_cron.replace_call(call.id, new_call_id);
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.replace_calls(bigint, name, text) IS
  'Internal, for invoke(): cancels the other calls of a key that have not been sent';

-- A transaction that hands a call to pg_net does not see the calls of that key that others hand over. Keys share 1024 locks.
CREATE FUNCTION wee5_cron.lock_key(requested_by name, key text) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT pg_try_advisory_xact_lock(hashtext('wee5_cron.key'), hashtext($1 || ' ' || $2) & 1023) $$;
COMMENT ON FUNCTION wee5_cron.lock_key(name, text) IS
  'Internal: false, without waiting, if another transaction is handing a call of this key to pg_net';

-- $1 is about to be sent. The calls of its key that this transaction could not see when it was made are visible now.
CREATE FUNCTION wee5_cron.is_replaced(call wee5_cron.invocation) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  other bigint;
BEGIN
  FOR other IN
    SELECT i.id FROM wee5_cron.invocation i
    WHERE i.requested_by = call.requested_by AND i.key = call.key AND i.finished_at IS NULL
      AND i.status IN ('queued', 'retrying') AND i.id <> call.id
    ORDER BY i.id DESC
  LOOP
    IF other > call.id THEN
      RETURN wee5_cron.end_replaced(call.id, other);
    END IF;
    PERFORM wee5_cron.replace_call(other, call.id);
  END LOOP;
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.is_replaced(wee5_cron.invocation) IS
  'Internal, for harvest(): ends the call and returns true if a newer one with the same key replaces it; otherwise ends the older ones';
