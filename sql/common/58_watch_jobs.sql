-- The worker's look at the jobs: failed runs, missed runs, and troubles that have no job any more.

-- Counts the runs of a job that pg_cron logged as failed: the call raised an error, the connection failed, a privilege was
-- missing. A run whose call is in the ledger as failed counts by that call. succeeded: the newest run that succeeded.
-- Returns false if a harvest() that has not committed counts the same path: the next look counts these runs.
CREATE FUNCTION wee5_cron.note_failed_runs(watched wee5_cron.job_watch, label text, command text, may_lack_name boolean,
                                           failed bigint[], messages text[], succeeded bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := wee5_cron.path_of_command(command);
  uncounted record;
BEGIN
  IF path IS NULL AND succeeded IS NOT NULL THEN
    PERFORM wee5_cron.note_recovery(label);
  END IF;
  IF failed IS NULL THEN
    RETURN true;
  END IF;
  WITH counted AS MATERIALIZED (
    SELECT c.cron_run_id
    FROM (SELECT i.cron_run_id, i.status FROM wee5_cron.invocation i
          WHERE i.job_name >= watched.job_name AND i.job_name <= watched.job_name
          ORDER BY i.job_name DESC, i.id DESC LIMIT 200) c
    WHERE c.status = 'failed'
    UNION ALL
    -- A call has no job name if the job has none, or shares its command with another job.
    SELECT c.cron_run_id
    FROM (SELECT i.cron_run_id, i.job_name, i.status FROM wee5_cron.invocation i
          WHERE may_lack_name ORDER BY i.id DESC LIMIT 1000) c
    WHERE c.status = 'failed' AND c.job_name IS NULL
  )
  SELECT (array_agg(f.message ORDER BY f.runid DESC))[1] AS message,
         -- If the path is not known, a run that succeeded ends the trouble. Otherwise the next call does.
         count(*) FILTER (WHERE path IS NOT NULL OR f.runid > coalesce(succeeded, 0)) AS failures
  INTO uncounted
  FROM unnest(failed, messages) AS f (runid, message)
  WHERE NOT EXISTS (SELECT FROM counted c WHERE c.cron_run_id = f.runid);
  IF uncounted.failures > 0 THEN
    PERFORM wee5_cron.note_failures(label, path, uncounted.failures::int,
                                    wee5_cron.redact_for(watched.username::name, uncounted.message));
  END IF;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failed_runs(wee5_cron.job_watch, text, text, boolean, bigint[], text[], bigint) IS
  'Internal, for read_new_runs(): counts the runs that pg_cron logged as failed';

-- Reads the new runs of all watched jobs at once, and again those that had not ended. After a long absence, only the newest
-- part of them. False: some could not be counted now, because another session counts the same path.
CREATE FUNCTION wee5_cron.read_new_runs() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = on
  AS $$
DECLARE
  newest_run constant bigint := wee5_cron.newest_run();
  found record;
  watched wee5_cron.job_watch;
  all_counted boolean := true;
BEGIN
  FOR found IN EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT n.* FROM wee5_cron.newest_cron_runs((SELECT min(w.seen_run) FROM wee5_cron.job_watch w WHERE w.active)) n
      WHERE n.runid <= $1
    ), run AS MATERIALIZED (
      SELECT n.jobid, n.runid, n.status, n.message, n.at
      FROM newest n JOIN wee5_cron.job_watch w ON w.jobid = n.jobid AND n.runid > w.seen_run WHERE w.active
      UNION ALL
      SELECT u.jobid, u.runid, u.status, u.message, NULL
      FROM wee5_cron.cron_runs_by_id(ARRAY(SELECT unnest(w.unended_runs) FROM wee5_cron.job_watch w WHERE w.active)) u
    ), judged AS MATERIALIZED (
      -- Runs count in their order: those after one that has not ended wait for it.
      SELECT r.*, r.runid < coalesce(min(r.runid) FILTER (WHERE r.status NOT IN ('succeeded', 'failed'))
                                     OVER (PARTITION BY r.jobid), r.runid + 1) AS ended
      FROM run r
    )
    SELECT r.jobid, array_agg(r.at ORDER BY r.runid) FILTER (WHERE r.at IS NOT NULL) AS began,
           (array_agg(r.runid ORDER BY r.runid DESC) FILTER (WHERE NOT r.ended))[1:100] AS unended,
           array_agg(r.runid ORDER BY r.runid) FILTER (WHERE r.ended AND r.status = 'failed') AS failed,
           array_agg(r.message ORDER BY r.runid) FILTER (WHERE r.ended AND r.status = 'failed') AS messages,
           max(r.runid) FILTER (WHERE r.ended AND r.status = 'succeeded') AS succeeded,
           j.label, j.command, j.job_name IS NULL OR j.command_shared AS may_lack_name
    FROM judged r JOIN wee5_cron.calling_jobs() j ON j.jobid = r.jobid
    GROUP BY r.jobid, j.label, j.command, j.job_name, j.command_shared
  $query$ USING newest_run LOOP
    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = found.jobid;
    IF wee5_cron.note_failed_runs(watched, found.label, found.command, found.may_lack_name, found.failed, found.messages,
                                  found.succeeded) THEN
      UPDATE wee5_cron.job_watch w
      SET seen_run = newest_run, runs = w.runs || coalesce(found.began, '{}'), unended_runs = coalesce(found.unended, '{}')
      WHERE w.jobid = found.jobid;
    ELSE
      all_counted := false;
    END IF;
  END LOOP;
  -- For jobs without new runs only now and then: to write all rows would be the most expensive part of a look.
  UPDATE wee5_cron.job_watch w SET seen_run = newest_run
  WHERE w.active AND (w.seen_run IS NULL OR w.seen_run < newest_run - 1000);
  RETURN all_counted;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_new_runs() IS
  'Internal, for watch_jobs(): reads what is new in pg_cron''s history';

-- Forgets troubles whose end nobody can see any more, because the job is gone or now calls another path. If a path was called
-- by hand, or by a job in another database, this forgets its trouble after a while.
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

-- Ends the lateness of a job for which nothing can show a missed run any more.
CREATE FUNCTION wee5_cron.forget_lateness(label text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = label $$;
COMMENT ON FUNCTION wee5_cron.forget_lateness(text) IS 'Internal, for watch_jobs(): a job is not late any more, without an alert';

-- Which jobs are watched, and since when. A job that is new, that has changed, or that was paused is judged from now on: what was
-- due before does not count. The same holds after the clock was set back.
CREATE FUNCTION wee5_cron.update_watched_jobs() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = on
  AS $$
DECLARE
  cron_job_table constant oid := to_regclass('cron.job');
  newest_run constant bigint := wee5_cron.newest_run();
BEGIN
  DELETE FROM wee5_cron.job_watch w
  WHERE NOT EXISTS (SELECT FROM wee5_cron.calling_jobs() j
                    WHERE j.jobid = w.jobid
                      AND (w.cron_job IS NULL
                           OR (w.cron_job, w.job_name, w.username) IS NOT DISTINCT FROM (cron_job_table, j.job_name, j.username)));
  WITH job AS MATERIALIZED (
    SELECT * FROM wee5_cron.calling_jobs()
  ), seen AS (
    INSERT INTO wee5_cron.job_watch AS w (jobid, schedule, active, judged_until, job_name, username, cron_job, seen_run)
    SELECT j.jobid, j.schedule, j.active, now(), j.job_name, j.username, cron_job_table, newest_run FROM job j
    ON CONFLICT (jobid) DO UPDATE
    SET schedule = excluded.schedule, active = excluded.active, judged_until = excluded.judged_until, runs = '{}',
        last_missed = NULL,
        job_name = excluded.job_name, username = excluded.username, cron_job = excluded.cron_job,
        seen_run = coalesce(w.seen_run, excluded.seen_run)
    WHERE (w.schedule, w.active, w.cron_job) IS DISTINCT FROM (excluded.schedule, excluded.active, excluded.cron_job)
       OR w.judged_until > now()
    RETURNING w.jobid
  )
  DELETE FROM wee5_cron.trouble t USING job, seen WHERE seen.jobid = job.jobid AND t.kind = 'late' AND t.name = job.label;
END
$$;
COMMENT ON FUNCTION wee5_cron.update_watched_jobs() IS 'Internal, for watch_jobs(): adds, renews and removes rows of job_watch as the jobs are now';

-- Looks at the next jobs after a jobid, so that the worker can send calls between two parts of a look. The first part
-- (after_jobid is NULL) reads what has changed. watched_to: where the next part begins; NULL: that was the last one.
-- look_again: when the grace of a tick of these jobs ends, or soon if failed runs could not be counted.
CREATE FUNCTION wee5_cron.watch_some_jobs(after_jobid bigint, most int, OUT watched_to bigint, OUT look_again timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  logs_runs constant boolean := wee5_cron.pg_cron_logs_runs();
  began_at constant timestamptz := wee5_cron.pg_cron_began_at();
  jobs int := 0;
  job record;
  watched wee5_cron.job_watch;
  judged record;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    DELETE FROM wee5_cron.job_watch WHERE true;
    PERFORM wee5_cron.forget_trouble('{}', '{}', true);
    RETURN;
  END IF;
  IF after_jobid IS NULL THEN
    PERFORM wee5_cron.update_watched_jobs();
    -- Of a job that runs once a day, the next tick would be too late for an alert.
    IF logs_runs AND NOT wee5_cron.read_new_runs() THEN
      look_again := clock_timestamp() + interval '10 seconds';
    END IF;
  END IF;
  FOR job IN SELECT * FROM wee5_cron.calling_jobs() j WHERE j.jobid > coalesce(after_jobid, 0) ORDER BY j.jobid LIMIT most LOOP
    jobs := jobs + 1;
    watched_to := job.jobid;
    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid AND w.active FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    IF NOT logs_runs AND NOT wee5_cron.is_plain_call(job.command) THEN
      -- Such a job may run and make no call: nobody could tell that from a missed run.
      UPDATE wee5_cron.job_watch w SET judged_until = now(), last_missed = NULL WHERE w.jobid = job.jobid;
      PERFORM wee5_cron.forget_lateness(job.label);
      CONTINUE;
    END IF;
    SELECT * INTO judged
    FROM wee5_cron.judge_ticks(watched, CASE WHEN job.name_shared THEN job.username::name END,
           CASE WHEN NOT logs_runs AND (job.job_name IS NULL OR job.command_shared) THEN job.endpoint_path END,
           began_at);
    look_again := least(look_again, judged.look_again);
    CONTINUE WHEN judged.judged_until = watched.judged_until;
    UPDATE wee5_cron.job_watch w
    SET judged_until = judged.judged_until, missed_runs = w.missed_runs + judged.missed,
        last_missed = coalesce(judged.last_missed, w.last_missed),
        runs = ARRAY(SELECT r FROM unnest(w.runs) r WHERE r >= judged.judged_until)
    WHERE w.jobid = job.jobid;
    PERFORM wee5_cron.note_lateness(job.label, job.endpoint_path, CASE WHEN NOT judged.run_since THEN judged.last_missed END);
    IF judged.missed > 0 AND NOT judged.run_since THEN
      PERFORM wee5_cron.catch_up(job.job_name, job.command, job.username, job.schedule, judged.last_missed);
    END IF;
  END LOOP;
  IF jobs < most THEN
    watched_to := NULL;
    PERFORM wee5_cron.forget_trouble(coalesce(array_agg(j.label), '{}'), coalesce(array_agg(coalesce(j.endpoint_path, '')), '{}'),
                                     false)
    FROM wee5_cron.calling_jobs() j;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_some_jobs(bigint, int) IS
  'Internal, for the worker: counts missed runs of some jobs, catches up on the newest one, and says when to look again';

-- The worker looks when it starts, when the grace of a job's tick ends, and when the jobs have changed.
CREATE FUNCTION wee5_cron.watch_jobs() RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  part record;
  watched_to bigint;
  look_again timestamptz;
BEGIN
  LOOP
    part := wee5_cron.watch_some_jobs(watched_to, 1000);
    look_again := least(look_again, part.look_again);
    watched_to := part.watched_to;
    EXIT WHEN watched_to IS NULL;
  END LOOP;
  RETURN look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs() IS 'Internal: looks at all jobs at once, as the worker does in parts';
