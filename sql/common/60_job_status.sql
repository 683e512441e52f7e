-- The view job_status. It reads cron.job as the extension's owner, because cron.job shows a user no more than his own
-- jobs.

-- The ledger finds the calls of a job by its name. The calls of a job that has no name, or has the same command as
-- another job, are found by their runs; if pg_cron logs none, by path, user and tick. The path alone would also find
-- calls by hand.
CREATE FUNCTION wee5_cron.filter_without_name(command_shared boolean) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT 'i.id > (SELECT coalesce(max(id), 0) - 20000 FROM wee5_cron.invocation) AND i.job_name IS NULL AND '
           || CASE WHEN wee5_cron.pg_cron_logs_runs() THEN
                -- One lookup by runid per call: the history has no index of jobs, and nobody prunes it.
                wee5_cron.made_by_run_of_job()
              ELSE
                'i.endpoint_path = j.endpoint_path AND i.requested_by = j.username'
                || CASE WHEN command_shared THEN '' ELSE ' AND i.scheduled_at IS NOT NULL' END END
  $$;
COMMENT ON FUNCTION wee5_cron.filter_without_name(boolean) IS
  'Internal, for known_jobs(): a condition on invocation i and job j of known_jobs()';

-- The call that a job waits for. The job's newest call was skipped, because an earlier call of the path is still to be
-- sent or is retried later, perhaps in an hour (Retry-After). A call whose first attempt is in flight is merely slow.
CREATE FUNCTION wee5_cron.waiting_call(endpoint_path text, exclusive text, skipped_id bigint,
                                       OUT id bigint, OUT until timestamptz, OUT status text, OUT error text, OUT attempts int)
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH bounds AS MATERIALIZED (
      SELECT CASE exclusive WHEN 'route' THEN split_part($1, '?', 1) ELSE $1 END COLLATE "C" AS from_path,
             -- '@' follows '?'.
             CASE exclusive WHEN 'route' THEN split_part($1, '?', 1) || '@' ELSE $1 || E'\x01' END COLLATE "C" AS to_path
      WHERE exclusive IN ('path', 'route')
    )
    SELECT w.id, nullif(w.next_attempt_at, 'infinity'), w.status, w.error, w.attempts
    FROM bounds b
    CROSS JOIN LATERAL (
      (SELECT i.* FROM wee5_cron.invocation i
       WHERE i.finished_at IS NULL AND i.due_at IS NULL
         AND i.endpoint_path COLLATE "C" >= b.from_path AND i.endpoint_path COLLATE "C" < b.to_path
         AND (exclusive = 'path' OR split_part(i.endpoint_path, '?', 1) = b.from_path) AND i.id < skipped_id
         AND (i.status IN ('queued', 'retrying') OR i.status = 'sending' AND i.attempts > 1)
       LIMIT 100)
      UNION ALL
      -- Not a call that waits for its time: nothing is skipped because of it.
      (SELECT i.* FROM wee5_cron.invocation i
       WHERE i.finished_at IS NULL AND i.due_at IS NOT NULL AND (i.next_attempt_at = i.due_at) IS NOT TRUE
         AND i.endpoint_path COLLATE "C" >= b.from_path AND i.endpoint_path COLLATE "C" < b.to_path
         AND (exclusive = 'path' OR split_part(i.endpoint_path, '?', 1) = b.from_path) AND i.id < skipped_id
         AND (i.status IN ('queued', 'retrying') OR i.status = 'sending' AND i.attempts > 1)
       LIMIT 100)
    ) w
    ORDER BY id LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.waiting_call(text, text, bigint) IS
  'Internal: the unfinished call because of which wee5_cron skipped this call of a path, if it is still to be sent or retried. until: when it is retried; NULL: it has not been sent yet';

-- The jobs that the ledger knows, for a database without pg_cron.
CREATE FUNCTION wee5_cron.jobs_of_ledger(OUT job_name text, OUT endpoint_path text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    -- One index lookup per name, however many rows it has.
    WITH RECURSIVE named (name) AS (
      SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name IS NOT NULL
      UNION ALL
      SELECT (SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name > named.name)
      FROM named WHERE named.name IS NOT NULL
    )
    SELECT coalesce(j.job_name, n.name),
           coalesce(j.endpoint_path, (SELECT i.endpoint_path FROM wee5_cron.invocation i
                                      WHERE i.job_name = n.name ORDER BY i.id DESC LIMIT 1))
    FROM wee5_cron.job j
    FULL JOIN (SELECT name FROM named WHERE name IS NOT NULL) n ON n.name = j.job_name
    WHERE j.job_name IS NULL OR j.endpoint_path IS NOT NULL
  $$;
COMMENT ON FUNCTION wee5_cron.jobs_of_ledger() IS 'Internal, for known_jobs(): the jobs that have called, or stand in wee5_cron.job';

-- filter: a condition on invocation i and such a job j that finds the calls of the job.
CREATE FUNCTION wee5_cron.known_jobs(OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean,
                                     OUT endpoint_path text, OUT username text, OUT filter text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY
      SELECT l.job_name, NULL::bigint, NULL::text, NULL::boolean, l.endpoint_path, NULL::text, 'i.job_name = j.job_name'
      FROM wee5_cron.jobs_of_ledger() l;
    RETURN;
  END IF;
  RETURN QUERY
    WITH unnamed AS MATERIALIZED (
      SELECT r.endpoint_path, max(r.id) AS id
      FROM (SELECT i.id, i.endpoint_path, i.job_name FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 500) r
      WHERE r.job_name IS NULL GROUP BY r.endpoint_path
    )
    SELECT j.job_name, j.jobid, j.schedule, j.active, j.endpoint_path, j.username,
           CASE WHEN j.job_name IS NULL
                  OR j.command_shared
                     AND EXISTS (SELECT FROM unnamed u
                                 WHERE (u.endpoint_path = j.endpoint_path OR j.endpoint_path IS NULL)
                                   AND u.id > coalesce((SELECT i.id FROM wee5_cron.invocation i
                                                        WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name
                                                        ORDER BY i.job_name DESC, i.id DESC LIMIT 1), 0)) THEN
             wee5_cron.filter_without_name(j.command_shared)
           WHEN j.name_shared THEN 'i.job_name = j.job_name AND i.requested_by = j.username'
           ELSE 'i.job_name = j.job_name' END
    FROM wee5_cron.calling_jobs() j;
END
$$;
COMMENT ON FUNCTION wee5_cron.known_jobs() IS
  'Internal: the jobs of this database that call; without pg_cron here, those that the ledger knows';

-- Of the newest runs only: see newest_cron_runs(). The failed ones come newest first.
CREATE FUNCTION wee5_cron.runs_of_jobs(OUT jobid bigint, OUT last_start timestamptz, OUT failed_runs bigint[],
                                       OUT failed_at timestamptz[], OUT failed_with text[])
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    RETURN QUERY
      SELECT r.jobid, max(r.start_time), array_agg(r.runid ORDER BY r.runid DESC) FILTER (WHERE r.status = 'failed'),
             array_agg(r.at ORDER BY r.runid DESC) FILTER (WHERE r.status = 'failed'),
             array_agg(r.message ORDER BY r.runid DESC) FILTER (WHERE r.status = 'failed')
      FROM wee5_cron.newest_cron_runs() r GROUP BY r.jobid;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.runs_of_jobs() IS
  'Internal: when each job of pg_cron last began, and which of its runs pg_cron logged as failed; nothing without pg_cron here';

-- For each of the last 384 hours in which calls were made, newest first: the id of the last call that was made a minute before
-- its end. Ids ascend with time, but not quite: the minute is for transactions that overlap.
CREATE FUNCTION wee5_cron.ids_by_hour() RETURNS bigint[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  before bigint := (SELECT min(i.id) - 1 FROM wee5_cron.invocation i);
  low bigint;
  middle bigint;
  high bigint := (SELECT max(i.id) FROM wee5_cron.invocation i);
  ids bigint[] := '{}';
BEGIN
  FOR hour IN 0..383 LOOP
    EXIT WHEN (high > before) IS NOT TRUE;
    low := before;
    WHILE low < high LOOP
      middle := low + (high - low + 1) / 2;
      IF EXISTS (SELECT FROM (SELECT i.requested_at FROM wee5_cron.invocation i WHERE i.id > low AND i.id <= middle
                              ORDER BY i.id DESC LIMIT 1) c
                 WHERE c.requested_at > date_trunc('hour', now(), 'UTC') - hour * interval '1 hour' - interval '1 minute') THEN
        high := middle - 1;
      ELSE
        low := middle;
      END IF;
    END LOOP;
    ids := ids || high;
  END LOOP;
  RETURN ids;
END
$$;
COMMENT ON FUNCTION wee5_cron.ids_by_hour() IS
  'Internal, for silent_jobs(): where the calls of each hour of the last 16 days end in the ledger';

-- If pg_cron is in another database, a job's schedule is not known here. But a job that called repeatedly and then
-- stopped is noticed: the database may have been renamed, or the job removed. A call by run_now() does not count. A schedule may
-- leave out nights or weekends. So if a job has called for more than a day, it is silent only at hours of the day and days of the
-- week at which it has called before. These are those of its newest calls, and of a call for each hour of the last 16 days.
CREATE FUNCTION wee5_cron.silent_jobs(OUT job_name text, OUT last_call timestamptz, OUT longest_pause interval)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
    WITH silent AS MATERIALIZED (
      SELECT l.job_name, s.*, 2 * s.longest_pause + interval '2 minutes' AS patience
      FROM wee5_cron.jobs_of_ledger() l
      CROSS JOIN LATERAL (
        SELECT max(c.id) AS id, max(c.requested_at) AS last_call, max(c.pause) AS longest_pause, array_agg(c.requested_at) AS calls
        FROM (SELECT r.id, r.requested_at, r.requested_at - lag(r.requested_at) OVER (ORDER BY r.id) AS pause
              FROM (SELECT i.id, i.requested_at, i.scheduled_at FROM wee5_cron.invocation i
                    WHERE i.job_name >= l.job_name AND i.job_name <= l.job_name ORDER BY i.job_name DESC, i.id DESC LIMIT 20) r
              WHERE r.scheduled_at IS DISTINCT FROM r.requested_at) c
      ) s
      WHERE NOT wee5_cron.pg_cron_installed() AND cardinality(s.calls) >= 3 AND now() - s.last_call > 2 * s.longest_pause + interval '2 minutes'
    ), ids AS MATERIALIZED (
      SELECT wee5_cron.ids_by_hour() AS by_hour WHERE EXISTS (SELECT FROM silent)
    )
    SELECT s.job_name, s.last_call, s.longest_pause
    FROM silent s
    CROSS JOIN LATERAL (
      SELECT max(c.at) - min(c.at) AS length, array_agg(DISTINCT date_part('hour', c.at)) AS hours,
             array_agg(DISTINCT date_part('isodow', c.at)) AS days
      FROM (SELECT call.at AT TIME ZONE 'UTC' FROM unnest(s.calls) AS call (at)
            UNION ALL
            SELECT (SELECT i.requested_at FROM wee5_cron.invocation i
                    WHERE i.job_name >= s.job_name AND i.job_name <= s.job_name AND i.id <= hour.id
                      AND i.scheduled_at IS DISTINCT FROM i.requested_at
                    ORDER BY i.job_name DESC, i.id DESC LIMIT 1) AT TIME ZONE 'UTC'
            FROM ids, unnest(ids.by_hour) AS hour (id) WHERE hour.id < s.id) AS c (at)
    ) habit
    WHERE habit.length <= interval '1 day'
       OR EXISTS (SELECT
                  FROM generate_series(date_trunc('hour', greatest(s.last_call, now() - interval '8 days') AT TIME ZONE 'UTC'),
                                       now() AT TIME ZONE 'UTC', interval '1 hour') AS hour (begins)
                  CROSS JOIN LATERAL (SELECT least(hour.begins + interval '1 hour', now() AT TIME ZONE 'UTC')
                                             - greatest(hour.begins, s.last_call AT TIME ZONE 'UTC')) AS silence (length)
                  WHERE (silence.length > s.patience
                         OR silence.length = interval '1 hour' AND hour.begins > s.last_call AT TIME ZONE 'UTC')
                    AND date_part('hour', hour.begins) = ANY (habit.hours) AND date_part('isodow', hour.begins) = ANY (habit.days))
  $$;
COMMENT ON FUNCTION wee5_cron.silent_jobs() IS
  'Internal: if pg_cron is in another database, the jobs that have been silent for more than twice the longest pause between their newest calls, at a time of the day and on a day of the week at which they call';

-- The id of a call that had ended by then, and whose successors are nearly all younger. Ids ascend with time, so all calls
-- made since then have higher ids, even those of transactions that began long before.
CREATE FUNCTION wee5_cron.ended_before(at timestamptz) RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  edge bigint := (SELECT min(i.id) - 1 FROM wee5_cron.invocation i);
  high bigint := (SELECT max(i.id) FROM wee5_cron.invocation i);
  middle bigint;
  ended bigint;
BEGIN
  WHILE high - edge > 1000 LOOP
    middle := edge + (high - edge) / 2;
    SELECT max(c.id) INTO ended
    FROM (SELECT i.id, i.finished_at FROM wee5_cron.invocation i WHERE i.id > middle ORDER BY i.id LIMIT 20) c
    WHERE c.finished_at < at;
    edge := coalesce(ended, edge);
    high := CASE WHEN ended IS NULL THEN middle ELSE high END;
  END LOOP;
  RETURN coalesce(edge, 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.ended_before(timestamptz) IS
  'Internal, for the view job_status: calls that were made since then have higher ids than this';

-- The calls that have ended since a call, without a reason: nearly all of them succeeded. They are read once for all jobs, in
-- the order in which they lie in the table. Calls that name their job are grouped before their job is found, which takes
-- half the time. The durations of a day of 200 busy jobs fit into work_mem, so that temp_file_limit does not matter.
CREATE FUNCTION wee5_cron.recent_calls(filter text, jobs jsonb, after_id bigint, OUT n int, OUT succeeded boolean,
                                       OUT ended_at timestamptz, OUT calls bigint, OUT seconds double precision[])
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = on SET enable_hashagg = on SET work_mem = '64MB'
  AS $$
DECLARE
  named constant boolean := filter = 'i.job_name = j.job_name';
BEGIN
  RETURN QUERY EXECUTE format($query$
    WITH job AS MATERIALIZED (
      SELECT * FROM jsonb_to_recordset($1) AS j (n int, job_name text, jobid bigint, username text, endpoint_path text)
    )
    SELECT j.n, c.succeeded, c.ended_at, c.calls, c.seconds
    FROM job j
    JOIN (SELECT %s AS key, i.status = 'succeeded' AS succeeded, max(i.finished_at) AS ended_at,
                 count(*) FILTER (WHERE i.requested_at >= $3) AS calls,
                 array_agg(date_part('epoch', i.duration)) FILTER (WHERE i.requested_at >= $3) AS seconds
          FROM %s
          WHERE i.id > $2 AND i.finished_at IS NOT NULL AND i.reason IS NULL
          GROUP BY 1, 2) c ON c.key = %s
  $query$, CASE WHEN named THEN 'i.job_name' ELSE 'j.n' END,
           CASE WHEN named THEN '(SELECT * FROM wee5_cron.invocation WHERE job_name IS NOT NULL) i'
                ELSE 'job j JOIN wee5_cron.invocation i ON ' || filter END,
           CASE WHEN named THEN 'j.job_name' ELSE 'j.n' END)
  USING jobs, after_id, now() - interval '24 hours';
END
$$;
COMMENT ON FUNCTION wee5_cron.recent_calls(text, jsonb, bigint) IS
  'Internal, for job_outcomes(): the calls of each job that ended without a reason, after this id. calls, seconds: how many were made in the last day, and their durations';

-- The outcomes of the calls and runs of all jobs that have the same filter. The failures of the last two days have an index of
-- their own. Of the failures before that, since the newest success, it takes the number only. job_name is compared by >= and
-- <= where the index of a job's calls must be read backwards: for = the planner may read the calls of all jobs until one of
-- this job shows up.
CREATE FUNCTION wee5_cron.job_outcomes(
    filter text, jobs jsonb, OUT n int, OUT id bigint, OUT status text, OUT http_status int, OUT requested_at timestamptz,
    OUT waiting boolean, OUT finished_at timestamptz, OUT success_at timestamptz, OUT failures int, OUT success_rate numeric,
    OUT p50 interval, OUT p95 interval, OUT error text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE format($query$
    WITH job AS MATERIALIZED (
      SELECT * FROM jsonb_to_recordset($1) AS j (n int, job_name text, jobid bigint, username text, endpoint_path text,
                                                 failed_runs bigint[], failed_at timestamptz[], failed_with text[])
    ), recent AS MATERIALIZED (
      SELECT * FROM wee5_cron.recent_calls(%3$L, $1, $2)
    )
    SELECT j.n, newest.id, newest.status, newest.http_status, newest.requested_at,
           EXISTS (SELECT FROM wee5_cron.waiting_call(newest.endpoint_path, newest.gave_way, newest.id) w
                   WHERE newest.gave_way IS NOT NULL AND w.id IS NOT NULL),
           greatest(ended.finished_at, q.ended_at, u.finished_at), success.at, (failed.since_success + before.failures)::int,
           round(coalesce(q.calls, 0)::numeric / nullif(coalesce(q.calls, 0) + failed.begun, 0), 4),
           success.seconds[1] * interval '1 s', success.seconds[2] * interval '1 s',
           coalesce(failed.message, (SELECT i.error FROM wee5_cron.invocation i WHERE i.id = coalesce(failed.newest, before.newest)))
    FROM job j
    LEFT JOIN LATERAL (
      SELECT i.id, i.status, i.http_status, i.requested_at, i.endpoint_path,
             CASE WHEN i.status = 'skipped' AND i.reason = 'overlap' THEN i.exclusive END AS gave_way
      FROM wee5_cron.invocation i WHERE %2$s ORDER BY i.job_name DESC, i.id DESC LIMIT 1) newest ON true
    LEFT JOIN LATERAL (
      SELECT i.finished_at FROM wee5_cron.invocation i
      WHERE %2$s AND i.finished_at IS NOT NULL ORDER BY i.job_name DESC, i.id DESC LIMIT 1) ended ON true
    LEFT JOIN LATERAL (
      SELECT i.id, i.finished_at FROM wee5_cron.invocation i
      WHERE %2$s AND i.status = 'succeeded' AND i.finished_at IS NOT NULL AND i.reason IS NULL
      ORDER BY i.job_name DESC, i.id DESC LIMIT 1) last_success ON true
    LEFT JOIN recent q ON q.n = j.n AND q.succeeded
    CROSS JOIN LATERAL (SELECT greatest(last_success.finished_at, q.ended_at) AS at,
                               wee5_cron.percentiles(q.seconds, '{0.5,0.95}') AS seconds) success
    CROSS JOIN LATERAL (
      SELECT max(i.finished_at) AS finished_at, array_agg(i.id) FILTER (WHERE i.status = 'failed') AS failed,
             array_agg(i.finished_at) FILTER (WHERE i.status = 'failed') AS at,
             array_agg(i.requested_at) FILTER (WHERE i.status = 'failed') AS begun,
             array_agg(i.cron_run_id) FILTER (WHERE i.status = 'failed' AND i.cron_run_id IS NOT NULL) AS failed_runs
      FROM (SELECT i.* FROM wee5_cron.invocation i WHERE %2$s AND i.id > $3 AND i.finished_at IS NOT NULL AND i.reason IS NOT NULL
            UNION ALL
            -- Rows of somebody else's that have no reason. The calls of the last day tell whether there are any.
            SELECT i.* FROM wee5_cron.invocation i
            WHERE EXISTS (SELECT FROM recent o WHERE o.n = j.n AND NOT o.succeeded)
              AND %2$s AND i.id > $2 AND i.finished_at IS NOT NULL AND i.reason IS NULL AND i.status <> 'succeeded') i) u
    CROSS JOIN LATERAL (
      SELECT count(*) AS failures, max(i.id) AS newest,
             array_agg(i.cron_run_id) FILTER (WHERE i.cron_run_id IS NOT NULL) AS failed_runs
      FROM wee5_cron.invocation i
      WHERE %1$s AND i.id > coalesce(last_success.id, 0) AND (i.id <= $3 OR i.id <= $2 AND i.reason IS NULL)
        AND i.status = 'failed' AND i.finished_at > coalesce(success.at, '-infinity')) before
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE f.at > coalesce(success.at, '-infinity')) AS since_success,
             count(*) FILTER (WHERE f.begun >= now() - interval '24 hours') AS begun,
             (array_agg(f.id ORDER BY f.at DESC) FILTER (WHERE tell.it))[1] AS newest,
             (array_agg(f.message ORDER BY f.at DESC) FILTER (WHERE tell.it))[1] AS message
      FROM (SELECT c.id, c.at, c.begun, NULL AS message FROM unnest(u.failed, u.at, u.begun) AS c (id, at, begun)
            UNION ALL
            -- A call that failed may have made its run fail as well: it counts once.
            SELECT NULL, c.at, c.at, c.message FROM unnest(j.failed_runs, j.failed_at, j.failed_with) AS c (runid, at, message)
            WHERE c.runid <> ALL (coalesce(u.failed_runs || before.failed_runs, '{}'))) f
      CROSS JOIN LATERAL (SELECT coalesce(f.at > success.at, true) OR f.at >= now() - interval '48 hours' AS it) tell) failed
  $query$, filter, replace(filter, 'i.job_name = j.job_name', 'i.job_name >= j.job_name AND i.job_name <= j.job_name'), filter)
  USING jobs, wee5_cron.ended_before(now() - interval '24 hours'), wee5_cron.ended_before(now() - interval '48 hours');
END
$$;
COMMENT ON FUNCTION wee5_cron.job_outcomes(text, jsonb) IS
  'Internal, for the view job_status: the outcomes of the calls and failed runs of jobs, which are rows of known_jobs() and runs_of_jobs() with a number n';

CREATE FUNCTION wee5_cron.job_status_rows(
    OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean, OUT endpoint_path text,
    OUT next_run timestamptz, OUT last_invocation_id bigint, OUT last_status text, OUT last_http_status int,
    OUT last_finished_at timestamptz, OUT last_success_at timestamptz, OUT consecutive_failures int,
    OUT success_rate_24h numeric, OUT p50_24h interval, OUT p95_24h interval,
    OUT missed_runs bigint, OUT last_error text, OUT state text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- A plan would show pg_cron's messages as they came.
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  SET jit = off
  -- As for job_outcomes(): no temporary file.
  SET work_mem = '64MB'
  AS $$
BEGIN
  RETURN QUERY
    WITH job AS MATERIALIZED (
      SELECT row_number() OVER () AS n, k.*, r.last_start, r.failed_runs, r.failed_at, r.failed_with
      FROM wee5_cron.known_jobs() k LEFT JOIN wee5_cron.runs_of_jobs() r ON r.jobid = k.jobid
    ), outcome AS MATERIALIZED (
      SELECT o.*
      FROM (SELECT f.filter, jsonb_agg(to_jsonb(f)) AS jobs FROM job f GROUP BY f.filter) alike
      CROSS JOIN LATERAL wee5_cron.job_outcomes(alike.filter, alike.jobs) o
    )
    SELECT j.job_name, j.jobid, j.schedule, j.active, j.endpoint_path,
           CASE WHEN j.active THEN (wee5_cron.ticks(j.schedule, now(), 1, j.last_start))[1] END,
           o.id, o.status, o.http_status, o.finished_at, o.success_at, o.failures, o.success_rate, o.p50, o.p95,
           CASE WHEN j.jobid IS NOT NULL THEN coalesce(w.missed_runs, 0) END,
           -- pg_cron's messages quote what a job's command says.
           CASE WHEN o.error IS NOT NULL THEN wee5_cron.doctor_redact(o.error) END,
           CASE WHEN NOT j.active THEN 'paused'
                WHEN o.success_at IS NULL AND o.failures = 0 THEN 'never_ran'
                WHEN w.last_missed > greatest(j.last_start, o.requested_at) THEN 'late'
                WHEN silent.last_call IS NOT NULL THEN 'late'
                WHEN o.failures > 0 THEN 'failing'
                WHEN o.waiting THEN 'waiting'
                ELSE 'ok' END
    FROM job j
    JOIN outcome o ON o.n = j.n
    LEFT JOIN wee5_cron.job_watch w ON w.jobid = j.jobid
    LEFT JOIN wee5_cron.silent_jobs() silent ON silent.job_name = j.job_name
    ORDER BY j.job_name, j.jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.job_status_rows() IS 'Internal, for the view job_status';

CREATE VIEW wee5_cron.job_status AS
  SELECT job_name, jobid, schedule, active, endpoint_path, next_run, last_invocation_id, last_status, last_http_status,
         last_finished_at, last_success_at, consecutive_failures, success_rate_24h, p50_24h, p95_24h, missed_runs, last_error, state
  FROM wee5_cron.job_status_rows();
COMMENT ON VIEW wee5_cron.job_status IS
  'One row per pg_cron job of this database that calls the app. state: paused > never_ran > late > failing > waiting > ok. Runs that pg_cron itself logged as failed count as failures, too';
COMMENT ON COLUMN wee5_cron.job_status.job_name IS 'cron.job.jobname';
COMMENT ON COLUMN wee5_cron.job_status.jobid IS 'cron.job.jobid. NULL if pg_cron is in another database, like schedule, active and next_run';
COMMENT ON COLUMN wee5_cron.job_status.schedule IS 'cron.job.schedule';
COMMENT ON COLUMN wee5_cron.job_status.active IS 'cron.job.active: false while the job is paused';
COMMENT ON COLUMN wee5_cron.job_status.endpoint_path IS 'Path of the first call in the job''s command; NULL if the path is not a literal';
COMMENT ON COLUMN wee5_cron.job_status.next_run IS 'When pg_cron starts the job next; NULL while it is paused';
COMMENT ON COLUMN wee5_cron.job_status.last_invocation_id IS 'id of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_status IS 'status of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_http_status IS 'http_status of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_finished_at IS 'When one of its calls last ended';
COMMENT ON COLUMN wee5_cron.job_status.last_success_at IS 'When one of its calls last ended with 2xx';
COMMENT ON COLUMN wee5_cron.job_status.consecutive_failures IS 'Failed calls and failed pg_cron runs since last_success_at';
COMMENT ON COLUMN wee5_cron.job_status.success_rate_24h IS '0 to 1: succeeded / (succeeded + failed) in the last 24 hours; NULL if there were none';
COMMENT ON COLUMN wee5_cron.job_status.p50_24h IS 'Median duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.p95_24h IS '95th percentile of the duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.missed_runs IS 'Ticks that had neither a pg_cron run nor a call, since the worker has known the job; NULL if pg_cron is in another database';
COMMENT ON COLUMN wee5_cron.job_status.last_error IS 'Error of the newest failure since the last success, or in the last two days';
COMMENT ON COLUMN wee5_cron.job_status.state IS
  'paused: pg_cron does not start it. never_ran: it has neither succeeded nor failed yet. late: its newest due run was missed; if pg_cron is in another database, the job has been silent for more than twice its longest pause, at a time at which it calls. failing: it failed since its last success. waiting: its calls are skipped because an earlier one has not been sent yet or waits to be retried. ok';
