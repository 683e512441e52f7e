-- health(): whether anything needs attention, for a monitor that asks every minute. It reads what the worker or harvest()
-- has already noticed, and a few rows of the ledger by its indexes, never the history.

-- The jobs that pg_cron starts, with the names that alerts give them. Jobs that do not call the app are among them: to read
-- all commands would take longer than everything else here, and the ledger knows no calls of theirs.
CREATE FUNCTION wee5_cron.active_jobs(OUT jobid bigint, OUT job_name text, OUT label text, OUT username text,
                                      OUT owner text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY SELECT NULL::bigint, l.job_name, l.job_name, NULL::text, NULL::text FROM wee5_cron.jobs_of_ledger() l;
    RETURN;
  END IF;
  RETURN QUERY EXECUTE $query$
    SELECT n.jobid, n.name, CASE WHEN n.namesakes = 1 THEN n.name ELSE '#' || n.jobid END, n.username,
           CASE WHEN n.namesakes > 1 THEN n.username END
    FROM (SELECT j.jobid, j.jobname::text AS name, j.username, j.active,
                 CASE WHEN j.jobname IS NOT NULL THEN count(*) OVER (PARTITION BY j.jobname) END AS namesakes
          FROM cron.job j WHERE j.database = current_database()) n
    WHERE n.active
  $query$;
END
$$;
COMMENT ON FUNCTION wee5_cron.active_jobs() IS
  'Internal, for health(): the active jobs of this database; without pg_cron here, those that the ledger knows. owner: whose calls are the job''s, if two users have a job of that name';

-- One of the newest calls of a job. If the job's calls were skipped again and again, an older call may not be found.
CREATE FUNCTION wee5_cron.newest_call_of(job_name text, owner text, ended boolean) RETURNS wee5_cron.invocation
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT c::wee5_cron.invocation
    FROM (SELECT * FROM wee5_cron.invocation i WHERE i.job_name >= $1 AND i.job_name <= $1
          ORDER BY i.job_name DESC, i.id DESC LIMIT 200) c
    WHERE (owner IS NULL OR c.requested_by = owner) AND (NOT ended OR c.status IN ('succeeded', 'failed'))
    ORDER BY c.id DESC LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.newest_call_of(text, text, boolean) IS
  'Internal, for health(): the newest call of a job. ended: the newest that succeeded or failed';

-- The paths have failed as often as their alert_after says. The newest call shows which job of a path fails. If no call
-- does, the runs failed before they made one, and pg_cron's history shows the job.
CREATE FUNCTION wee5_cron.failing_jobs(OUT jobid bigint, OUT label text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  names text[] := ARRAY(
    SELECT t.name FROM wee5_cron.trouble t
    LEFT JOIN wee5_cron.endpoint e ON e.endpoint_path = t.name AND e.alert_after >= 1
    WHERE t.kind = 'failing' AND t.failures >= coalesce(e.alert_after, 3));
  job record;
BEGIN
  IF names = '{}' THEN
    RETURN;
  END IF;
  FOR job IN
    SELECT j.jobid, j.label, wee5_cron.trouble_name(c.endpoint_path) AS name
    FROM wee5_cron.active_jobs() j CROSS JOIN LATERAL wee5_cron.newest_call_of(j.job_name, j.owner, true) c
    WHERE c.status = 'failed' AND wee5_cron.trouble_name(c.endpoint_path) = ANY (names)
  LOOP
    jobid := job.jobid;
    label := job.label;
    RETURN NEXT;
    names := array_remove(names, job.name);
  END LOOP;
  IF wee5_cron.pg_cron_installed()
     AND EXISTS (SELECT FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.by_job AND t.name = ANY (names)) THEN
    RETURN QUERY
      SELECT j.jobid, j.label
      FROM wee5_cron.calling_jobs() j
      JOIN (SELECT DISTINCT ON (r.jobid) r.jobid, r.status FROM wee5_cron.newest_cron_runs() r ORDER BY r.jobid, r.runid DESC) ran
        ON ran.jobid = j.jobid AND ran.status = 'failed'
      WHERE j.active AND coalesce(wee5_cron.trouble_name(j.endpoint_path), j.label) = ANY (names);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.failing_jobs() IS
  'Internal, for health(): the active jobs that have failed as often in a row as alert_after says';

-- As in job_status. Only if a run seems to be missed does it read pg_cron's history, which has no index of jobs.
CREATE FUNCTION wee5_cron.late_jobs(OUT jobid bigint, OUT label text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  suspects bigint[];
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY SELECT NULL::bigint, s.job_name FROM wee5_cron.silent_jobs() s;
    RETURN;
  END IF;
  suspects := ARRAY(
    SELECT j.jobid FROM wee5_cron.active_jobs() j JOIN wee5_cron.job_watch w ON w.jobid = j.jobid
    WHERE w.last_missed > coalesce((SELECT max(r) FROM unnest(w.runs) r), '-infinity')
      AND w.last_missed > coalesce((wee5_cron.newest_call_of(j.job_name, j.owner, false)).requested_at, '-infinity'));
  IF suspects = '{}' THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT j.jobid, j.label
    FROM wee5_cron.active_jobs() j JOIN wee5_cron.job_watch w ON w.jobid = j.jobid
    LEFT JOIN wee5_cron.last_cron_starts() ran ON ran.jobid = j.jobid
    WHERE j.jobid = ANY (suspects) AND w.last_missed > coalesce(ran.at, '-infinity')
      -- The calls of such a job may not name it.
      AND (j.job_name IS NOT NULL OR EXISTS (SELECT FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = j.label));
END
$$;
COMMENT ON FUNCTION wee5_cron.late_jobs() IS
  'Internal, for health(): the active jobs whose newest due run was missed, and that have not run since';

-- As in job_status, for jobs whose calls name them.
CREATE FUNCTION wee5_cron.waiting_jobs(OUT jobid bigint, OUT label text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- By the two indexes that have every call that has not ended.
  IF NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL)
     AND NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL AND i.next_attempt_at IS NOT NULL) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT j.jobid, j.label
    FROM wee5_cron.active_jobs() j CROSS JOIN LATERAL wee5_cron.newest_call_of(j.job_name, j.owner, false) c
    WHERE c.status = 'skipped' AND c.reason = 'overlap'
      AND (wee5_cron.waiting_call(c.endpoint_path, c.exclusive, c.id)).id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.waiting_jobs() IS
  'Internal, for health(): the active jobs whose calls are skipped because an earlier one has not been sent yet or waits to be retried';

-- Since when the oldest call has been due without being sent. If many calls are due, this reads the first of each route, because
-- the index has the calls of a route in the order of their ids.
CREATE FUNCTION wee5_cron.oldest_queued() RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  calls bigint;
  oldest timestamptz;
BEGIN
  SELECT count(*), min(q.due_at) FILTER (WHERE q.status = 'queued') INTO calls, oldest
  FROM (SELECT i.status, coalesce(i.due_at, i.requested_at) AS due_at FROM wee5_cron.invocation i
        WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL LIMIT 10001) q;
  IF calls > 10000 THEN
    WITH RECURSIVE queued AS (
      SELECT split_part(i.endpoint_path, '?', 1) COLLATE "C" AS route, i.id, i.status, coalesce(i.due_at, i.requested_at) AS due_at
      FROM wee5_cron.invocation i
      WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
    ), route (name) AS (
      (SELECT q.route FROM queued q ORDER BY q.route, q.id LIMIT 1)
      UNION ALL
      SELECT (SELECT q.route FROM queued q WHERE q.route > route.name ORDER BY q.route, q.id LIMIT 1)
      FROM route WHERE route.name IS NOT NULL
    )
    SELECT min((SELECT q.due_at FROM queued q WHERE q.route = route.name AND q.status = 'queued'
                ORDER BY q.route, q.id LIMIT 1)) INTO oldest FROM route;
  END IF;
  -- A call or retry that is due and that nobody has sent. Reads only the first entry of the index, whatever that is.
  RETURN least(oldest, (SELECT CASE WHEN n.at <= clock_timestamp() THEN n.at END
                        FROM (SELECT min(i.next_attempt_at) AS at FROM wee5_cron.invocation i WHERE i.finished_at IS NULL) n));
END
$$;
COMMENT ON FUNCTION wee5_cron.oldest_queued() IS
  'Internal, for health(): when the oldest call that waits for the worker became due; NULL: no call waits';

-- pg_net takes a request out of its queue when it begins it.
CREATE FUNCTION wee5_cron.oldest_at_pg_net() RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  oldest timestamptz;
BEGIN
  IF wee5_cron.pg_net_installed() THEN
    EXECUTE $query$
      SELECT min(b.handed_over_at)
      FROM wee5_cron.pg_net_request b JOIN net.http_request_queue q ON q.id = b.request_id
      WHERE b.queue = 'net.http_request_queue'::regclass
    $query$ INTO oldest;
  END IF;
  RETURN oldest;
END
$$;
COMMENT ON FUNCTION wee5_cron.oldest_at_pg_net() IS
  'Internal, for health(): when the oldest call was handed over that pg_net has not begun; NULL: there is none';

-- One run may have failed in passing, such as while the database was upgraded.
CREATE FUNCTION wee5_cron.harvest_failure() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  failure text;
BEGIN
  IF has_table_privilege('cron.job_run_details', 'SELECT') THEN
    EXECUTE $query$
      SELECT CASE WHEN count(*) > 1 AND bool_and(r.status = 'failed')
                  THEN coalesce((array_agg(split_part(r.message, E'\n', 1) ORDER BY r.runid DESC))[1], 'without a message') END
      FROM (SELECT n.runid, n.status, n.message FROM wee5_cron.newest_cron_runs(0, 1000) n
            WHERE n.status IN ('succeeded', 'failed')
              AND n.jobid IN (SELECT j.jobid FROM cron.job j
                              WHERE j.database = current_database() AND j.active AND j.command ~* 'harvest'
                                AND wee5_cron.harvests(j.command))
            ORDER BY n.runid DESC LIMIT 3) r
    $query$ INTO failure;
  END IF;
  RETURN failure;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvest_failure() IS
  'Internal, for doctor() and health(): why the last runs of the job that runs harvest() failed; NULL: one of them did not fail';

-- What does the work without a worker: pg_net, and the job that records its answers and starts every minute.
CREATE FUNCTION wee5_cron.harvest_job_runs() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  runs boolean;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() OR wee5_cron.pg_net_worker_lives() IS FALSE THEN
    RETURN false;
  END IF;
  EXECUTE $query$
    WITH harvest AS MATERIALIZED (
      SELECT j.jobid FROM cron.job j
      WHERE j.database = current_database() AND j.active AND j.command ~* 'harvest' AND wee5_cron.harvests(j.command)
    )
    SELECT EXISTS (SELECT FROM harvest)
       AND (NOT wee5_cron.pg_cron_logs_runs()
            OR EXISTS (SELECT FROM wee5_cron.last_cron_starts(1000) r
                       WHERE r.jobid IN (SELECT h.jobid FROM harvest h) AND r.at > clock_timestamp() - interval '5 minutes'))
  $query$ INTO runs;
  RETURN runs AND wee5_cron.harvest_failure() IS NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvest_job_runs() IS
  'Internal, for health(): whether pg_net runs, and a job has run harvest() in the last five minutes, not only in runs that fail';

CREATE FUNCTION wee5_cron.worker_health() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  worker record;
BEGIN
  IF NOT wee5_cron.library_preloaded() THEN
    RETURN CASE WHEN wee5_cron.harvest_job_runs() THEN 'up' ELSE 'down' END;
  END IF;
  SELECT s.* INTO worker FROM wee5_cron.worker_slots() s WHERE s.datid = wee5_cron.database_oid();
  RETURN CASE
    WHEN worker.state IN ('asleep', 'stopping') THEN 'asleep'
    -- As doctor() judges it: the worker gets the next process that another database does not need.
    WHEN worker.state = 'starting' AND worker.last_error LIKE 'waits for its turn%'
         AND EXISTS (SELECT FROM wee5_cron.worker_slots() s WHERE s.pid IS NOT NULL) THEN 'asleep'
    -- While calls are switched off, the worker is blocked by that, and says so.
    WHEN worker.pid IS NOT NULL AND (worker.state IN ('starting', 'idle', 'sending') OR worker.state = 'blocked' AND NOT wee5_cron.may_call())
      THEN 'up'
    ELSE 'down' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.worker_health() IS
  'Internal, for health(): up, asleep (a call wakes it) or down';

CREATE FUNCTION wee5_cron.health(max_queue_age interval DEFAULT '5 minutes') RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- A monitor should hear that the ledger is locked, and not wait for the lock.
  SET lock_timeout = '2s' SET jit = off
  AS $$
DECLARE
  armed constant boolean := wee5_cron.has_mark() AND wee5_cron.is_armed();
  enabled constant boolean := wee5_cron.setting('enabled') <> 'off';
  worker constant text := wee5_cron.worker_health();
  failing constant text[] := ARRAY(SELECT DISTINCT j.label FROM wee5_cron.failing_jobs() j ORDER BY 1);
  late constant text[] := ARRAY(SELECT DISTINCT j.label FROM wee5_cron.late_jobs() j ORDER BY 1);
  waiting constant text[] := ARRAY(SELECT DISTINCT j.label FROM wee5_cron.waiting_jobs() j
                                   WHERE j.label <> ALL (failing || late) ORDER BY 1);
  queue_age constant numeric := greatest(0, coalesce(round(extract(epoch FROM clock_timestamp() - least(
    wee5_cron.oldest_queued(), wee5_cron.oldest_at_pg_net())), 3), 0));
BEGIN
  IF max_queue_age IS NULL THEN
    RAISE EXCEPTION 'max_queue_age must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT wee5_cron.health(max_queue_age => ''5 minutes'');';
  ELSIF max_queue_age < interval '0' THEN
    RAISE EXCEPTION 'invalid interval "%": max_queue_age must not be negative', max_queue_age
      USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT wee5_cron.health(max_queue_age => ''5 minutes'');';
  END IF;
  RETURN jsonb_build_object(
    'ok', armed AND enabled AND worker <> 'down' AND failing = '{}' AND late = '{}'
          AND queue_age <= extract(epoch FROM max_queue_age),
    'armed', armed, 'enabled', enabled, 'worker', worker, 'failing', failing, 'late', late, 'waiting', waiting,
    'queue_age', queue_age, 'at', clock_timestamp());
END
$$;
COMMENT ON FUNCTION wee5_cron.health(interval) IS
  'Whether anything needs you, as JSON: ok, armed, enabled, worker (up, asleep or down), the jobs that are failing (alert_after times in a row), late or waiting, and queue_age: for how many seconds the oldest due call has waited. max_queue_age: beyond this age, ok is false';

-- Such as "1 job needs you: ...". Names of jobs are the only words from outside in it.
CREATE FUNCTION wee5_cron.health_sentence(health jsonb) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT 'cron in database "' || current_database() || '" needs you: ' || string_agg(s.words, '; ' ORDER BY s.n)
    FROM (
      SELECT 1 AS n, 'the database is disarmed' AS words WHERE health->>'armed' = 'false'
      UNION ALL
      SELECT 2, 'wee5_cron.enabled is off' WHERE health->>'enabled' = 'false'
      UNION ALL
      SELECT 3, 'the worker is down' WHERE health->>'worker' = 'down'
      UNION ALL
      SELECT l.n, l.word || ': ' || (SELECT string_agg(CASE WHEN e.n <= 10 THEN e.name ELSE '...' END, ', ' ORDER BY e.n)
                                     FROM jsonb_array_elements_text(health->l.word) WITH ORDINALITY AS e (name, n) WHERE e.n <= 11)
      FROM (VALUES (4, 'failing'), (5, 'late')) AS l (n, word) WHERE health->l.word <> '[]'
      UNION ALL
      SELECT 6, format('the oldest due call has waited for %s', wee5_cron.span_in_words((health->>'queue_age')::float8 * interval '1 second'))
      WHERE (health->>'queue_age')::numeric > 300
    ) s
  $$;
COMMENT ON FUNCTION wee5_cron.health_sentence(jsonb) IS
  'Internal, for assert_healthy(): what is wrong, in one sentence; NULL: nothing';

CREATE FUNCTION wee5_cron.assert_healthy() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  health constant jsonb := wee5_cron.health();
BEGIN
  IF (health->>'ok')::boolean IS NOT TRUE THEN
    RAISE EXCEPTION '%', wee5_cron.health_sentence(health)
      USING ERRCODE = 'operator_intervention', HINT = 'SELECT * FROM wee5_cron.doctor() WHERE status <> ''ok'';';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.assert_healthy() IS
  'Raises 57000 with one sentence that says what is wrong, unless health() is ok';
