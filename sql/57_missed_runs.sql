-- Runs that never happened. pg_cron forgets what was due while the server was down, and writes nothing about it. A tick of
-- an active job that has neither a run of pg_cron's nor an invocation when its grace is over is a missed run.

-- Up to when the ticks of each job were judged, and by which schedule: without it nobody could say afterwards whether the
-- job was there and active when a tick was due. Not in a dump: the copy has missed nothing.
CREATE TABLE wee5_cron.job_watch (
  jobid bigint PRIMARY KEY,
  schedule text NOT NULL,
  active boolean NOT NULL,
  judged_until timestamptz NOT NULL,
  missed_runs bigint NOT NULL DEFAULT 0,
  last_missed timestamptz
);
COMMENT ON TABLE wee5_cron.job_watch IS 'Which ticks of the jobs that call us were judged already, and how many of them nobody ran';
COMMENT ON COLUMN wee5_cron.job_watch.judged_until IS 'every tick up to here was run or missed, or was due before this schedule was seen';
COMMENT ON COLUMN wee5_cron.job_watch.last_missed IS 'the newest tick that was missed';

-- When the runs of a job began, since a time. pg_cron's history has one index, on runid, so only its newest part is read.
-- A run whose connection failed has no time: it gets that of the next run that has one, or this moment.
CREATE FUNCTION wee5_cron.runs_since(jobid bigint, since timestamptz) RETURNS timestamptz[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  runs timestamptz[];
BEGIN
  EXECUTE $query$
    WITH run AS MATERIALIZED (
      SELECT d.jobid, coalesce(d.start_time, d.end_time, min(coalesce(d.start_time, d.end_time)) OVER (ORDER BY d.runid DESC),
                               clock_timestamp()) AS at
      FROM (SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 20000) d
    )
    SELECT array_agg(run.at ORDER BY run.at) FROM run WHERE run.jobid = $1 AND run.at >= $2
  $query$ INTO runs USING jobid, since;
  RETURN coalesce(runs, '{}');
END
$$;
COMMENT ON FUNCTION wee5_cron.runs_since(bigint, timestamptz) IS 'Internal: when pg_cron began the runs of a job since that time';

-- Whether a run of pg_cron's or a call was there for each tick of a job since the last look, as far as the tick's grace is
-- over: jobs start seconds late, and minutes late where pg_cron is busy. look_again: when the next one's is.
CREATE FUNCTION wee5_cron.judge_ticks(watched wee5_cron.job_watch, job_name text, OUT judged_until timestamptz,
                                      OUT missed bigint, OUT last_missed timestamptz, OUT run_since boolean,
                                      OUT look_again timestamptz)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH tick AS MATERIALIZED (
      SELECT t AS at, coalesce(lead(t) OVER (ORDER BY t), (wee5_cron.ticks(watched.schedule, t, 1))[1]) AS next_at
      FROM unnest(wee5_cron.ticks(watched.schedule, watched.judged_until, 100000, NULL, now())) t
    ), judged AS MATERIALIZED (
      SELECT tick.at, tick.next_at, tick.at + greatest(interval '1 minute', (tick.next_at - tick.at) / 10) AS over FROM tick
    ), begun AS MATERIALIZED (
      -- pg_cron's clock can show the full minute a moment before the transaction's does.
      SELECT r + interval '2 seconds' AS at FROM unnest(wee5_cron.runs_since(watched.jobid, watched.judged_until)) r
      UNION ALL
      SELECT c.scheduled_at
      FROM (SELECT i.scheduled_at FROM wee5_cron.invocation i WHERE i.job_name = $2 ORDER BY i.id DESC LIMIT 20000) c
      WHERE c.scheduled_at >= watched.judged_until
    ), due AS MATERIALIZED (
      SELECT j.at, EXISTS (SELECT FROM begun b WHERE b.at >= j.at AND (j.next_at IS NULL OR b.at < j.next_at)) AS was_run
      FROM judged j WHERE j.over <= now()
    )
    SELECT coalesce((SELECT max(due.at) FROM due), watched.judged_until),
           (SELECT count(*) FROM due WHERE NOT due.was_run), m.at,
           EXISTS (SELECT FROM begun b WHERE b.at > m.at),
           (SELECT min(j.over) FROM judged j WHERE j.over > now())
    FROM (SELECT max(due.at) AS at FROM due WHERE NOT due.was_run) m
  $$;
COMMENT ON FUNCTION wee5_cron.judge_ticks(wee5_cron.job_watch, text) IS
  'Internal, of watch_jobs(): how many ticks of a job were missed since the last look';

-- What is made up for: the newest of the ticks that were missed, once, as the call of the job's owner, unless more than an
-- hour has passed, a later tick was run already, or the job does more than a plain call.
CREATE FUNCTION wee5_cron.catch_up(job_name text, command text, owner text, tick timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_id bigint;
BEGIN
  IF job_name IS NULL OR tick < now() - interval '1 hour' OR NOT wee5_cron.is_plain_call(command)
     OR (SELECT j.catch_up FROM wee5_cron.job j WHERE j.job_name = $1) = 'none' THEN
    RETURN;
  END IF;
  call_id := wee5_cron.invoke_for_job($1, wee5_cron.path_of_command(command), owner::name);
  UPDATE wee5_cron.invocation i SET requested_by = owner, scheduled_at = tick WHERE i.id = call_id;
EXCEPTION WHEN OTHERS THEN
  -- As the run would have failed: no address, no secret. The next tick says so in pg_cron's history.
  RAISE LOG 'wee5_cron: the missed run of job "%" cannot be made up for: %', $1, SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.catch_up(text, text, text, timestamptz) IS
  'Internal, of watch_jobs(): makes the call of a run that was missed';

CREATE FUNCTION wee5_cron.may_call(role name) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (
      SELECT FROM pg_roles r
      JOIN pg_proc p ON p.proname IN ('invoke_cron_endpoint', 'invoke') AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
      WHERE r.rolname = role AND has_schema_privilege(r.oid, p.pronamespace, 'USAGE') AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
  $$;
COMMENT ON FUNCTION wee5_cron.may_call(name) IS 'Internal, of watch_jobs() and run_now(): whether a role may make calls';

-- Jobs of who may not call are not watched: pg_cron lets whoever may use it write what he likes into a command, and delete
-- the runs that it had. Making up for those would be a call, and an alert, of his.
-- Called by the worker: at its start, when a job''s time and grace are over, and when the jobs have changed.
CREATE FUNCTION wee5_cron.watch_jobs() RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job record;
  watched wee5_cron.job_watch;
  judged record;
  look_again timestamptz;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    DELETE FROM wee5_cron.job_watch;
    RETURN NULL;
  END IF;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, j.jobname::text AS job_name, j.schedule, j.active, j.username, j.command FROM cron.job j
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command) AND wee5_cron.may_call(j.username::name)
    ORDER BY j.jobid
  $query$ LOOP
    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid FOR UPDATE;
    IF NOT FOUND OR NOT watched.active OR NOT job.active OR watched.schedule <> job.schedule THEN
      -- Seen like this for the first time: what was due before is nobody's fault.
      INSERT INTO wee5_cron.job_watch AS w (jobid, schedule, active, judged_until)
      VALUES (job.jobid, job.schedule, job.active, now())
      ON CONFLICT (jobid) DO UPDATE
      SET schedule = excluded.schedule, active = excluded.active, judged_until = excluded.judged_until
      WHERE (w.schedule, w.active) IS DISTINCT FROM (excluded.schedule, excluded.active) OR excluded.active
      RETURNING * INTO watched;
      CONTINUE WHEN NOT job.active;
    END IF;
    SELECT * INTO judged FROM wee5_cron.judge_ticks(watched, job.job_name);
    look_again := least(look_again, judged.look_again);
    CONTINUE WHEN judged.judged_until = watched.judged_until;
    UPDATE wee5_cron.job_watch w
    SET judged_until = judged.judged_until, missed_runs = w.missed_runs + judged.missed,
        last_missed = coalesce(judged.last_missed, w.last_missed)
    WHERE w.jobid = job.jobid;
    PERFORM wee5_cron.note_lateness(coalesce(job.job_name, job.jobid::text), wee5_cron.path_of_command(job.command),
                                    CASE WHEN NOT judged.run_since THEN judged.last_missed END);
    IF judged.missed > 0 AND NOT judged.run_since THEN
      PERFORM wee5_cron.catch_up(job.job_name, job.command, job.username, judged.last_missed);
    END IF;
  END LOOP;
  EXECUTE 'DELETE FROM wee5_cron.job_watch w WHERE NOT EXISTS ('
          'SELECT FROM cron.job j WHERE j.jobid = w.jobid AND wee5_cron.may_call(j.username::name))';
  RETURN look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs() IS
  'Internal, of the worker: counts the runs that were missed, makes up for the newest, and says when to look again';
