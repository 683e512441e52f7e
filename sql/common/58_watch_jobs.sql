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
  'Internal, for watch_some_jobs(): counts the runs that pg_cron logged as failed';

-- The next jobs after a jobid with what is new in pg_cron's history about each, and what had not ended when it was read last.
-- After a long absence, only the newest part of it. began: of all these runs; NULL: there is none. Of those that have ended,
-- failed (with their messages) and the newest that succeeded. newest_run: newer runs belong to the next look; NULL: pg_cron
-- logs none.
CREATE FUNCTION wee5_cron.jobs_and_new_runs(after_jobid bigint, most int, OUT jobid bigint, OUT job_name text, OUT schedule text,
                                            OUT username text, OUT command text, OUT endpoint_path text, OUT label text,
                                            OUT name_shared boolean, OUT command_shared boolean, OUT newest_run bigint,
                                            OUT began timestamptz[], OUT unended bigint[], OUT failed bigint[],
                                            OUT messages text[], OUT succeeded bigint)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = on
  AS $$
#variable_conflict use_column
BEGIN
  IF wee5_cron.pg_cron_logs_runs() THEN
    newest_run := wee5_cron.newest_run();
  END IF;
  RETURN QUERY
    WITH job AS MATERIALIZED (
      SELECT * FROM wee5_cron.calling_jobs() j WHERE j.jobid > after_jobid ORDER BY j.jobid LIMIT most
    ), watched AS MATERIALIZED (
      SELECT w.jobid, w.seen_run, w.unended_runs FROM wee5_cron.job_watch w JOIN job ON job.jobid = w.jobid
      WHERE w.active AND newest_run IS NOT NULL
    ), run AS MATERIALIZED (
      SELECT n.jobid, n.runid, n.status, n.message, n.at
      FROM wee5_cron.newest_cron_runs(coalesce((SELECT min(w.seen_run) FROM watched w), newest_run),
                                      CASE WHEN newest_run IS NULL THEN 0 ELSE 20000 END) n
      JOIN watched w ON w.jobid = n.jobid AND n.runid > w.seen_run
      WHERE n.runid <= newest_run
      UNION ALL
      SELECT u.jobid, u.runid, u.status, u.message, NULL
      FROM wee5_cron.cron_runs_by_id(ARRAY(SELECT unnest(w.unended_runs) FROM watched w)) u
    ), judged AS MATERIALIZED (
      -- Runs count in their order: those after one that has not ended wait for it.
      SELECT r.*, r.runid < coalesce(min(r.runid) FILTER (WHERE r.status NOT IN ('succeeded', 'failed'))
                                     OVER (PARTITION BY r.jobid), r.runid + 1) AS ended
      FROM run r
    ), new AS MATERIALIZED (
      SELECT r.jobid, coalesce(array_agg(r.at ORDER BY r.runid) FILTER (WHERE r.at IS NOT NULL), '{}') AS began,
             coalesce((array_agg(r.runid ORDER BY r.runid DESC) FILTER (WHERE NOT r.ended))[1:100], '{}') AS unended,
             array_agg(r.runid ORDER BY r.runid) FILTER (WHERE r.ended AND r.status = 'failed') AS failed,
             array_agg(r.message ORDER BY r.runid) FILTER (WHERE r.ended AND r.status = 'failed') AS messages,
             max(r.runid) FILTER (WHERE r.ended AND r.status = 'succeeded') AS succeeded
      FROM judged r GROUP BY r.jobid
    )
    SELECT job.jobid, job.job_name, job.schedule, job.username, job.command, job.endpoint_path, job.label, job.name_shared,
           job.command_shared, newest_run, new.began, new.unended, new.failed, new.messages, new.succeeded
    FROM job LEFT JOIN new ON new.jobid = job.jobid ORDER BY job.jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.jobs_and_new_runs(bigint, int) IS
  'Internal, for watch_some_jobs(): some jobs, and what is new in pg_cron''s history about each';

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
-- due before does not count. The same holds after the clock was set back. False: there is no pg_cron here.
CREATE FUNCTION wee5_cron.update_watched_jobs() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = on
  AS $$
DECLARE
  cron_job_table constant oid := to_regclass('cron.job');
  newest_run bigint;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    DELETE FROM wee5_cron.job_watch WHERE true;
    PERFORM wee5_cron.forget_trouble('{}', '{}', true);
    RETURN false;
  END IF;
  newest_run := wee5_cron.newest_run();
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
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.update_watched_jobs() IS 'Internal, for watch_jobs(): adds, renews and removes rows of job_watch as the jobs are now';

-- Looks at the next jobs after a jobid, so that the worker can send calls between two parts of a look. The first part
-- (after_jobid is NULL) finds which jobs there are. A part ends after `most` jobs, or with the job that exceeds the time limit
-- (NULL: none). watched_to: where the next part begins; NULL: that was the last one. look_again: when the grace of a tick of
-- these jobs ends, or soon if failed runs could not be counted.
CREATE FUNCTION wee5_cron.watch_some_jobs(after_jobid bigint, most int, time_limit interval, OUT watched_to bigint,
                                          OUT look_again timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  began_at constant timestamptz := wee5_cron.pg_cron_began_at();
  ends_at timestamptz;
  is_cut boolean := false;
  jobs int := 0;
  job record;
  stored wee5_cron.job_watch;
  watched wee5_cron.job_watch;
  judged record;
BEGIN
  IF after_jobid IS NULL OR NOT wee5_cron.pg_cron_installed() THEN
    watched_to := CASE WHEN wee5_cron.update_watched_jobs() THEN 0 END;
    RETURN;
  END IF;
  FOR job IN SELECT * FROM wee5_cron.jobs_and_new_runs(after_jobid, most) LOOP
    -- From the first job on: what comes before costs the same for few jobs as for many.
    is_cut := coalesce(clock_timestamp() >= ends_at, false);
    EXIT WHEN is_cut;
    ends_at := coalesce(ends_at, clock_timestamp() + time_limit);
    jobs := jobs + 1;
    watched_to := job.jobid;
    SELECT * INTO stored FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid AND w.active FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    IF job.newest_run IS NULL AND NOT wee5_cron.is_plain_call(job.command) THEN
      -- Such a job may run and make no call: nobody could tell that from a missed run.
      UPDATE wee5_cron.job_watch w SET judged_until = now(), last_missed = NULL WHERE w.jobid = job.jobid;
      PERFORM wee5_cron.forget_lateness(job.label);
      CONTINUE;
    END IF;
    watched := stored;
    IF job.began IS NULL THEN
      -- Only now and then: to write the rows of all jobs would be the most expensive part of a look.
      IF stored.seen_run IS NULL OR stored.seen_run < job.newest_run - 1000 THEN
        watched.seen_run := job.newest_run;
      END IF;
    ELSIF wee5_cron.note_failed_runs(stored, job.label, job.command, job.job_name IS NULL OR job.command_shared, job.failed,
                                     job.messages, job.succeeded) THEN
      watched.seen_run := job.newest_run;
      watched.runs := stored.runs || job.began;
      watched.unended_runs := job.unended;
    ELSE
      -- Of a job that runs once a day, the next tick would be too late for an alert.
      look_again := least(look_again, clock_timestamp() + interval '10 seconds');
    END IF;
    judged := wee5_cron.judge_ticks(watched, CASE WHEN job.name_shared THEN job.username::name END,
                CASE WHEN job.newest_run IS NULL AND (job.job_name IS NULL OR job.command_shared) THEN job.endpoint_path END,
                began_at);
    look_again := least(look_again, judged.look_again);
    CONTINUE WHEN watched *= stored AND judged.judged_until = stored.judged_until;
    UPDATE wee5_cron.job_watch w
    SET seen_run = watched.seen_run, unended_runs = watched.unended_runs,
        judged_until = judged.judged_until, missed_runs = w.missed_runs + judged.missed,
        last_missed = coalesce(judged.last_missed, w.last_missed),
        runs = ARRAY(SELECT r FROM unnest(watched.runs) r WHERE r >= judged.judged_until)
    WHERE w.jobid = job.jobid;
    CONTINUE WHEN judged.judged_until = stored.judged_until;
    PERFORM wee5_cron.note_lateness(job.label, job.endpoint_path, CASE WHEN NOT judged.run_since THEN judged.last_missed END);
    IF judged.missed > 0 AND NOT judged.run_since THEN
      PERFORM wee5_cron.catch_up(job.job_name, job.command, job.username, job.schedule, judged.last_missed);
    END IF;
  END LOOP;
  IF jobs < most AND NOT is_cut THEN
    watched_to := NULL;
    PERFORM wee5_cron.forget_trouble(coalesce(array_agg(j.label), '{}'), coalesce(array_agg(coalesce(j.endpoint_path, '')), '{}'),
                                     false)
    FROM wee5_cron.calling_jobs() j;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_some_jobs(bigint, int, interval) IS
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
    part := wee5_cron.watch_some_jobs(watched_to, 1000, NULL);
    look_again := least(look_again, part.look_again);
    watched_to := part.watched_to;
    EXIT WHEN watched_to IS NULL;
  END LOOP;
  RETURN look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs() IS 'Internal: looks at all jobs at once, as the worker does in parts';
