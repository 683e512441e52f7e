-- How the jobs are doing, with the eyes of the extension's owner: cron.job shows a user no more than his own jobs.

-- The jobs, each with the runs that pg_cron booked as failed, newest first. Dynamic SQL: pg_cron may come after us, and
-- leave before. The run history has one index, on runid, so only its newest part is read. A run whose connection failed
-- has no time at all: it gets that of the next run that has one, and where none followed it has just happened.
-- filter: the ledger's rows of the job, as a condition on invocation i with $1 the job's name, $2 its user, $3 its jobid.
-- The ledger knows the calls of a job by its name. A job without one, and one that has its command in common with another,
-- is known by its runs; where pg_cron logs none, by path, user and tick. The path alone would not do: calls by hand have it.
CREATE FUNCTION wee5_cron.filter_without_name(endpoint_path text, command_shared boolean) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT 'i.id > (SELECT coalesce(max(id), 0) - 20000 FROM wee5_cron.invocation) AND i.job_name IS NULL AND '
           || CASE WHEN wee5_cron.pg_cron_logs_runs() THEN
                'i.cron_run_id IN (SELECT d.runid FROM cron.job_run_details d WHERE d.jobid = $3)'
              ELSE
                format('i.endpoint_path = %L AND i.requested_by = $2%s', endpoint_path,
                       CASE WHEN command_shared THEN '' ELSE ' AND i.scheduled_at IS NOT NULL' END) END
  $$;
COMMENT ON FUNCTION wee5_cron.filter_without_name(text, boolean) IS
  'Internal, of jobs_that_call(): a condition on invocation i, with $2 the job''s user and $3 its jobid';

-- The call that a job waits for: its newest one was skipped since an earlier one of the path is to be sent yet, or is made
-- again later, perhaps in an hour (Retry-After). One that is on the wire for the first time is merely slow.
CREATE FUNCTION wee5_cron.waiting_call(endpoint_path text, exclusive text, skipped_id bigint,
                                       OUT id bigint, OUT until timestamptz, OUT status text, OUT error text, OUT attempts int)
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT w.id, w.next_attempt_at, w.status, w.error, w.attempts
    FROM (SELECT i.* FROM wee5_cron.invocation i
          WHERE i.finished_at IS NULL AND i.endpoint_path COLLATE "C" = $1 AND i.id < skipped_id
            AND (i.status IN ('queued', 'retrying') OR i.status = 'sending' AND i.attempts > 1)
          LIMIT 100) w
    WHERE exclusive = 'path'
    UNION ALL
    SELECT w.id, w.next_attempt_at, w.status, w.error, w.attempts
    FROM (SELECT i.* FROM wee5_cron.invocation i
          WHERE i.finished_at IS NULL AND i.endpoint_path COLLATE "C" >= split_part($1, '?', 1)
            AND i.endpoint_path COLLATE "C" < split_part($1, '?', 1) || '@'
            AND split_part(i.endpoint_path, '?', 1) = split_part($1, '?', 1) AND i.id < skipped_id
            AND (i.status IN ('queued', 'retrying') OR i.status = 'sending' AND i.attempts > 1)
          LIMIT 100) w
    WHERE exclusive = 'route'
    ORDER BY id LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.waiting_call(text, text, bigint) IS
  'Internal: the unfinished call for whose sake this call of a path was skipped, if it waits to be made; until: when that is, NULL: as soon as there is room';

CREATE FUNCTION wee5_cron.jobs_that_call(OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean,
                                         OUT endpoint_path text, OUT username text, OUT filter text,
                                         OUT last_start timestamptz,
                                         OUT failed_runs bigint[], OUT failed_at timestamptz[], OUT failed_with text[])
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY
      -- One index probe a name, however many rows it has.
      WITH RECURSIVE named (name) AS (
        SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name IS NOT NULL
        UNION ALL
        SELECT (SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name > named.name)
        FROM named WHERE named.name IS NOT NULL
      )
      SELECT coalesce(j.job_name, n.name), NULL::bigint, NULL::text, NULL::boolean,
             coalesce(j.endpoint_path, (SELECT i.endpoint_path FROM wee5_cron.invocation i
                                        WHERE i.job_name = n.name ORDER BY i.id DESC LIMIT 1)),
             NULL::text, 'i.job_name = $1', NULL::timestamptz, NULL::bigint[], NULL::timestamptz[], NULL::text[]
      FROM wee5_cron.job j
      FULL JOIN (SELECT name FROM named WHERE name IS NOT NULL) n ON n.name = j.job_name
      WHERE j.job_name IS NULL OR j.endpoint_path IS NOT NULL;
    RETURN;
  END IF;
  RETURN QUERY EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.jobid, d.runid, d.status, d.return_message, d.start_time, d.end_time
      FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000
    ), run AS MATERIALIZED (
      SELECT d.*, coalesce(d.start_time, d.end_time, min(coalesce(d.start_time, d.end_time)) OVER (ORDER BY d.runid DESC),
                           now()) AS at
      FROM newest d
    ), unnamed AS MATERIALIZED (
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
             wee5_cron.filter_without_name(j.endpoint_path, j.command_shared)
           WHEN j.name_shared THEN 'i.job_name = $1 AND i.requested_by = $2'
           ELSE 'i.job_name = $1' END,
           f.last_start, f.runs, f.times, f.messages
    FROM wee5_cron.calling_jobs() j
    CROSS JOIN LATERAL (
      SELECT max(run.start_time) AS last_start,
             array_agg(run.runid ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed') AS runs,
             array_agg(run.at ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed') AS times,
             array_agg(btrim(run.return_message, E' \r\n') ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed')
               AS messages
      FROM run WHERE run.jobid = j.jobid
    ) f
  $query$;
END
$$;
COMMENT ON FUNCTION wee5_cron.jobs_that_call() IS 'Internal, of the view job_status: the jobs of this database that call us';

-- Where pg_cron is in another database nobody here knows a job's schedule. What can be known is that it called again and
-- again, and then stopped: the database may have been renamed, or the job removed. run_now() is no call of pg_cron's.
CREATE FUNCTION wee5_cron.silent_since(job_name text, OUT last_call timestamptz, OUT longest_pause interval)
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT s.last_call, s.longest_pause
    FROM (SELECT max(c.requested_at) AS last_call, max(c.pause) AS longest_pause, count(*) AS calls
          FROM (SELECT r.requested_at, r.requested_at - lag(r.requested_at) OVER (ORDER BY r.id) AS pause
                FROM (SELECT i.id, i.requested_at, i.scheduled_at FROM wee5_cron.invocation i
                      WHERE i.job_name >= $1 AND i.job_name <= $1 ORDER BY i.job_name DESC, i.id DESC LIMIT 20) r
                WHERE r.scheduled_at IS DISTINCT FROM r.requested_at) c) s
    WHERE s.calls >= 3 AND now() - s.last_call > 2 * s.longest_pause + interval '2 minutes'
  $$;
COMMENT ON FUNCTION wee5_cron.silent_since(text) IS
  'Internal: the last call of a job of another database, and the longest pause between its newest calls, where it has been silent for more than twice as long; else NULL';

CREATE FUNCTION wee5_cron.job_status_rows(
    OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean, OUT endpoint_path text,
    OUT next_run timestamptz, OUT last_invocation_id bigint, OUT last_status text, OUT last_http_status int,
    OUT last_finished_at timestamptz, OUT last_success_at timestamptz, OUT consecutive_failures int,
    OUT success_rate_24h numeric, OUT p50_24h interval, OUT p95_24h interval,
    OUT missed_runs bigint, OUT last_error text, OUT state text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- pg_cron's messages as they came are in the plans.
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  SET jit = off
  AS $$
#variable_conflict use_column
DECLARE
  job record;
  seen record;
  watched wee5_cron.job_watch;
BEGIN
  FOR job IN SELECT * FROM wee5_cron.jobs_that_call() j ORDER BY j.job_name, j.jobid LOOP
    -- What is asked lies in the last two days: 24 hours, and a day for calls of long transactions, whose ids are younger
    -- than they are. Of what failed before, since the newest success, only the number.
    EXECUTE format($query$
      WITH newest AS MATERIALIZED (
        SELECT i.id, i.status, i.http_status, i.requested_at, i.endpoint_path,
               CASE WHEN i.status = 'skipped' AND i.reason = 'overlap' THEN i.exclusive END AS gave_way
        FROM wee5_cron.invocation i WHERE %1$s ORDER BY i.id DESC LIMIT 1
      ), ended AS MATERIALIZED (
        SELECT i.finished_at FROM wee5_cron.invocation i
        WHERE %1$s AND i.finished_at IS NOT NULL ORDER BY i.id DESC LIMIT 1
      ), success AS MATERIALIZED (
        SELECT i.id, i.finished_at FROM wee5_cron.invocation i
        WHERE %1$s AND i.status = 'succeeded' AND i.finished_at IS NOT NULL AND i.reason IS NULL ORDER BY i.id DESC LIMIT 1
      ), edge AS MATERIALIZED (
        SELECT i.id FROM wee5_cron.invocation i
        WHERE %1$s AND i.requested_at < now() - interval '48 hours' ORDER BY i.id DESC LIMIT 1
      ), recent AS MATERIALIZED (
        SELECT i.status, i.finished_at, i.requested_at, i.duration, i.error
        FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > coalesce((SELECT id FROM edge), 0) AND i.finished_at IS NOT NULL
      ), succeeded AS MATERIALIZED (
        SELECT greatest((SELECT finished_at FROM success),
                        (SELECT max(r.finished_at) FROM recent r WHERE r.status = 'succeeded')) AS at
      ), booked AS MATERIALIZED (
        SELECT i.cron_run_id FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > least(coalesce((SELECT id FROM success), 0), coalesce((SELECT id FROM edge), 0))
          AND i.cron_run_id = ANY ($4) AND i.status = 'failed'
      ), failure AS MATERIALIZED (
        SELECT r.finished_at AS at, r.requested_at AS begun, r.error FROM recent r WHERE r.status = 'failed'
        UNION ALL
        -- A call that failed may have made its run fail as well: it counts once.
        SELECT f.at, f.at, f.message
        FROM unnest($4, $5, $6) AS f (runid, at, message)
        WHERE NOT EXISTS (SELECT FROM booked b WHERE b.cron_run_id = f.runid)
      ), newest_before AS MATERIALIZED (
        SELECT i.finished_at AS at, i.error FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > coalesce((SELECT id FROM success), 0) AND i.id <= (SELECT id FROM edge) AND i.status = 'failed'
        ORDER BY i.id DESC LIMIT 1
      )
      SELECT (SELECT id FROM newest), (SELECT status FROM newest), (SELECT http_status FROM newest),
             (SELECT requested_at FROM newest),
             EXISTS (SELECT FROM newest n CROSS JOIN LATERAL wee5_cron.waiting_call(n.endpoint_path, n.gave_way, n.id) w
                     WHERE n.gave_way IS NOT NULL AND w.id IS NOT NULL) AS waiting,
             greatest((SELECT finished_at FROM ended), (SELECT max(finished_at) FROM recent)) AS finished_at,
             (SELECT at FROM succeeded) AS success_at,
             (SELECT count(*) FROM failure f WHERE f.at > coalesce((SELECT at FROM succeeded), '-infinity'))
             + (SELECT count(*) FROM wee5_cron.invocation i
                WHERE %1$s AND i.id > coalesce((SELECT id FROM success), 0) AND i.id <= (SELECT id FROM edge)
                  AND i.status = 'failed' AND i.finished_at > coalesce((SELECT at FROM succeeded), '-infinity')) AS failures,
             (SELECT round(avg(o.outcome), 4)
              FROM (SELECT 1 FROM recent r WHERE r.status = 'succeeded' AND r.requested_at >= now() - interval '24 hours'
                    UNION ALL
                    SELECT 0 FROM failure f WHERE f.begun >= now() - interval '24 hours') AS o (outcome)) AS success_rate,
             p.percentiles[1] AS p50, p.percentiles[2] AS p95,
             (SELECT f.error FROM (SELECT at, error FROM failure UNION ALL TABLE newest_before) f ORDER BY f.at DESC LIMIT 1) AS error
      FROM (SELECT percentile_cont(array[0.5, 0.95]) WITHIN GROUP (ORDER BY r.duration) AS percentiles
            FROM recent r
            WHERE r.status = 'succeeded' AND r.requested_at >= now() - interval '24 hours') p
    $query$, job.filter)
    INTO seen
    USING job.job_name, job.username, job.jobid, job.failed_runs, job.failed_at, job.failed_with;

    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid;

    job_name := job.job_name;
    jobid := job.jobid;
    schedule := job.schedule;
    active := job.active;
    endpoint_path := job.endpoint_path;
    next_run := CASE WHEN job.active THEN (wee5_cron.ticks(job.schedule, now(), 1, job.last_start))[1] END;
    last_invocation_id := seen.id;
    last_status := seen.status;
    last_http_status := seen.http_status;
    last_finished_at := seen.finished_at;
    last_success_at := seen.success_at;
    consecutive_failures := seen.failures;
    success_rate_24h := seen.success_rate;
    p50_24h := seen.p50;
    p95_24h := seen.p95;
    missed_runs := CASE WHEN job.jobid IS NOT NULL THEN coalesce(watched.missed_runs, 0) END;
    -- pg_cron's messages quote what a job's command says.
    last_error := CASE WHEN seen.error IS NOT NULL THEN wee5_cron.doctor_redact(seen.error) END;
    state := CASE WHEN NOT job.active THEN 'paused'
                  WHEN seen.success_at IS NULL AND seen.failures = 0 THEN 'never_ran'
                  WHEN watched.last_missed > greatest(job.last_start, seen.requested_at) THEN 'late'
                  WHEN job.jobid IS NULL AND (wee5_cron.silent_since(job.job_name)).last_call IS NOT NULL THEN 'late'
                  WHEN seen.failures > 0 THEN 'failing'
                  WHEN seen.waiting THEN 'waiting'
                  ELSE 'ok' END;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.job_status_rows() IS 'Internal, of the view job_status';

CREATE VIEW wee5_cron.job_status AS
  SELECT job_name, jobid, schedule, active, endpoint_path, next_run, last_invocation_id, last_status, last_http_status,
         last_finished_at, last_success_at, consecutive_failures, success_rate_24h, p50_24h, p95_24h, missed_runs, last_error, state
  FROM wee5_cron.job_status_rows();
COMMENT ON VIEW wee5_cron.job_status IS
  'A row a pg_cron job of this database that calls us. state: paused > never_ran > late > failing > waiting > ok. Runs that pg_cron itself booked as failed are failures too';
COMMENT ON COLUMN wee5_cron.job_status.job_name IS 'cron.job.jobname';
COMMENT ON COLUMN wee5_cron.job_status.jobid IS 'cron.job.jobid; NULL where pg_cron is in another database, as schedule, active and next_run are';
COMMENT ON COLUMN wee5_cron.job_status.schedule IS 'cron.job.schedule';
COMMENT ON COLUMN wee5_cron.job_status.active IS 'cron.job.active: false while it is paused';
COMMENT ON COLUMN wee5_cron.job_status.endpoint_path IS 'the path of the first call that the job''s command makes; NULL where that is no literal';
COMMENT ON COLUMN wee5_cron.job_status.next_run IS 'when pg_cron starts it next; NULL while it is paused';
COMMENT ON COLUMN wee5_cron.job_status.last_invocation_id IS 'its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_status IS 'of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_http_status IS 'of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_finished_at IS 'when a call of it ended last';
COMMENT ON COLUMN wee5_cron.job_status.last_success_at IS 'when a call of it ended with 2xx last';
COMMENT ON COLUMN wee5_cron.job_status.consecutive_failures IS 'failed calls and failed pg_cron runs since last_success_at';
COMMENT ON COLUMN wee5_cron.job_status.success_rate_24h IS '0 to 1: succeeded / (succeeded + failed) of the last 24 hours, NULL without any';
COMMENT ON COLUMN wee5_cron.job_status.p50_24h IS 'median duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.p95_24h IS '95th percentile of the duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.missed_runs IS 'ticks, since the job is known, that had neither a run of pg_cron''s nor a call; NULL where pg_cron is in another database';
COMMENT ON COLUMN wee5_cron.job_status.last_error IS 'of the newest failure since the last success, or in the last two days';
COMMENT ON COLUMN wee5_cron.job_status.state IS
  'paused: pg_cron leaves it out; never_ran: it has neither succeeded nor failed yet; late: its newest due run was missed, or, where pg_cron is in another database, it has not called for more than twice its longest pause; failing: it failed since its last success; waiting: its calls are skipped while an earlier one is to be made again; ok';
