-- What harvest() needs in this edition: it hands calls to pg_net, and does the background tasks that the extension leaves to its worker.

-- Without the library, recording an answer takes milliseconds, and a host cancels a statement that runs for minutes.
CREATE FUNCTION wee5_cron.most_in_one_harvest() RETURNS int
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT 5000 $$;
COMMENT ON FUNCTION wee5_cron.most_in_one_harvest() IS
  'Internal, for harvest(): how many answers it records, and how many calls it hands over, at most; the next harvest() goes on. NULL: all';

-- call_id 0: a new call. It gives way to every unfinished call, except to those with its key, which it replaces. Any other call
-- gives way to those that were queued earlier, and to those that were sent or handed over. A call with a due time counts as
-- queued at that time.
CREATE FUNCTION wee5_cron.unfinished_beside(endpoint_path text, exclusive text, call_id bigint, requested_at timestamptz,
                                            due_at timestamptz, key text, besides bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH bounds AS MATERIALIZED (
      SELECT CASE $2 WHEN 'route' THEN split_part($1, '?', 1) ELSE $1 END COLLATE "C" AS from_path,
             CASE $2 WHEN 'route' THEN split_part($1, '?', 1) || '@' ELSE $1 || E'\x01' END COLLATE "C" AS to_path
    )
    SELECT u.id
    FROM bounds b
    CROSS JOIN LATERAL (
      SELECT i.id, i.endpoint_path, i.status, i.attempts, i.next_attempt_at, i.requested_by, i.requested_at, i.due_at, i.key
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.due_at IS NULL
        AND i.endpoint_path COLLATE "C" >= b.from_path AND i.endpoint_path COLLATE "C" < b.to_path
      UNION ALL
      SELECT i.id, i.endpoint_path, i.status, i.attempts, i.next_attempt_at, i.requested_by, i.requested_at, i.due_at, i.key
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.due_at IS NOT NULL AND (i.next_attempt_at = i.due_at) IS NOT TRUE
        AND i.endpoint_path COLLATE "C" >= b.from_path AND i.endpoint_path COLLATE "C" < b.to_path
    ) u
    WHERE CASE $2 WHEN 'route' THEN split_part(u.endpoint_path, '?', 1) = b.from_path ELSE u.endpoint_path = $1 END
      AND u.id IS DISTINCT FROM $7
      AND CASE WHEN $3 = 0 THEN (u.key = $6 AND u.requested_by = session_user AND u.next_attempt_at IS NOT NULL AND u.status IN ('queued', 'retrying')) IS NOT TRUE
               ELSE u.id <> $3
                 AND (CASE WHEN u.due_at IS NULL AND $5 IS NULL THEN u.id < $3
                           ELSE (coalesce(u.due_at, u.requested_at), u.id) < (coalesce($5, $4), $3) END
                      OR u.status <> 'queued' OR u.attempts > 0 OR u.next_attempt_at IS NULL) END
    ORDER BY CASE WHEN $3 = 0 THEN -u.id ELSE u.id END LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.unfinished_beside(text, text, bigint, timestamptz, timestamptz, text, bigint) IS
  'Internal: an unfinished call of the path, or of the route, that comes first, other than besides; NULL: none';

CREATE FUNCTION wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name,
                                      requested_at timestamptz, due_at timestamptz, besides bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN call_id IS NOT NULL AND exclusive IS NOT NULL THEN wee5_cron.unfinished_beside($2, $3, $1, $5, $6, NULL, $7) END
  $$;
COMMENT ON FUNCTION wee5_cron.call_beside(bigint, text, text, name, timestamptz, timestamptz, bigint) IS
  'Internal, for harvest(): an unfinished call that this one would overlap with; NULL: the call may be sent. besides: a call that does not count';

-- A transaction that calls many paths must not fill the lock table, so paths share 1024 locks.
CREATE FUNCTION wee5_cron.lock_path(endpoint_path text) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(pg_try_advisory_xact_lock(hashtext('wee5_cron'), hashtext(split_part($1, '?', 1)) & 1023), false) $$;
COMMENT ON FUNCTION wee5_cron.lock_path(text) IS
  'Internal, for harvest(): false, without waiting, if another transaction is handing a call of this path to pg_net';

-- NULL: pg_net has no such function. Raises an error if somebody else created an overload in the schema net: Postgres could
-- choose that one, and it would get the bearer.
CREATE FUNCTION wee5_cron.pg_net_function(method text, has_body boolean) RETURNS name
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  wanted constant name := 'http_' || lower(method);
  -- Whether each function of that name suits; NULL: it is somebody else's.
  suits constant boolean[] := ARRAY(
    SELECT CASE WHEN wee5_cron.belongs_to_extension('pg_proc', p.oid, 'pg_net') THEN NOT has_body OR 'body' = ANY (p.proargnames) END
    FROM pg_proc p WHERE p.pronamespace = to_regnamespace('net') AND p.proname = wanted);
BEGIN
  -- to_regproc() finds a function that this transaction cannot see yet, and none where there are two.
  IF array_position(suits, NULL) IS NOT NULL OR suits <> '{}' AND to_regproc('net.' || wanted) IS NULL
     AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    RAISE EXCEPTION 'the function net.%(...) does not belong to the extension pg_net', wanted
      USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'wee5_cron would pass the bearer secret to it.',
            HINT = 'Drop the function that is not pg_net''s.';
  ELSIF (true = ANY (suits)) IS NOT TRUE THEN
    RAISE EXCEPTION 'the installed pg_net has no function for %', method
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'ALTER EXTENSION pg_net UPDATE;';
  END IF;
  RETURN wanted;
END
$$;
COMMENT ON FUNCTION wee5_cron.pg_net_function(text, boolean) IS 'Internal: the function of pg_net that sends such a request';

-- The parameters contain the bearer, so no plan may show them.
CREATE FUNCTION wee5_cron.enqueue(method text, url text, headers jsonb, body jsonb, timeout_ms int) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  request_id bigint;
BEGIN
  PERFORM wee5_cron.refuse_tampered_queue();
  IF wee5_cron.pg_net_function(method, body IS NOT NULL) = 'http_get' THEN
    -- Most calls. Postgres keeps the plan of a statement that is no text.
    request_id := net.http_get(url := url, headers := headers, timeout_milliseconds := timeout_ms);
  ELSE
    EXECUTE format('SELECT net.%I(url := $1, headers := $2, timeout_milliseconds := $3%s)',
                   wee5_cron.pg_net_function(method, body IS NOT NULL), CASE WHEN body IS NOT NULL THEN ', body := $4' ELSE '' END)
      INTO request_id USING url, headers, timeout_ms, body;
  END IF;
  IF request_id IS NULL THEN
    RAISE EXCEPTION 'net.http_%() returned no request id', lower(method) USING ERRCODE = 'external_routine_exception';
  END IF;
  RETURN request_id;
END
$$;
COMMENT ON FUNCTION wee5_cron.enqueue(text, text, jsonb, jsonb, int) IS 'Internal: hands one request to pg_net';

CREATE FUNCTION wee5_cron.timeout_of(call wee5_cron.invocation, request_timeout text) RETURNS int
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  own constant bigint := wee5_cron.interval_milliseconds(call.timeout);
BEGIN
  RETURN CASE WHEN own > 0 THEN least(own, 2147483647) ELSE wee5_cron.duration_ms(request_timeout) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.timeout_of(wee5_cron.invocation, text) IS
  'Internal: the timeout of an attempt in milliseconds; request_timeout: the value of that setting';

-- previous_until: set if the request has the previous secret, which calls use until then.
CREATE FUNCTION wee5_cron.hand_to_pg_net(call wee5_cron.invocation, attempt int, url text, secret text, secret_headers jsonb,
                                         settings jsonb, previous_until timestamptz DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  timeout_ms constant int := wee5_cron.timeout_of(call, settings ->> 'request_timeout');
BEGIN
  INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id, previous_until, secret_digests)
  VALUES (call.id, wee5_cron.enqueue(call.method, url,
    wee5_cron.request_headers(secret, secret_headers, call.id, attempt, call.idempotency_key, call.job_name, call.scheduled_at,
                              call.body IS NOT NULL, timeout_ms, settings ->> 'trace', call.headers), call.body, timeout_ms),
    previous_until, wee5_cron.digests_of(wee5_cron.secrets_of_request(secret, secret_headers -> 'headers')));
END
$$;
COMMENT ON FUNCTION wee5_cron.hand_to_pg_net(wee5_cron.invocation, int, text, text, jsonb, jsonb, timestamptz) IS
  'Internal: hands an attempt to pg_net, and remembers which request carries it; settings: see settings_in_force()';

CREATE FUNCTION wee5_cron.send_by_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  settings constant jsonb := wee5_cron.settings_in_force();
  address record;
BEGIN
  SELECT i.* INTO call FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL AND i.transport = 'pg_net';
  IF NOT FOUND THEN
    RETURN false;
  ELSIF call.endpoint_path = 'wee5_cron.alert' THEN
    PERFORM wee5_cron.send_alert(call);
    RETURN true;
  END IF;
  address := wee5_cron.find_address(call.endpoint_path, settings);
  IF address.missing IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = address.missing, HINT = address.hint;
  END IF;
  PERFORM wee5_cron.hand_to_pg_net(call, call.attempts + 1, address.url, address.secret, address.secret_headers, settings);
  UPDATE wee5_cron.invocation i SET next_attempt_at = NULL, url = address.url WHERE i.id = call_id;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_by_pg_net(bigint) IS
  'Internal, for harvest(): hands a call to pg_net again, with the address and the secret that its role has now';

CREATE FUNCTION wee5_cron.send_with_previous_secret(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  address record;
  settings constant jsonb := wee5_cron.settings_in_force();
BEGIN
  SELECT i.* INTO call FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL AND i.transport = 'pg_net';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  address := wee5_cron.find_address(call.endpoint_path, settings);
  IF address.previous_secret IS NULL THEN
    RETURN false;
  END IF;
  PERFORM wee5_cron.hand_to_pg_net(call, call.attempts + 1, address.url, address.previous_secret, address.secret_headers,
                                   settings, address.previous_until);
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_with_previous_secret(bigint) IS
  'Internal, for harvest(): hands the same attempt of a call to pg_net again, with the previous secret; false: there is none that may be used';

-- What the background tasks keep from one harvest() to the next.
CREATE TABLE wee5_cron.background_task (
  name text PRIMARY KEY,
  place bigint,
  due_at timestamptz,
  seen text
);
COMMENT ON TABLE wee5_cron.background_task IS 'Internal: how far harvest() has come with its background tasks, what it saw, and when it goes on';
COMMENT ON COLUMN wee5_cron.background_task.name IS 'watch: looking at the jobs. prune: deleting expired calls. prune_brief: those whose policy keeps them for a shorter time. installed: the file has run to its end';
COMMENT ON COLUMN wee5_cron.background_task.place IS 'watch: the newest run that was seen. prune, prune_brief: the call up to which a walk has come';
COMMENT ON COLUMN wee5_cron.background_task.due_at IS 'When it is to be done again; NULL: at once';
COMMENT ON COLUMN wee5_cron.background_task.seen IS 'watch: a digest of the jobs. prune: the settings. prune_brief: a digest of the policies';

-- If somebody sets the clock back, a task must not rest until the old time comes again.
CREATE FUNCTION wee5_cron.rests(due_at timestamptz, longest interval DEFAULT '1 day') RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN coalesce(due_at > clock_timestamp() AND due_at <= clock_timestamp() + longest, false); END $$;
COMMENT ON FUNCTION wee5_cron.rests(timestamptz, interval) IS 'Internal, for harvest(): whether a background task is not due yet; longest: how far ahead it can be due';

CREATE FUNCTION wee5_cron.next_walk(next_due timestamptz, shortest interval) RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN least(greatest(next_due, clock_timestamp() + least(interval '1 hour', shortest / 24)), clock_timestamp() + interval '1 day');
END
$$;
COMMENT ON FUNCTION wee5_cron.next_walk(timestamptz, interval) IS
  'Internal, for harvest(): when the next walk over the ledger begins: as the first call expires, but not too often, and at least once a day';

-- Reading the commands of all jobs takes longer than everything else that an idle harvest() does. So it reads them only if a
-- job has changed or run, when the grace of a tick ends, and every ten minutes.
CREATE FUNCTION wee5_cron.watch_jobs_if_due() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  own_job constant bigint := (SELECT j.jobid FROM wee5_cron.job j WHERE j.job_name = 'wee5-cron-harvest');
  task wee5_cron.background_task;
  now_seen text;
  newest_run bigint;
  look_again timestamptz;
BEGIN
  -- One harvest() at a time: another one would wait for it to see what is left to count.
  IF NOT pg_try_advisory_xact_lock(hashtext('wee5_cron.job_watch'), 0) THEN
    RETURN;
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.watch_jobs();
    RETURN;
  END IF;
  EXECUTE $query$
    SELECT md5(string_agg(concat_ws(E'\x01', j.jobid, j.jobname, j.schedule, j.command, j.active, j.username), E'\x02' ORDER BY j.jobid))
    FROM cron.job j WHERE j.database = current_database()
  $query$ INTO now_seen;
  newest_run := (SELECT max(r.runid) FROM wee5_cron.newest_cron_runs(0, 200) r WHERE r.jobid IS DISTINCT FROM own_job);
  SELECT * INTO task FROM wee5_cron.background_task c WHERE c.name = 'watch';
  IF (task.seen, task.place) IS NOT DISTINCT FROM (now_seen, newest_run) AND wee5_cron.rests(task.due_at, '10 minutes')
     -- A run that is still going on may fail.
     AND NOT EXISTS (SELECT FROM wee5_cron.job_watch w WHERE w.unended_runs <> '{}') THEN
    RETURN;
  END IF;
  look_again := wee5_cron.watch_jobs();
  INSERT INTO wee5_cron.background_task AS c (name, place, due_at, seen)
  VALUES ('watch', newest_run, least(look_again, clock_timestamp() + interval '10 minutes'), now_seen)
  ON CONFLICT (name) DO UPDATE SET place = excluded.place, due_at = excluded.due_at, seen = excluded.seen;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs_if_due() IS 'Internal, for harvest(): watch_jobs(), unless nothing can have changed';

-- Notes the rows that stay although their time is over. False: there was no time for all of them.
CREATE FUNCTION wee5_cron.note_newest_calls_until(until timestamptz) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  part record;
  looked_to bigint;
BEGIN
  LOOP
    part := wee5_cron.note_newest_calls(2000, looked_to);
    looked_to := part.looked_to;
    IF NOT part.left_over THEN
      RETURN true;
    END IF;
    EXIT WHEN clock_timestamp() > until;
  END LOOP;
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_newest_calls_until(timestamptz) IS
  'Internal, for harvest(): learns from the newest calls which rows stay; false if some are left when the time is over';

-- A long walk takes several harvests. If the settings have changed, a walk begins at once.
CREATE FUNCTION wee5_cron.prune_some_history() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  until constant timestamptz := clock_timestamp() + interval '300 milliseconds';
  keep_succeeded constant interval := wee5_cron.kept_for('keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('keep_failed');
  shortest constant interval := least(keep_succeeded, keep_failed);
  kept constant text := concat_ws(' ', wee5_cron.setting('keep_succeeded'), wee5_cron.setting('keep_failed'));
  task wee5_cron.background_task;
  part record;
  next_due timestamptz;
BEGIN
  SELECT * INTO task FROM wee5_cron.background_task c WHERE c.name = 'prune';
  IF task.seen IS DISTINCT FROM kept THEN
    task.place := NULL;
    task.due_at := NULL;
  END IF;
  IF shortest IS NULL OR wee5_cron.rests(task.due_at) OR NOT wee5_cron.may_prune() THEN
    RETURN;
  END IF;
  IF task.place IS NULL AND NOT wee5_cron.note_newest_calls_until(until) THEN
    RETURN;
  END IF;
  task.place := coalesce(task.place, 0);
  LOOP
    part := wee5_cron.prune_page(2000, keep_succeeded, keep_failed, shortest, task.place);
    task.place := part.walked_to;
    next_due := least(next_due, part.next_due);
    EXIT WHEN NOT part.left_over OR clock_timestamp() > until;
  END LOOP;
  INSERT INTO wee5_cron.background_task AS c (name, place, due_at, seen)
  VALUES ('prune', CASE WHEN part.left_over THEN task.place END,
          CASE WHEN NOT part.left_over THEN wee5_cron.next_walk(next_due, shortest) END, kept)
  ON CONFLICT (name) DO UPDATE SET place = excluded.place, due_at = excluded.due_at, seen = excluded.seen;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_some_history() IS 'Internal, for harvest(): deletes expired calls, for at most some tenths of a second';

-- Deletes the calls that a policy keeps for a shorter time than the settings. It walks the younger part of the ledger, from the
-- first such call that the last walk left. If a policy has changed, it starts again from the beginning.
CREATE FUNCTION wee5_cron.prune_brief_calls() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  until constant timestamptz := clock_timestamp() + interval '300 milliseconds';
  keep_succeeded constant interval := wee5_cron.kept_for('keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('keep_failed');
  policy record;
  task wee5_cron.background_task;
  part record;
  pending bigint;
  next_due timestamptz;
BEGIN
  SELECT * INTO policy FROM wee5_cron.shortest_policy();
  SELECT * INTO task FROM wee5_cron.background_task c WHERE c.name = 'prune_brief';
  IF task.seen IS DISTINCT FROM policy.fingerprint THEN
    task.place := 0;
    task.due_at := NULL;
  END IF;
  IF policy.shortest IS NULL OR policy.shortest >= least(keep_succeeded, keep_failed)
     OR wee5_cron.rests(task.due_at) OR NOT wee5_cron.may_prune() OR NOT wee5_cron.note_newest_calls_until(until) THEN
    RETURN;
  END IF;
  task.place := coalesce(task.place, 0);
  LOOP
    part := wee5_cron.prune_page(2000, keep_succeeded, keep_failed, policy.shortest, task.place);
    task.place := part.walked_to;
    pending := least(pending, part.first_pending);
    next_due := least(next_due, part.next_due);
    EXIT WHEN NOT part.left_over OR clock_timestamp() > until;
  END LOOP;
  INSERT INTO wee5_cron.background_task AS c (name, place, due_at, seen)
  VALUES ('prune_brief', CASE WHEN part.left_over THEN task.place ELSE coalesce(pending - 1, task.place) END,
          CASE WHEN NOT part.left_over THEN wee5_cron.next_walk(next_due, policy.shortest) END, policy.fingerprint)
  ON CONFLICT (name) DO UPDATE SET place = excluded.place, due_at = excluded.due_at, seen = excluded.seen;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_brief_calls() IS
  'Internal, for harvest(): deletes expired calls whose policy keeps them for a shorter time than the settings';

-- A copy of the files or a failover begins a new timeline. pg_upgrade makes a new system identifier. disarm() writes
-- xid 0, so a copy stays disarmed even if a later pg_upgrade gives it a new identifier.
CREATE FUNCTION wee5_cron.watch_identity() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  since_armed constant text := wee5_cron.identity_since_armed();
  mark record;
BEGIN
  IF since_armed IS NULL OR since_armed IN ('same', 'unknown') OR NOT wee5_cron.has_mark() THEN
    RETURN;
  END IF;
  LOCK TABLE wee5_cron.armed IN SHARE ROW EXCLUSIVE MODE;
  IF wee5_cron.identity_since_armed() IS DISTINCT FROM since_armed OR NOT wee5_cron.has_mark() THEN
    RETURN;  -- another harvest() has just done it
  END IF;
  IF since_armed = 'copied' AND wee5_cron.setting('on_physical_copy') <> 'continue' THEN
    PERFORM wee5_cron.disarm('a copy of the files, a recovery or a failover');
    PERFORM wee5_cron.add_alert(wee5_cron.make_alert('disarmed', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
      format('database "%s" makes no calls: it was copied with its files, recovered, or failed over. If it is the one that is to '
             'call the app: SELECT wee5_cron.arm();', current_database())));
    PERFORM wee5_cron.run_background_task('send_alerts');
    RETURN;
  END IF;
  SELECT a.armed_at, a.armed_by, r.id INTO mark
  FROM wee5_cron.armed a LEFT JOIN wee5_cron.arming r ON r.xid = a.xid ORDER BY r.id NULLS LAST LIMIT 1;
  PERFORM wee5_cron.write_mark(mark.armed_at, mark.armed_by, mark.id);
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_identity() IS 'Internal, for harvest(): disarms a physical copy, and follows pg_upgrade';

-- An error in one task neither stops the others nor undoes what was recorded.
CREATE FUNCTION wee5_cron.run_background_task(task text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  CASE task
    WHEN 'watch_jobs' THEN PERFORM wee5_cron.watch_jobs_if_due();
    WHEN 'send_alerts' THEN
      PERFORM wee5_cron.repeat_alerts(make_interval(secs => wee5_cron.setting_ms('alert_repeat') / 1000.0));
      PERFORM wee5_cron.send_alerts(by_webhook => wee5_cron.alert_receiver() IS NOT NULL);
    WHEN 'prune_some_history' THEN PERFORM wee5_cron.prune_some_history(), wee5_cron.prune_brief_calls();
    WHEN 'prune_own_runs' THEN PERFORM wee5_cron.prune_own_runs();
  END CASE;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'harvest() cannot do all of its work (%): %', task, SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.run_background_task(text) IS 'Internal, for harvest(): one of its background tasks';

CREATE FUNCTION wee5_cron.run_background_tasks() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.watch_identity();
  IF wee5_cron.may_call() THEN
    PERFORM wee5_cron.run_background_task('watch_jobs');
    PERFORM wee5_cron.run_background_task('send_alerts');
  END IF;
  PERFORM wee5_cron.run_background_task('prune_some_history');
  PERFORM wee5_cron.run_background_task('prune_own_runs');
END
$$;
COMMENT ON FUNCTION wee5_cron.run_background_tasks() IS 'Internal, for harvest(): what is to be done besides calls';
