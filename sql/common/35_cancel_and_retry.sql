-- Giving calls up, and making them again.

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
  requested_by name NOT NULL DEFAULT SESSION_USER
);
ALTER TABLE wee5_cron.cancellation REPLICA IDENTITY FULL;
COMMENT ON TABLE wee5_cron.cancellation IS 'Calls that cancel() asks the worker to give up. The worker deletes the row when the call has ended';

-- pg_net's worker locks the rows of the batch that it sends: those cannot be taken back.
CREATE FUNCTION wee5_cron.cancel_on_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  taken_back bigint := 0;
BEGIN
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF call.next_attempt_at IS NULL AND wee5_cron.pg_net_installed() THEN
    PERFORM wee5_cron.refuse_tampered_queue();
    EXECUTE $query$
      DELETE FROM net.http_request_queue d WHERE d.id IN (
        SELECT q.id FROM net.http_request_queue q JOIN wee5_cron.pg_net_request b ON b.request_id = q.id
        WHERE b.invocation_id = $1 AND b.queue = 'net.http_request_queue'::regclass FOR UPDATE OF q SKIP LOCKED)
    $query$ USING call_id;
    GET DIAGNOSTICS taken_back = ROW_COUNT;
    IF taken_back = 0 THEN
      RAISE NOTICE 'call % cannot be cancelled: pg_net is sending it, or has sent it', call_id
        USING HINT = format('SELECT wee5_cron.wait_for(%s);', call_id);
      RETURN false;
    END IF;
  END IF;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id;
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
  'Gives up a call that is queued, waits for a retry or is on the wire. The worker ends it when this transaction commits; its row then says cancelled. Returns false if the call has ended already, or pg_net has begun to send it';
