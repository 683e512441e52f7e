-- Waiting until a call has ended.

-- Whether a row that this transaction sees was written by it. Subtransactions count.
CREATE FUNCTION wee5_cron.is_own_row(row_xmin xid) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  own constant numeric := pg_current_xact_id_if_assigned()::text::numeric;
  newest constant numeric := pg_snapshot_xmax(pg_current_snapshot())::text::numeric;
  full_id numeric := newest - newest % 4294967296 + row_xmin::text::numeric;
BEGIN
  IF own IS NULL THEN
    RETURN false;
  END IF;
  -- A subtransaction of ours may have a higher id than the snapshot knows. Otherwise a higher one is of the epoch before.
  IF full_id - newest > 2147483648 THEN
    full_id := full_id - 4294967296;
  ELSIF newest - full_id > 2147483648 THEN
    full_id := full_id + 4294967296;
  END IF;
  RETURN full_id >= own AND pg_xact_status(full_id::text::xid8) = 'in progress';
END
$$;
COMMENT ON FUNCTION wee5_cron.is_own_row(xid) IS 'Internal, for wait_for(): whether the current transaction wrote a row';

-- Headers and bodies are shown only to the role that made the call, and to roles that may read the ledger.
CREATE FUNCTION wee5_cron.shown_call(call wee5_cron.invocation) RETURNS wee5_cron.invocation
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  set_role constant text := current_setting('role');
BEGIN
  IF call.requested_by = session_user OR has_table_privilege(session_user, 'wee5_cron.invocation', 'SELECT')
     OR set_role <> 'none' AND has_table_privilege(set_role, 'wee5_cron.invocation', 'SELECT') THEN
    RETURN call;
  END IF;
  call.headers := NULL;
  call.body := NULL;
  call.response_body := NULL;
  -- A role that knows the keys can replace the call, or complete it.
  call.idempotency_key := NULL;
  call.key := NULL;
  RETURN call;
END
$$;
COMMENT ON FUNCTION wee5_cron.shown_call(wee5_cron.invocation) IS 'Internal, for wait_for(): the row of a call as its caller may see it';

-- pg_net sends a request only after the transaction that handed it over has committed. So this must not hand over a retry and
-- then wait for it: harvest() records an answer that leads to a retry.
CREATE FUNCTION wee5_cron.record_end_of_call(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  handed_over bigint;
BEGIN
  handed_over := wee5_cron.pg_net_request_of(call_id);
  PERFORM wee5_cron.book_pg_net_answers(call_id);
  IF EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL AND i.status <> 'accepted'
               AND (i.next_attempt_at IS NOT NULL OR wee5_cron.pg_net_request_of(i.id) IS DISTINCT FROM handed_over)) THEN
    RAISE SQLSTATE 'W5RTR';
  END IF;
  RETURN true;
EXCEPTION WHEN SQLSTATE 'W5RTR' THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.record_end_of_call(bigint) IS
  'Internal, for wait_for(): records the answer to a call, unless the call is to be retried. False: it is to be retried';

CREATE FUNCTION wee5_cron.wait_for(id bigint, timeout interval DEFAULT '1 minute') RETURNS wee5_cron.invocation
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  begun constant timestamptz := clock_timestamp();
  call wee5_cron.invocation;
  row_xmin xid;
  is_new boolean := true;
  retried int := -1;  -- the call's attempts when its answer led to a retry
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE EXCEPTION '% must not be NULL', CASE WHEN $1 IS NULL THEN 'id' ELSE 'timeout' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = CASE WHEN $1 IS NULL THEN 'Give the id that invoke_cron_endpoint() returned.' ELSE 'Leave it out to wait for one minute.' END;
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'wait_for() cannot see how a call ends in a % transaction', upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'feature_not_supported', HINT = 'Wait in a READ COMMITTED transaction, which is the default.';
  END IF;
  PERFORM wee5_cron.setting('enabled');  -- while the file runs again, this waits here, and holds no lock that the file needs
  LOOP
    SELECT i.xmin INTO row_xmin FROM wee5_cron.invocation i WHERE i.id = $1;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'there is no call % in wee5_cron.invocation', $1
        USING ERRCODE = '02000',
              HINT = 'Give the id that invoke_cron_endpoint() returned. Other sessions see the call when its transaction has '
                     'committed. Finished calls are deleted after a while.';
    END IF;
    SELECT i.* INTO call FROM wee5_cron.invocation i WHERE i.id = $1;
    IF call.finished_at IS NULL AND is_new AND wee5_cron.is_own_row(row_xmin) THEN
      RAISE EXCEPTION 'call % was made by the current transaction and is not sent before that commits', $1
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = format('Commit first, then wait: SELECT wee5_cron.wait_for(%s);', $1);
    END IF;
    is_new := false;
    -- begun + $2 could lie beyond the calendar.
    EXIT WHEN call.finished_at IS NOT NULL OR clock_timestamp() - begun >= $2;
    IF call.next_attempt_at IS NOT NULL AND call.status <> 'accepted' THEN
      PERFORM wee5_cron.require_armed();
    END IF;
    IF current_setting('transaction_read_only') = 'off' AND call.next_attempt_at IS NULL AND call.attempts > retried
       AND NOT wee5_cron.record_end_of_call($1) THEN
      retried := call.attempts;
    END IF;
    PERFORM pg_sleep(least(0.1, greatest(0, extract(epoch FROM $2 - (clock_timestamp() - begun)))));
  END LOOP;
  RETURN wee5_cron.shown_call(call);
END
$$;
COMMENT ON FUNCTION wee5_cron.wait_for(bigint, interval) IS
  'Waits until the call has ended and returns its row; at the timeout, returns the row as it is. Raises 55000 for a call of the current transaction, which is not sent before that commits, and 02000 for an unknown id. For a call of another login role, headers, body, response_body, idempotency_key and key are NULL unless you may read the ledger';
