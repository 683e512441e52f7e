-- What people do with calls that were made, and overlap as harvest() asks for it. The rules are in C, where calls are
-- made and sent.

CREATE FUNCTION wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_call_beside';
COMMENT ON FUNCTION wee5_cron.call_beside(bigint, text, text, name) IS
  'Internal, of harvest(): a call that has not ended and that this one would overlap with; NULL: it may be sent';

CREATE FUNCTION wee5_cron.lock_path(endpoint_path text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_lock_path';
COMMENT ON FUNCTION wee5_cron.lock_path(text) IS
  'Internal, of harvest(): false, without waiting, while another transaction is queueing a call of this path on pg_net';

CREATE FUNCTION wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_overlap';
COMMENT ON FUNCTION wee5_cron.explain_overlap(text, bigint) IS 'Internal, of harvest(): what is said about a call that is skipped';

CREATE FUNCTION wee5_cron.outcome_error(reason text, endpoint_path text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_outcome_error';
COMMENT ON FUNCTION wee5_cron.outcome_error(text, text) IS
  'Internal, of cancel(): the error of a call that ended without an answer, in the words of the worker';

-- Calls that the worker shall give up. It is the one who sends them, so it alone can say whether a call is given up in
-- time; and whoever writes here holds no row of the ledger that the worker would have to wait for. No key: two sessions
-- that cancel the same calls must not wait for each other. Where the table is published, Postgres refuses DELETE on a table
-- that has neither a key nor a replica identity.
CREATE TABLE wee5_cron.cancellation (
  invocation_id bigint NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  requested_by name NOT NULL DEFAULT SESSION_USER
);
ALTER TABLE wee5_cron.cancellation REPLICA IDENTITY FULL;
COMMENT ON TABLE wee5_cron.cancellation IS 'Calls that cancel() asks the worker to give up; a row goes when its call has ended';

CREATE FUNCTION wee5_cron.refuse_tampered_queue() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_refuse_tampered_queue';
COMMENT ON FUNCTION wee5_cron.refuse_tampered_queue() IS
  'Internal, of cancel(): an error where pg_net''s queue has a trigger, rule or policy, which would run with our rights';

-- pg_net's own worker works through batches, whose rows it holds locked: what it has taken up is not to be had back.
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
      RAISE NOTICE 'call % cannot be taken back: pg_net is sending it, or has sent it', call_id
        USING HINT = format('SELECT wee5_cron.wait_for(%s);', call_id);
      RETURN false;
    END IF;
  END IF;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id;
  UPDATE wee5_cron.invocation i
  SET status = 'cancelled', reason = 'cancelled', error = wee5_cron.outcome_error('cancelled', call.endpoint_path),
      hint = NULL, next_attempt_at = NULL, finished_at = clock_timestamp()
  WHERE i.id = call_id;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel_on_pg_net(bigint) IS
  'Internal, of cancel(): takes a request back that pg_net has not begun to send';

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
    -- No worker sends it, nor would give it up.
    UPDATE wee5_cron.invocation i
    SET status = 'cancelled', reason = 'cancelled', error = wee5_cron.outcome_error('cancelled', i.endpoint_path),
        hint = NULL, next_attempt_at = NULL, finished_at = clock_timestamp(), duration = clock_timestamp() - i.first_sent_at
    WHERE i.id = $1 AND i.finished_at IS NULL;
    RETURN FOUND;
  END IF;
  INSERT INTO wee5_cron.cancellation (invocation_id) VALUES ($1);
  PERFORM wee5_cron.wake_worker();
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel(bigint) IS
  'Gives up a call that is queued, waits for its next attempt or is on the wire: the worker does when this transaction commits, and the row ends cancelled. False where the call has ended already, or pg_net has taken it up';

CREATE FUNCTION wee5_cron.retry(id bigint) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_retry';
COMMENT ON FUNCTION wee5_cron.retry(bigint) IS
  'Makes a call that has ended once more, as it was and with the same idempotency key, and returns the id of the new row';
