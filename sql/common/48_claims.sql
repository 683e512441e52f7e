-- Exactly once, and long work: claim() and complete(). A route that repeats nothing claims the call's idempotency key first.
-- A route that works on after its answer 202 ends its call with complete().

CREATE TABLE wee5_cron.claim (
  idempotency_key uuid PRIMARY KEY,
  claimed_by name NOT NULL DEFAULT SESSION_USER,
  claimed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  lease_until timestamptz,
  completed_at timestamptz,
  ok boolean,
  note text
);
-- For pruning: a claim is kept for 30 days after its end.
CREATE INDEX claim_expiry ON wee5_cron.claim ((COALESCE(completed_at, lease_until)));
COMMENT ON TABLE wee5_cron.claim IS
  'Keys that the app claimed with claim() or completed with complete(). A claim is kept for 30 days after its end. Not in dumps';
COMMENT ON COLUMN wee5_cron.claim.idempotency_key IS 'invocation.idempotency_key, sent to the app as Idempotency-Key';
COMMENT ON COLUMN wee5_cron.claim.claimed_by IS 'session_user that claimed the key last, or completed it without a claim';
COMMENT ON COLUMN wee5_cron.claim.claimed_at IS 'When the key was claimed, or completed without a claim';
COMMENT ON COLUMN wee5_cron.claim.lease_until IS 'Until when nobody else gets the key; NULL: complete() was called';
COMMENT ON COLUMN wee5_cron.claim.completed_at IS 'When complete() was called; NULL: it was not, since the last claim';
COMMENT ON COLUMN wee5_cron.claim.ok IS 'Whether the work succeeded. false: the key is free again';
COMMENT ON COLUMN wee5_cron.claim.note IS 'Note given to complete(), at most 4000 characters of it; secrets are replaced by [secret]';

-- Its holder decides about the key until its transaction ends. A rollback, also one to a savepoint, releases it.
CREATE FUNCTION wee5_cron.claim_lock(idempotency_key uuid) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT hashtextextended('wee5_cron.claim ' || idempotency_key, 0) $$;
COMMENT ON FUNCTION wee5_cron.claim_lock(uuid) IS 'Internal, for claim() and complete(): the advisory lock of a key';

CREATE FUNCTION wee5_cron.claim(idempotency_key uuid, lease interval DEFAULT '5 minutes') RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  known wee5_cron.claim;
  now timestamptz;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE EXCEPTION '% must not be NULL', CASE WHEN $1 IS NULL THEN 'idempotency_key' ELSE 'lease' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = CASE WHEN $1 IS NULL THEN 'Give the Idempotency-Key of the request.' ELSE 'Leave it out to hold the key for 5 minutes.' END;
  END IF;
  IF $2 <= '0' OR $2 > '36525 days' THEN
    RAISE EXCEPTION 'invalid lease "%"', $2
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a positive interval of at most 100 years.';
  END IF;
  IF NOT pg_try_advisory_xact_lock(wee5_cron.claim_lock($1)) THEN
    RETURN 'running';
  END IF;
  -- A new statement, which sees what the last holder of the lock has committed.
  SELECT c.* INTO known FROM wee5_cron.claim c WHERE c.idempotency_key = $1;
  now := clock_timestamp();
  IF known.ok THEN
    RETURN 'done';
  ELSIF known.lease_until > now THEN
    RETURN 'running';
  END IF;
  INSERT INTO wee5_cron.claim (idempotency_key, claimed_by, claimed_at, lease_until) VALUES ($1, session_user, now, now + $2)
  ON CONFLICT (idempotency_key) DO UPDATE
  SET claimed_by = excluded.claimed_by, claimed_at = excluded.claimed_at, lease_until = excluded.lease_until,
      completed_at = NULL, ok = NULL, note = NULL;
  RETURN 'new';
END
$$;
COMMENT ON FUNCTION wee5_cron.claim(uuid, interval) IS
  'Asks whether to do the work of an Idempotency-Key. new: do it; nobody else gets the key during the lease. A rollback frees the key. running: somebody else does the work. done: the work is done. Never waits';

CREATE FUNCTION wee5_cron.end_accepted(call wee5_cron.invocation, ok boolean, note text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  failure text;
BEGIN
  IF ok THEN
    -- This removes the cause of an earlier failed attempt.
    UPDATE wee5_cron.invocation i SET reason = NULL, error = NULL WHERE i.id = call.id;
    PERFORM wee5_cron.end_call(call.id, 'succeeded');
    RETURN;
  END IF;
  -- An error has only one line.
  failure := coalesce(left(wee5_cron.redact_for(call.requested_by,
                                                nullif(btrim(regexp_replace(note, '[\x01-\x1F\x7F]+', ' ', 'g')), '')), 4000),
                    format('The app reported that the work of %s failed.', left(call.endpoint_path, 200)));
  PERFORM wee5_cron.end_call(call.id, 'failed', 'incomplete', failure,
    format('The app reported this with complete(). To make the call again: SELECT wee5_cron.retry(%s);', call.id));
  UPDATE wee5_cron.attempt a SET reason = 'incomplete', error = failure
  WHERE a.invocation_id = call.id AND a.attempt = call.attempts;
END
$$;
COMMENT ON FUNCTION wee5_cron.end_accepted(wee5_cron.invocation, boolean, text) IS
  'Internal, for complete() and settle_accepted(): ends a call as the app said. The caller of this function holds its row locked';

-- retry() made a call with the key of this one, and that call has not ended. Its answer is still to come.
CREATE FUNCTION wee5_cron.is_repeated(call wee5_cron.invocation) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN EXISTS (SELECT FROM wee5_cron.invocation r
                 WHERE r.endpoint_path = call.endpoint_path COLLATE "C" AND r.id > call.id AND r.finished_at IS NULL
                   AND r.due_at IS NULL AND r.idempotency_key = call.idempotency_key);
END
$$;
COMMENT ON FUNCTION wee5_cron.is_repeated(wee5_cron.invocation) IS
  'Internal, for complete(): whether retry() has made the call again, and that call has not ended';

CREATE FUNCTION wee5_cron.complete_calls(idempotency_key uuid, ok boolean, note text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  call wee5_cron.invocation;
  ended bigint[] := '{}';
BEGIN
  FOR call IN
    SELECT i.* FROM wee5_cron.invocation i
    WHERE i.http_status = 202 AND (i.finished_at IS NULL OR i.reason = 'incomplete') AND i.idempotency_key = $1
      -- Work that ended late, but before the retry, is not done again.
      AND (i.status = 'accepted' OR ok AND i.status = 'retrying' AND i.reason = 'incomplete' AND i.next_attempt_at IS NOT NULL)
    ORDER BY i.id FOR UPDATE
  LOOP
    PERFORM wee5_cron.end_accepted(call, ok, note);
    ended := ended || call.id;
  END LOOP;
  IF ended <> '{}' THEN
    -- This transaction may stay open for long.
    PERFORM wee5_cron.count_later(ended);
    RETURN true;
  END IF;
  RETURN NOT EXISTS (SELECT FROM wee5_cron.invocation i
                     WHERE i.http_status = 202 AND (i.finished_at IS NULL OR i.reason = 'incomplete')
                       AND i.idempotency_key = $1 AND i.status = 'failed' AND NOT wee5_cron.is_repeated(i));
END
$$;
COMMENT ON FUNCTION wee5_cron.complete_calls(uuid, boolean, text) IS
  'Internal, for complete(): ends the accepted calls of a key; false: there is none, and one has failed because the work was not completed in time';

CREATE FUNCTION wee5_cron.complete(idempotency_key uuid, ok boolean DEFAULT true, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  -- The note of an app may quote a request, and the secret with it.
  told constant text := left(wee5_cron.redact_for(session_user, left($3, 20000)), 4000);
  known wee5_cron.claim;
  now timestamptz;
  in_time boolean;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE EXCEPTION '% must not be NULL', CASE WHEN $1 IS NULL THEN 'idempotency_key' ELSE 'ok' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = CASE WHEN $1 IS NULL THEN 'Give the Idempotency-Key of the request.'
                        ELSE 'true: the work is done. false: it failed, and the key is free again.' END;
  END IF;
  -- Until this transaction ends, claim() answers "running".
  PERFORM pg_advisory_xact_lock(wee5_cron.claim_lock($1));
  SELECT c.* INTO known FROM wee5_cron.claim c WHERE c.idempotency_key = $1;
  IF known.ok AND NOT $2 THEN
    RETURN false;
  END IF;
  now := clock_timestamp();
  INSERT INTO wee5_cron.claim (idempotency_key, claimed_by, claimed_at, completed_at, ok, note)
  VALUES ($1, session_user, now, now, $2, told)
  ON CONFLICT (idempotency_key) DO UPDATE
  SET lease_until = NULL, completed_at = excluded.completed_at, ok = excluded.ok, note = excluded.note
  WHERE claim.ok IS NOT TRUE;
  in_time := wee5_cron.complete_calls($1, $2, told);
  IF NOT in_time AND $2 AND known.ok IS NOT TRUE THEN
    UPDATE wee5_cron.invocation i
    SET hint = format('The app completed the work at %s, after this call had failed, so the call need not be made again. If the work '
                      'takes that long, raise complete_within of the path in wee5_cron.endpoint.', to_char(now, 'YYYY-MM-DD HH24:MI:SS TZ'))
    WHERE i.http_status = 202 AND (i.finished_at IS NULL OR i.reason = 'incomplete') AND i.idempotency_key = $1
      AND i.status = 'failed';
  END IF;
  -- It ends calls whose answer is recorded at this very moment, and tells alerts.
  PERFORM wee5_cron.wake_worker();
  RETURN in_time;
END
$$;
COMMENT ON FUNCTION wee5_cron.complete(uuid, boolean, text) IS
  'Says that the work of an Idempotency-Key is done. ok = false: the work failed, and the key is free again. Ends the accepted calls of the key, also those whose answer is still to be recorded. Returns false if it comes too late: the call has failed already, or, for ok = false, the work was done before';

-- Ends accepted calls that the app has completed, and gives up those whose time is over. only_ids: calls that were recorded
-- just now; NULL: all calls, and those that complete() left to be counted. It skips rows that somebody else holds locked.
CREATE FUNCTION wee5_cron.settle_accepted(only_ids bigint[] DEFAULT NULL, OUT ended bigint[], OUT alerts boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found record;
  call wee5_cron.invocation;
  decided record;
BEGIN
  FOR found IN
    SELECT i AS call, c.ok, c.note
    FROM wee5_cron.invocation i JOIN wee5_cron.claim c ON c.idempotency_key = i.idempotency_key
    WHERE i.http_status = 202 AND (i.finished_at IS NULL OR i.reason = 'incomplete') AND i.status = 'accepted'
      AND (only_ids IS NULL OR i.id = ANY (only_ids))
      -- A failure that was reported before this attempt is that of an earlier one.
      AND (c.ok OR NOT c.ok AND c.completed_at >= (SELECT max(a.started_at) FROM wee5_cron.attempt a
                                                   WHERE a.invocation_id = i.id AND a.attempt = i.attempts))
    ORDER BY i.id FOR UPDATE OF i SKIP LOCKED
  LOOP
    PERFORM wee5_cron.end_accepted(found.call, found.ok, found.note);
    ended := ended || (found.call).id;
  END LOOP;
  FOR call IN
    SELECT i.* FROM wee5_cron.invocation i
    WHERE only_ids IS NULL AND i.http_status = 202 AND (i.finished_at IS NULL OR i.reason = 'incomplete')
      AND i.status = 'accepted' AND i.next_attempt_at <= clock_timestamp()
    ORDER BY i.id FOR UPDATE SKIP LOCKED
  LOOP
    decided := wee5_cron.decide_incomplete(call.endpoint_path, call.attempts, coalesce(call.first_sent_at, call.due_at, call.requested_at), random());
    UPDATE wee5_cron.invocation i
    SET status = decided.status, reason = decided.reason, error = decided.error, hint = wee5_cron.hint_here(decided.hint),
        next_attempt_at = decided.next_attempt_at, finished_at = decided.finished_at,
        duration = decided.finished_at - i.first_sent_at
    WHERE i.id = call.id;
    UPDATE wee5_cron.attempt a SET reason = decided.reason, error = decided.error
    WHERE a.invocation_id = call.id AND a.attempt = call.attempts;
    ended := ended || CASE WHEN decided.finished_at IS NOT NULL THEN call.id END;
  END LOOP;
  ended := array_remove(ended, NULL);
  alerts := ended IS NOT NULL AND wee5_cron.note_outcomes(ended);
  alerts := only_ids IS NULL AND wee5_cron.note_pending_outcomes() OR alerts;
END
$$;
COMMENT ON FUNCTION wee5_cron.settle_accepted(bigint[]) IS
  'Internal, for the worker and harvest(): ends accepted calls that were completed, and gives up those whose time is over';

CREATE FUNCTION wee5_cron.prune_claims(most int) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH gone AS (
      DELETE FROM wee5_cron.claim c WHERE c.idempotency_key IN (
        SELECT e.idempotency_key FROM wee5_cron.claim e
        WHERE coalesce(e.completed_at, e.lease_until) < now() - interval '30 days'
        ORDER BY coalesce(e.completed_at, e.lease_until) LIMIT most FOR UPDATE SKIP LOCKED) RETURNING 1
    )
    SELECT count(*) FROM gone
  $$;
COMMENT ON FUNCTION wee5_cron.prune_claims(int) IS 'Internal, for prune() and the worker: deletes claims that ended more than 30 days ago';
