-- The worker's look at the jobs: failed runs, missed runs, and troubles that have no job any more.

-- Counts the runs of a job that pg_cron logged as failed since the last look: the call raised an error, the connection
-- failed, a privilege was missing. A run whose call is in the ledger as failed counts by that call. Returns the runid
-- up to which it has looked.
CREATE FUNCTION wee5_cron.note_failed_runs(watched wee5_cron.job_watch, label text, command text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := wee5_cron.path_of_command(command);
  unseen record;
BEGIN
  WITH newest AS MATERIALIZED (
    SELECT r.runid, r.jobid, r.status, r.message FROM wee5_cron.newest_cron_runs(watched.seen_run) r
  ), run AS MATERIALIZED (
    SELECT n.* FROM newest n WHERE n.jobid = watched.jobid
  ), ended AS MATERIALIZED (
    SELECT r.* FROM run r
    WHERE r.runid < ALL (SELECT o.runid FROM run o WHERE o.status NOT IN ('succeeded', 'failed'))
  ), booked AS MATERIALIZED (
    SELECT c.cron_run_id
    FROM (SELECT i.cron_run_id, i.status FROM wee5_cron.invocation i
          WHERE i.job_name = watched.job_name ORDER BY i.id DESC LIMIT 1000) c
    WHERE c.status = 'failed'
    UNION ALL
    -- A call has no job name if the job has none, or shares its command with another job.
    SELECT c.cron_run_id
    FROM (SELECT i.cron_run_id, i.job_name, i.status FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000) c
    WHERE c.status = 'failed' AND c.job_name IS NULL AND EXISTS (SELECT FROM ended e WHERE e.status = 'failed')
  ), failed AS MATERIALIZED (
    SELECT e.* FROM ended e
    WHERE e.status = 'failed' AND NOT EXISTS (SELECT FROM booked b WHERE b.cron_run_id = e.runid)
  )
  SELECT greatest(watched.seen_run, coalesce((SELECT min(o.runid) - 1 FROM run o WHERE o.status NOT IN ('succeeded', 'failed')),
                                             (SELECT max(n.runid) FROM newest n))) AS seen,
         -- If the path is not known, a run that succeeded ends the trouble. Otherwise the next call does.
         (SELECT count(*) FROM failed f
          WHERE path IS NOT NULL OR f.runid > ALL (SELECT e.runid FROM ended e WHERE e.status = 'succeeded')) AS failures,
         (SELECT f.message FROM failed f ORDER BY f.runid DESC LIMIT 1) AS message,
         EXISTS (SELECT FROM ended e WHERE e.status = 'succeeded') AS succeeded
  INTO unseen;
  BEGIN
    IF path IS NULL AND unseen.succeeded THEN
      PERFORM wee5_cron.note_recovery(label);
    END IF;
    -- What failed before the worker knew the job is no news.
    IF watched.seen_run IS NOT NULL AND unseen.failures > 0 THEN
      PERFORM wee5_cron.note_failures(label, path, unseen.failures::int,
                                      wee5_cron.redact_for(watched.username::name, unseen.message));
    END IF;
  EXCEPTION WHEN lock_not_available THEN
    -- A harvest() that has not committed counts the same path. The next look counts these runs.
    RETURN watched.seen_run;
  END;
  RETURN coalesce(unseen.seen, 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failed_runs(wee5_cron.job_watch, text, text) IS
  'Internal, for watch_jobs(): counts the runs that pg_cron logged as failed';

-- Forgets troubles whose end nobody can see any more, because the job is gone or calls another path now. Troubles of
-- paths that were called by hand, or by jobs in another database, are forgotten after a while.
CREATE FUNCTION wee5_cron.forget_trouble(labels text[], paths text[], jobs_are_elsewhere boolean) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    DELETE FROM wee5_cron.trouble t
    USING (SELECT o.kind, o.name FROM wee5_cron.trouble o
           WHERE o.name <> ALL (labels)
             AND (o.kind = 'late'
                  OR o.kind = 'failing'
                     AND o.name <> ALL (coalesce((SELECT array_agg(wee5_cron.trouble_name(p)) FROM unnest(paths) p), '{}'))
                     AND (o.by_job AND NOT jobs_are_elsewhere
                          OR o.last_failed_at < now() - CASE WHEN o.by_job THEN interval '40 days' ELSE interval '1 day' END))
           -- Does not wait for a harvest() that counts the same path.
           FOR UPDATE SKIP LOCKED) over
    WHERE t.kind = over.kind AND t.name = over.name
  $$;
COMMENT ON FUNCTION wee5_cron.forget_trouble(text[], text[], boolean) IS
  'Internal, for watch_jobs(): forgets the troubles of jobs that are gone';

-- A job is not late any more, by whatever schedule it was.
CREATE FUNCTION wee5_cron.forget_lateness(label text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = label $$;
COMMENT ON FUNCTION wee5_cron.forget_lateness(text) IS 'Internal, for watch_jobs(): a job is not late any more, without an alert';

-- The row of a job in job_watch. A job that is new, that has changed, or that was paused is judged from now on: nobody
-- is to blame for what was due before. The same if somebody put the clock back.
CREATE FUNCTION wee5_cron.watched_job(jobid bigint, job_name text, username text, schedule text, active boolean, label text)
  RETURNS wee5_cron.job_watch
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  cron_job constant oid := to_regclass('cron.job');
  watched wee5_cron.job_watch;
BEGIN
  SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = $1 FOR UPDATE;
  IF watched.cron_job IS NOT NULL
     AND (watched.cron_job, watched.job_name, watched.username) IS DISTINCT FROM (cron_job, $2, $3) THEN
    DELETE FROM wee5_cron.job_watch w WHERE w.jobid = $1;
    watched := NULL;
  END IF;
  IF watched.active AND $5 AND watched.schedule = $4 AND watched.judged_until <= now() AND watched.cron_job IS NOT NULL THEN
    RETURN watched;
  END IF;
  INSERT INTO wee5_cron.job_watch AS w (jobid, schedule, active, judged_until, job_name, username, cron_job)
  VALUES ($1, $4, $5, now(), $2, $3, cron_job)
  ON CONFLICT (jobid) DO UPDATE
  SET schedule = excluded.schedule, active = excluded.active, judged_until = excluded.judged_until,
      job_name = excluded.job_name, username = excluded.username, cron_job = excluded.cron_job
  WHERE (w.schedule, w.active, w.cron_job) IS DISTINCT FROM (excluded.schedule, excluded.active, excluded.cron_job)
     OR excluded.active
  RETURNING * INTO watched;
  PERFORM wee5_cron.forget_lateness(label);
  RETURN watched;
END
$$;
COMMENT ON FUNCTION wee5_cron.watched_job(bigint, text, text, text, boolean, text) IS
  'Internal, for watch_jobs(): the row of a job in job_watch, made or renewed if the job is not the one that it was';

-- The worker calls this when it starts, when the grace of a job's tick ends, and when the jobs have changed.
CREATE FUNCTION wee5_cron.watch_jobs() RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  logs_runs constant boolean := wee5_cron.pg_cron_logs_runs();
  job record;
  watched wee5_cron.job_watch;
  judged record;
  look_again timestamptz;
  seen bigint;
  jobids bigint[] := '{}';
  labels text[] := '{}';
  paths text[] := '{}';
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    DELETE FROM wee5_cron.job_watch;
    PERFORM wee5_cron.forget_trouble('{}', '{}', true);
    RETURN NULL;
  END IF;
  FOR job IN
    SELECT j.*, r.began FROM wee5_cron.calling_jobs() j
    LEFT JOIN (SELECT n.jobid, array_agg(n.at ORDER BY n.at) AS began FROM wee5_cron.newest_cron_runs() n GROUP BY n.jobid) r
           ON r.jobid = j.jobid
    ORDER BY j.jobid
  LOOP
    jobids := jobids || job.jobid;
    labels := labels || job.label;
    paths := paths || coalesce(job.endpoint_path, '');
    watched := wee5_cron.watched_job(job.jobid, job.job_name, job.username, job.schedule, job.active, job.label);
    CONTINUE WHEN NOT job.active;
    IF NOT logs_runs AND NOT wee5_cron.is_plain_call(job.command) THEN
      -- Such a job may run and make no call: nobody could tell that from a missed run.
      UPDATE wee5_cron.job_watch w SET judged_until = now(), last_missed = NULL WHERE w.jobid = job.jobid;
      PERFORM wee5_cron.forget_lateness(job.label);
      CONTINUE;
    END IF;
    SELECT * INTO judged
    FROM wee5_cron.judge_ticks(watched, job.began, CASE WHEN job.name_shared THEN job.username::name END,
           CASE WHEN NOT logs_runs AND (job.job_name IS NULL OR job.command_shared) THEN job.endpoint_path END);
    look_again := least(look_again, judged.look_again);
    IF logs_runs THEN
      seen := wee5_cron.note_failed_runs(watched, job.label, job.command);
      UPDATE wee5_cron.job_watch w SET seen_run = seen WHERE w.jobid = job.jobid AND w.seen_run IS DISTINCT FROM seen;
    END IF;
    CONTINUE WHEN judged.judged_until = watched.judged_until;
    UPDATE wee5_cron.job_watch w
    SET judged_until = judged.judged_until, missed_runs = w.missed_runs + judged.missed,
        last_missed = coalesce(judged.last_missed, w.last_missed)
    WHERE w.jobid = job.jobid;
    PERFORM wee5_cron.note_lateness(job.label, job.endpoint_path, CASE WHEN NOT judged.run_since THEN judged.last_missed END);
    IF judged.missed > 0 AND NOT judged.run_since THEN
      PERFORM wee5_cron.catch_up(job.job_name, job.command, job.username, job.schedule, judged.last_missed);
    END IF;
  END LOOP;
  DELETE FROM wee5_cron.job_watch w WHERE w.jobid <> ALL (jobids);
  PERFORM wee5_cron.forget_trouble(labels, paths, false);
  RETURN look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs() IS
  'Internal, for the worker: counts missed runs, makes up for the newest one, and says when to look again';
