-- harvest(): records the answers that pg_net got, and hands calls to pg_net again. C code decides what an answer means, by the
-- same rules as for our own worker. The statements here only move rows.

-- The request in pg_net's queue that carries a call now. The caller of this function holds the call's row locked.
CREATE FUNCTION wee5_cron.pg_net_request_of(call_id bigint) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT b.request_id FROM wee5_cron.pg_net_request b
    WHERE b.invocation_id = call_id AND b.queue = to_regclass('net.http_request_queue')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_request_of(bigint) IS 'Internal, for harvest(): the request that carries a call at this moment';

-- After a 401, which means that the app did nothing: the same attempt again with the previous secret. The caller of this function
-- holds the call's row locked. If anything goes wrong here, the 401 stands.
CREATE FUNCTION wee5_cron.try_previous_secret(call wee5_cron.invocation) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF call.endpoint_path = 'wee5_cron.alert' OR NOT wee5_cron.may_call() THEN
    RETURN false;
  END IF;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call.id AND b.previous_until IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF NOT wee5_cron.send_with_previous_secret(call.id) THEN
    RAISE no_data_found;  -- the request stays bound to its call
  END IF;
  RETURN true;
EXCEPTION
  WHEN lock_not_available OR serialization_failure OR deadlock_detected THEN
    RAISE;
  WHEN OTHERS THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.try_previous_secret(wee5_cron.invocation) IS
  'Internal, for harvest(): hands a call that the app answered with 401 to pg_net again, once, if there is a previous secret for it';

-- Records the answers that a query finds. The query's columns: call (wee5_cron.invocation), request_id, previous_until,
-- handed_over_at, secret_digests, lost, answered_at, status_code, content_type, content, timed_out, error_msg, headers. It locks
-- the rows of the calls. $1 in it is `oldest`, $2 is `only_id`.
CREATE FUNCTION wee5_cron.record_answers(query text, oldest timestamptz, only_id bigint, may_retry boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  recorded record;
BEGIN
  EXECUTE format($query$
    WITH found AS MATERIALIZED (%s), answer AS MATERIALIZED (
      -- Since the query began, another session may have recorded the answer and handed the call over again. Any role may write
      -- to pg_net's tables, and may let its ids start again, so two answers may claim one request. Then the newest one counts.
      -- A crash empties pg_net's tables and pg_net_request alike. Where the request is remembered and pg_net has neither it nor
      -- its answer, somebody deleted one of them: the app may have done its work.
      SELECT DISTINCT ON ((f.call).id) f.*, f.lost AND f.request_id IS NOT NULL AND $3 AS deleted FROM found f
      WHERE f.request_id IS NOT DISTINCT FROM wee5_cron.pg_net_request_of((f.call).id)
      ORDER BY (f.call).id, f.answered_at DESC NULLS LAST
    ), tried_again AS MATERIALIZED (
      SELECT (a.call).id FROM answer a
      WHERE CASE WHEN a.status_code = 401 AND a.error_msg IS NULL AND a.timed_out IS NOT TRUE AND a.previous_until IS NULL AND $3
                 THEN wee5_cron.try_previous_secret(a.call) END
    ), known AS MATERIALIZED (
      -- Once for each role: without the library, reading secrets and settings takes longer than to decide an answer.
      SELECT r.requested_by, wee5_cron.answer_settings(r.requested_by) AS settings
      FROM (SELECT DISTINCT (o.call).requested_by FROM answer o) r
    ), decided AS MATERIALIZED (
      SELECT (a.call).id, (a.call).attempts + 1 AS attempt,
             coalesce((a.call).due_at, (a.call).requested_at) AS requested_at, a.handed_over_at, a.status_code, d.*,
             CASE WHEN d.status IN ('succeeded', 'accepted') THEN wee5_cron.previous_secret_hint(a.previous_until) END AS previous_hint
      FROM (SELECT * FROM answer o WHERE (o.call).id NOT IN (SELECT t.id FROM tried_again t) OFFSET 0) a
      JOIN known k ON k.requested_by IS NOT DISTINCT FROM (a.call).requested_by
      CROSS JOIN LATERAL wee5_cron.decide_pg_net_answer(
        (a.call).endpoint_path, (a.call).method, (a.call).url, (a.call).timeout, (a.call).requested_by,
        coalesce((a.call).due_at, (a.call).requested_at), (a.call).attempts, a.lost, a.status_code,
        a.content_type, a.content, a.timed_out,
        CASE WHEN a.deleted THEN 'pg_net has neither the request nor an answer: one of them was deleted' ELSE a.error_msg END,
        a.headers, $3 AND NOT a.deleted, random(), (k.settings).secrets, (k.settings).timeout_ms,
        (k.settings).max_response_bytes, a.secret_digests) d
    ), recorded AS (
      UPDATE wee5_cron.invocation i
      SET status = d.status, reason = d.reason, error = d.error, hint = nullif(concat_ws(' ', d.previous_hint, wee5_cron.hint_here(d.hint)), ''),
          http_status = d.status_code,
          attempts = d.attempt, next_attempt_at = d.next_attempt_at, finished_at = d.finished_at,
          response_content_type = d.response_content_type, response_body = d.response_body,
          response_truncated = d.response_truncated
      FROM decided d WHERE i.id = d.id
    ), logged AS (
      INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status, reason, error)
      SELECT d.id, d.attempt, CASE d.attempt WHEN 1 THEN d.requested_at ELSE d.handed_over_at END, d.ended_at, d.status_code,
             d.reason, d.error
      FROM decided d
      ON CONFLICT DO NOTHING
    ), unbound AS (
      DELETE FROM wee5_cron.pg_net_request b USING decided d WHERE b.invocation_id = d.id
    )
    SELECT array_agg(d.id) FILTER (WHERE d.finished_at IS NOT NULL) AS ids,
           array_agg(d.id) FILTER (WHERE d.status = 'succeeded') AS succeeded,
           array_agg(d.id) FILTER (WHERE d.status = 'accepted') AS accepted,
           count(*) FILTER (WHERE d.finished_at IS NOT NULL) AS ended
    FROM decided d
  $query$, query) INTO recorded USING oldest, only_id, may_retry;
  IF recorded.ids IS NOT NULL THEN
    -- wait_for() records it in a transaction of the user, which may stay open for long.
    PERFORM wee5_cron.count_later(recorded.ids);
  END IF;
  IF recorded.succeeded IS NOT NULL THEN
    PERFORM wee5_cron.note_html_pages(recorded.succeeded);
  END IF;
  IF recorded.accepted IS NOT NULL THEN
    -- The app may have completed a call before it answered 202.
    recorded.ended := recorded.ended + coalesce(cardinality((wee5_cron.settle_accepted(recorded.accepted)).ended), 0);
  END IF;
  RETURN recorded.ended;
END
$$;
COMMENT ON FUNCTION wee5_cron.record_answers(text, timestamptz, bigint, boolean) IS
  'Internal, for harvest(): writes the answers that a query finds into the ledger, and returns how many calls have ended';

-- only_id: that call alone, for wait_for() where no worker harvests; NULL: all calls. Returns how many calls have ended. The
-- library calls this function under its name also in databases with the SQL of 0.1.0.
CREATE FUNCTION wee5_cron.book_pg_net_answers(only_id bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  outstanding constant text := 'i.transport = ''pg_net'' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL'
    || CASE WHEN only_id IS NULL THEN '' ELSE ' AND i.id = $2' END;
  binding constant text := 'wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = ''net.http_request_queue''::regclass';
  -- pg_net moves a request from one of its tables to the other in a single transaction.
  not_queued constant text := 'NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = b.request_id)';
  request constant text := 'i AS call, b.request_id, b.previous_until, b.handed_over_at, b.secret_digests';
  answer constant text := 'r.created AS answered_at, r.status_code, r.content_type, r.content, r.timed_out, r.error_msg, r.headers';
  most constant int := wee5_cron.most_in_one_harvest();
  oldest timestamptz;
  unanswered boolean;
  ended bigint;
BEGIN
  -- pg_net has no answers here to calls that were restored or replicated: all of them would count as lost.
  IF NOT wee5_cron.answers_are_ours() THEN
    RETURN 0;
  END IF;
  SELECT min(coalesce(i.due_at, i.requested_at)) INTO oldest
  FROM wee5_cron.invocation i
  WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
    AND (only_id IS NULL OR i.id = only_id);
  IF oldest IS NULL THEN
    RETURN 0;
  END IF;

  IF NOT wee5_cron.pg_net_installed() THEN
    RETURN wee5_cron.record_answers(format($query$
      SELECT i AS call, wee5_cron.pg_net_request_of(i.id) AS request_id, NULL::timestamptz AS previous_until,
             NULL::timestamptz AS handed_over_at, NULL::int[] AS secret_digests, true AS lost, NULL::timestamptz AS answered_at,
             NULL::int AS status_code, NULL AS content_type, NULL AS content, NULL::boolean AS timed_out, NULL AS error_msg,
             NULL::jsonb AS headers
      FROM wee5_cron.invocation i WHERE %s LIMIT %s FOR UPDATE SKIP LOCKED
    $query$, outstanding, coalesce(most::text, 'ALL')), oldest, only_id, false);
  END IF;

  -- net._http_response has an index on `created` alone. pg_net fills it with the start of its transaction, which can be before
  -- the request was made. The query further down finds an answer that seems to be more than a minute older. But an answer that is
  -- older than a request which is still in the queue is that of another request, whose id has come again.
  ended := wee5_cron.record_answers(format($query$
    SELECT %s, false AS lost, %s
    FROM wee5_cron.invocation i JOIN %s JOIN net._http_response r ON r.id = b.request_id
    WHERE %s AND r.created >= $1 - interval '1 minute' AND (r.created >= b.handed_over_at OR %s)
    LIMIT %s FOR UPDATE OF i SKIP LOCKED
  $query$, request, answer, binding, outstanding, not_queued, coalesce(most::text, 'ALL')), oldest, only_id, true);

  -- A request is lost if one snapshot, which means one statement, shows it in neither table. That statement reads all answers, so
  -- it runs only if there is a reason.
  EXECUTE format($query$
    SELECT EXISTS (
      SELECT $1 FROM wee5_cron.invocation i LEFT JOIN %s
      WHERE %s AND %s)
  $query$, binding, outstanding, not_queued) INTO unanswered USING oldest, only_id;
  IF unanswered AND ended < coalesce(most, ended + 1) THEN
    ended := ended + wee5_cron.record_answers(format($query$
      SELECT %s, r.id IS NULL AS lost, %s
      FROM wee5_cron.invocation i LEFT JOIN %s LEFT JOIN net._http_response r ON r.id = b.request_id
      WHERE %s AND %s
      LIMIT %s FOR UPDATE OF i SKIP LOCKED
    $query$, request, answer, binding, outstanding, not_queued, coalesce((most - ended)::text, 'ALL')), oldest, only_id, true);
  END IF;
  RETURN ended;
END
$$;
COMMENT ON FUNCTION wee5_cron.book_pg_net_answers(bigint) IS
  'Internal, for harvest() and wait_for(): records the answers to all outstanding calls, or to one call';

-- Runs after an error in recording all answers at once: a trigger or constraint that a user added to the ledger may refuse one of
-- the rows. Each run takes a part of the calls, since one that cannot be recorded is tried again each time.
CREATE FUNCTION wee5_cron.record_answers_one_by_one() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_id bigint;
  ended bigint := 0;
BEGIN
  FOR call_id IN
    SELECT i.id FROM wee5_cron.invocation i
    WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
    ORDER BY random() LIMIT 100
  LOOP
    BEGIN
      ended := ended + wee5_cron.book_pg_net_answers(call_id);
    EXCEPTION
    WHEN serialization_failure THEN
      -- The snapshot of this transaction is too old: a new transaction may record the answer.
      RAISE;
    WHEN OTHERS THEN
      RAISE WARNING 'the answer to call % cannot be recorded: %', call_id, SQLERRM
        USING HINT = 'Look at the triggers and constraints of the table: \d wee5_cron.invocation';
    END;
  END LOOP;
  RETURN ended;
END
$$;
COMMENT ON FUNCTION wee5_cron.record_answers_one_by_one() IS
  'Internal, for harvest(): records the answers call by call, so that one that cannot be recorded does not stop the others';

-- A call waits to be judged if another transaction, still open, was calling the path as well. That call may have ended by
-- now, but it was there first. Its id was drawn at about the same time, and there is no index of calls that have ended. This
-- does not hold for a call that has waited for its time.
CREATE FUNCTION wee5_cron.ended_beside(call wee5_cron.invocation) RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT i.id FROM wee5_cron.invocation i
    WHERE i.id BETWEEN call.id - 10000 AND call.id + 10000 AND i.id <> call.id
      AND coalesce(call.due_at, call.requested_at) <= call.requested_at
      AND i.finished_at >= call.requested_at AND i.attempts > 0
      AND CASE call.exclusive WHEN 'route' THEN split_part(i.endpoint_path, '?', 1) = split_part(call.endpoint_path, '?', 1)
                              ELSE i.endpoint_path = call.endpoint_path END
    ORDER BY i.id DESC LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.ended_beside(wee5_cron.invocation) IS
  'Internal, for harvest(): a call of the path that has ended since this one was made; NULL: none';

-- How many more calls of a policy may be handed to pg_net.
CREATE FUNCTION wee5_cron.room_on_pg_net(policy wee5_cron.endpoint) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT policy.max_in_flight - count(*) FROM (
      SELECT FROM wee5_cron.invocation i
      WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
        AND split_part(i.endpoint_path, '?', 1) = split_part(policy.endpoint_path, '?', 1) COLLATE "C"
        AND coalesce((SELECT e.endpoint_path FROM wee5_cron.endpoint e WHERE e.endpoint_path = i.endpoint_path),
                     split_part(i.endpoint_path, '?', 1)) = policy.endpoint_path
      LIMIT policy.max_in_flight) handed_over
  $$;
COMMENT ON FUNCTION wee5_cron.room_on_pg_net(wee5_cron.endpoint) IS
  'Internal: how many more calls pg_net may have at once, by max_in_flight of the policy; NULL: there is no limit';

-- The lock first: then every call that was handed over under it is visible.
CREATE FUNCTION wee5_cron.may_hand_over(endpoint_path text, policy wee5_cron.endpoint) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN (policy.max_in_flight >= 1) IS NOT TRUE THEN true
                WHEN NOT wee5_cron.lock_path($1) THEN false
                ELSE wee5_cron.room_on_pg_net(policy) > 0 END
  $$;
COMMENT ON FUNCTION wee5_cron.may_hand_over(text, wee5_cron.endpoint) IS
  'Internal: whether max_in_flight of the policy lets a call go to pg_net now. Otherwise harvest() hands it over later';

-- With 10,000 calls due and room for four, harvest() locks four rows.
CREATE FUNCTION wee5_cron.due_without_room(due_by timestamptz) RETURNS SETOF bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM wee5_cron.endpoint e WHERE e.max_in_flight >= 1) THEN
    RETURN;
  END IF;
  RETURN QUERY
    WITH limited AS MATERIALIZED (
      SELECT e.endpoint_path, wee5_cron.room_on_pg_net(e) AS room FROM wee5_cron.endpoint e WHERE e.max_in_flight >= 1
    ), due AS (
      SELECT i.id, i.next_attempt_at AS since,
             coalesce((SELECT e.endpoint_path FROM wee5_cron.endpoint e WHERE e.endpoint_path = i.endpoint_path),
                      split_part(i.endpoint_path, '?', 1)) AS policy
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.next_attempt_at <= due_by AND i.transport = 'pg_net' AND i.status <> 'accepted'
    )
    SELECT w.id FROM (SELECT d.id, l.room, row_number() OVER (PARTITION BY d.policy ORDER BY d.since, d.id) AS place
                      FROM due d JOIN limited l ON l.endpoint_path = d.policy) w
    WHERE w.place > w.room;
END
$$;
COMMENT ON FUNCTION wee5_cron.due_without_room(timestamptz) IS
  'Internal, for harvest(): due calls that wait because max_in_flight of their policy is reached';

-- With overlap = queue, one call of a path waits while another has not ended, and further ones are skipped. The call that waits
-- has the time infinity, so that nobody takes it for due. The caller of this function holds the call's row locked.
CREATE FUNCTION wee5_cron.give_way(call wee5_cron.invocation, beside bigint, may_wait boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  waits bigint;
  overlap record;
BEGIN
  IF may_wait THEN
    waits := wee5_cron.call_beside(call.id, call.endpoint_path, call.exclusive, call.requested_by, call.requested_at, call.due_at, beside);
    IF waits IS NULL THEN
      UPDATE wee5_cron.invocation i SET next_attempt_at = 'infinity'
      WHERE i.id = call.id AND i.next_attempt_at IS DISTINCT FROM 'infinity';
      RETURN;
    END IF;
  END IF;
  overlap := wee5_cron.explain_overlap(call.endpoint_path, coalesce(waits, beside));
  PERFORM wee5_cron.end_call(call.id, 'skipped', 'overlap', overlap.error, overlap.hint);
END
$$;
COMMENT ON FUNCTION wee5_cron.give_way(wee5_cron.invocation, bigint, boolean) IS
  'Internal: lets a call wait for the end of another one; skips it if a call waits already';

-- A call that waits becomes due when the one before it has ended. Its sender judges it once more.
CREATE FUNCTION wee5_cron.send_waiting_calls() RETURNS SETOF bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  beside bigint;
BEGIN
  FOR call IN
    SELECT i.* FROM wee5_cron.invocation i
    WHERE i.finished_at IS NULL AND i.next_attempt_at = 'infinity' AND i.status = 'queued'
    ORDER BY coalesce(i.due_at, i.requested_at), i.id FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    beside := wee5_cron.call_beside(call.id, call.endpoint_path, call.exclusive, call.requested_by, call.requested_at, call.due_at);
    IF beside IS NOT NULL THEN
      PERFORM wee5_cron.give_way(call, beside, true);
    ELSE
      UPDATE wee5_cron.invocation i SET next_attempt_at = CASE i.transport WHEN 'pg_net' THEN clock_timestamp() END
      WHERE i.id = call.id;
      RETURN NEXT call.id;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_waiting_calls() IS
  'Internal, for the worker and harvest(): makes calls due that waited for the end of another one (overlap = queue), and returns their ids';

-- Hands over one call that is due, or ends it. The caller of this function holds the call's row locked.
CREATE FUNCTION wee5_cron.send_due_call(call wee5_cron.invocation) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  may_wait constant boolean := (wee5_cron.policy_of(call.endpoint_path)).overlap IS NOT DISTINCT FROM 'queue';
  beside bigint;
BEGIN
  IF call.key IS NOT NULL AND (NOT wee5_cron.lock_key(call.requested_by, call.key) OR wee5_cron.is_replaced(call)) THEN
    RETURN;
  END IF;
  IF call.attempts > 0 AND NOT wee5_cron.may_still_begin(call.endpoint_path, call.attempts + 1,
                                                         coalesce(call.due_at, call.requested_at)) THEN
    -- The call ends with the outcome of its last attempt.
    PERFORM wee5_cron.end_call(call.id, 'failed');
    PERFORM wee5_cron.count_later(array[call.id]);
    RETURN;
  END IF;
  IF call.exclusive IS NOT NULL AND call.attempts = 0 THEN
    IF NOT wee5_cron.lock_path(call.endpoint_path) THEN
      RETURN;
    END IF;
    beside := wee5_cron.call_beside(call.id, call.endpoint_path, call.exclusive, call.requested_by, call.requested_at, call.due_at);
    IF beside IS NULL AND NOT may_wait THEN
      beside := wee5_cron.ended_beside(call);
    END IF;
    IF beside IS NOT NULL THEN
      PERFORM wee5_cron.give_way(call, beside, may_wait);
      RETURN;
    END IF;
  END IF;
  IF NOT wee5_cron.pg_net_installed() THEN
    RAISE EXCEPTION 'pg_net is no longer installed'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('To make the call with the builtin transport: SELECT wee5_cron.retry(%s);', call.id);
  END IF;
  IF wee5_cron.may_hand_over(call.endpoint_path, wee5_cron.policy_of(call.endpoint_path)) THEN
    PERFORM wee5_cron.send_by_pg_net(call.id);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_due_call(wee5_cron.invocation) IS
  'Internal, for harvest(): hands a due call to pg_net, or ends it if its policy does not allow that any more';

-- Nobody waits for the error of a call that is handed over later, so the error goes into the call's row. A lock, a lack of
-- memory or of disk space passes: the call stays due, and says meanwhile what it waits for.
CREATE FUNCTION wee5_cron.keep_send_error(call_id bigint, state text, message text, advice text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- A lock, a deadlock or serialization failure, out of resources, trouble of the operating system.
  passes constant boolean := state = '55P03' OR left(state, 2) IN ('40', '53', '58');
BEGIN
  advice := nullif(wee5_cron.hint_here(advice), '');
  IF passes THEN
    UPDATE wee5_cron.invocation i SET error = message, hint = advice WHERE i.id = call_id;
  ELSE
    PERFORM wee5_cron.end_call(call_id, 'failed', 'config', message, advice);
    PERFORM wee5_cron.count_later(array[call_id]);
  END IF;
  RETURN passes;
EXCEPTION WHEN OTHERS THEN
  -- A trigger or constraint that somebody added to the ledger. The other calls are still sent.
  RAISE WARNING 'call % cannot be handed to pg_net: %', call_id, message
    USING HINT = format('Its row could not be updated either: %s', SQLERRM);
  RETURN passes;
END
$$;
COMMENT ON FUNCTION wee5_cron.keep_send_error(bigint, text, text, text) IS
  'Internal, for harvest(): writes into a call''s row why the call could not be handed to pg_net; true if that may pass';

-- Hands over every call that is due: those whose time has come, retries, and calls that may have overlapped with a transaction still running when they
-- were made. only_id: that call alone; NULL: all of them.
CREATE FUNCTION wee5_cron.send_due_by_pg_net(only_id bigint DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  message text;
  advice text;
  -- What keeps one call back for a while may keep back all of them: the table that somebody has locked, for example. Each try
  -- waits for lock_timeout, so the rest is left to the next harvest.
  tries_left int := 3;
  -- An index is searched for a time that stays the same.
  now constant timestamptz := clock_timestamp();
BEGIN
  IF NOT wee5_cron.may_call() THEN
    RETURN;
  END IF;
  FOR call IN
    SELECT i.* FROM wee5_cron.invocation i
    WHERE i.finished_at IS NULL AND i.next_attempt_at <= now AND i.transport = 'pg_net' AND i.status <> 'accepted'
      AND (only_id IS NULL OR i.id = only_id) AND i.id NOT IN (SELECT w.id FROM wee5_cron.due_without_room(now) w (id))
    ORDER BY i.next_attempt_at, i.id
    LIMIT wee5_cron.most_in_one_harvest()
    FOR UPDATE SKIP LOCKED
  LOOP
    EXIT WHEN tries_left = 0;
    BEGIN
      PERFORM wee5_cron.send_due_call(call);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
      IF wee5_cron.keep_send_error(call.id, SQLSTATE, message, advice) THEN
        tries_left := tries_left - 1;
      END IF;
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_due_by_pg_net(bigint) IS
  'Internal, for harvest() and wait_for(): hands calls that are due to pg_net; the error of one call does not stop the others';

-- Without jit = off, a planner that takes a query for expensive has it compiled for each answer.
CREATE FUNCTION wee5_cron.harvest() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
DECLARE
  ended bigint;
BEGIN
  PERFORM wee5_cron.setting('enabled');  -- in the portable edition, uninstall() makes a harvest() wait here, before it holds a lock
  -- The publisher records the results of its calls, and this database receives the rows.
  IF EXISTS (SELECT FROM wee5_cron.ledger_subscriptions()) THEN
    PERFORM wee5_cron.disarm_subscriber();
    RETURN 0;
  END IF;
  BEGIN
    ended := wee5_cron.book_pg_net_answers();
  EXCEPTION
    WHEN lock_not_available THEN
      RAISE;
    WHEN OTHERS THEN
      ended := wee5_cron.record_answers_one_by_one();
  END;
  IF wee5_cron.may_call() THEN
    ended := ended + coalesce(cardinality((wee5_cron.settle_accepted()).ended), 0);
    PERFORM wee5_cron.send_waiting_calls();
  END IF;
  PERFORM wee5_cron.send_due_by_pg_net();
  PERFORM wee5_cron.note_pending_outcomes();
  PERFORM wee5_cron.bind_cron_runs();
  PERFORM wee5_cron.run_background_tasks();
  RETURN ended;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvest() IS
  'Records the answers that pg_net got, and returns how many calls have ended. Hands retries that are due to pg_net';
