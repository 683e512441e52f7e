-- The view upcoming. Like job_status, it reads cron.job as the extension's owner.

CREATE FUNCTION wee5_cron.upcoming_rows(OUT due_at timestamptz, OUT kind text, OUT job_name text, OUT jobid bigint,
                                        OUT endpoint_path text, OUT invocation_id bigint, OUT key text)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
    -- At most one run each minute.
    SELECT t.at, 'job', j.job_name, j.jobid, j.endpoint_path, NULL::bigint, NULL::text
    FROM wee5_cron.known_jobs() j LEFT JOIN wee5_cron.runs_of_jobs() r ON r.jobid = j.jobid
    CROSS JOIN LATERAL unnest(wee5_cron.ticks(j.schedule, now(), 1440, r.last_start, now() + interval '24 hours')) AS t (at)
    WHERE j.active AND t.at < now() + interval '24 hours'
    UNION ALL
    SELECT i.next_attempt_at, CASE i.attempts WHEN 0 THEN 'call' ELSE 'retry' END, i.job_name, NULL, i.endpoint_path, i.id, i.key
    FROM wee5_cron.invocation i
    WHERE i.finished_at IS NULL AND i.status <> 'accepted' AND i.next_attempt_at < now() + interval '24 hours'
    ORDER BY 1, 2, 3, 6
  $$;
COMMENT ON FUNCTION wee5_cron.upcoming_rows() IS 'Internal, for the view upcoming';

CREATE VIEW wee5_cron.upcoming AS
  SELECT due_at, kind, job_name, jobid, endpoint_path, invocation_id, key FROM wee5_cron.upcoming_rows();
COMMENT ON VIEW wee5_cron.upcoming IS
  'What is due in the next 24 hours: runs of jobs, calls made for a time of their own, and retries. The earliest come first';
COMMENT ON COLUMN wee5_cron.upcoming.due_at IS 'When it is due';
COMMENT ON COLUMN wee5_cron.upcoming.kind IS
  'job: pg_cron starts the job. call: a call whose time has not come, made by invoke(at => ...). retry: a call that failed is made again';
COMMENT ON COLUMN wee5_cron.upcoming.job_name IS 'cron.job.jobname; of a call: the job that made it. NULL: no job';
COMMENT ON COLUMN wee5_cron.upcoming.jobid IS 'cron.job.jobid; NULL for a call';
COMMENT ON COLUMN wee5_cron.upcoming.endpoint_path IS 'Path that will be called; NULL if it is not a literal in the job''s command';
COMMENT ON COLUMN wee5_cron.upcoming.invocation_id IS 'wee5_cron.invocation.id of the call; NULL for a run that has not begun';
COMMENT ON COLUMN wee5_cron.upcoming.key IS 'key of the call';
