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
  last_missed timestamptz,
  seen_run bigint,
  job_name text,
  username text,
  cron_job oid
);
COMMENT ON TABLE wee5_cron.job_watch IS 'Which ticks of the jobs that call us were judged already, and how many of them nobody ran';
COMMENT ON COLUMN wee5_cron.job_watch.judged_until IS 'every tick up to here was run or missed, or was due before this schedule was seen';
COMMENT ON COLUMN wee5_cron.job_watch.last_missed IS 'the newest tick that was missed';
COMMENT ON COLUMN wee5_cron.job_watch.seen_run IS 'cron.job_run_details.runid up to which failed runs of the job were counted for alerts';
COMMENT ON COLUMN wee5_cron.job_watch.job_name IS 'cron.job.jobname when it was seen: a job of another name or user is another job';
COMMENT ON COLUMN wee5_cron.job_watch.username IS 'cron.job.username when it was seen';
COMMENT ON COLUMN wee5_cron.job_watch.cron_job IS 'the oid of cron.job: pg_cron hands its jobids out again after it was dropped';

-- Without cron.log_run pg_cron keeps no history: then a run is known by its call alone.
CREATE FUNCTION wee5_cron.pg_cron_logs_runs() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(wee5_cron.server_setting('cron.log_run'), 'on') <> 'off' $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_logs_runs() IS 'Internal: whether pg_cron writes its runs into cron.job_run_details';

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

-- Since when pg_cron keeps the time: its launcher's start, or that of all processes where the launcher is not to be seen
-- (yet). What was due before, and has no run, it has forgotten.
CREATE FUNCTION wee5_cron.pg_cron_began_at() RETURNS timestamptz
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT greatest(pg_postmaster_start_time(), max(a.backend_start))
    FROM pg_stat_activity a WHERE a.backend_type IN ('pg_cron launcher', 'checkpointer')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_began_at() IS 'Internal: since when pg_cron keeps the time without a gap';

-- Whether a run of pg_cron's or a call was there for each tick of a job since the last look, as far as the tick's grace is
-- over: jobs start seconds late, and minutes late where pg_cron is busy. What pg_cron forgot has none. look_again: when the
-- next one's is. owner: whose calls of that name count, where two users have such a job. by_path: the calls of this path
-- that carry no job name count, where nothing else tells that the job ran.
CREATE FUNCTION wee5_cron.judge_ticks(watched wee5_cron.job_watch, owner name, by_path text, OUT judged_until timestamptz,
                                      OUT missed bigint, OUT last_missed timestamptz, OUT run_since boolean,
                                      OUT look_again timestamptz)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH tick AS MATERIALIZED (
      SELECT t AS at, coalesce(lead(t) OVER (ORDER BY t), (wee5_cron.ticks(watched.schedule, t, 1))[1]) AS next_at
      FROM unnest(wee5_cron.ticks(watched.schedule, watched.judged_until, 100000, NULL, now())) t
    ), began AS MATERIALIZED (
      SELECT wee5_cron.pg_cron_began_at() AS at
    ), begun AS MATERIALIZED (
      -- pg_cron's clock can show the full minute a moment before the transaction's does.
      SELECT r + interval '2 seconds' AS at FROM unnest(wee5_cron.runs_since(watched.jobid, watched.judged_until)) r
      UNION ALL
      -- run_now() is no run of pg_cron's: its time is its own, to the microsecond.
      SELECT c.scheduled_at
      FROM (SELECT i.scheduled_at, i.requested_at FROM wee5_cron.invocation i
            WHERE i.job_name = watched.job_name AND (owner IS NULL OR i.requested_by = owner)
            ORDER BY i.id DESC LIMIT 20000) c
      WHERE c.scheduled_at >= watched.judged_until AND c.scheduled_at <> c.requested_at
      UNION ALL
      SELECT c.requested_at + interval '2 seconds'
      FROM (SELECT i.requested_at, i.job_name, i.endpoint_path, i.requested_by FROM wee5_cron.invocation i
            ORDER BY i.id DESC LIMIT 20000) c
      WHERE by_path IS NOT NULL AND c.endpoint_path = by_path AND c.job_name IS NULL AND c.requested_by = watched.username
        AND c.requested_at >= watched.judged_until
    ), judged AS MATERIALIZED (
      -- In the order of time a tick that was run is followed by its run. Weeks have many of both: no joining.
      SELECT e.at, e.was_run,
             e.at + CASE WHEN e.at <= (SELECT b.at FROM began b) THEN interval '0'
                         ELSE greatest(interval '1 minute', (e.next_at - e.at) / 10) END AS over
      FROM (SELECT o.at, o.next_at, o.is_run, coalesce(lead(o.is_run) OVER (ORDER BY o.at, o.is_run), false) AS was_run
            FROM (SELECT tick.at, tick.next_at, false AS is_run FROM tick
                  UNION ALL
                  SELECT begun.at, NULL, true FROM begun) o) e
      WHERE NOT e.is_run
    ), due AS MATERIALIZED (
      SELECT j.at, j.was_run FROM judged j WHERE j.over <= now()
    )
    SELECT coalesce((SELECT max(due.at) FROM due), watched.judged_until),
           (SELECT count(*) FROM due WHERE NOT due.was_run), m.at,
           EXISTS (SELECT FROM begun b WHERE b.at > m.at),
           (SELECT min(j.over) FROM judged j WHERE j.over > now())
    FROM (SELECT max(due.at) AS at FROM due WHERE NOT due.was_run) m
  $$;
COMMENT ON FUNCTION wee5_cron.judge_ticks(wee5_cron.job_watch, name, text) IS
  'Internal, of watch_jobs(): how many ticks of a job were missed since the last look';

-- A run that pg_cron could not have made, since its user may not, is not made up for either: pg_cron lets whoever may use
-- it write what he likes into a command, and delete the runs that it had.
CREATE FUNCTION wee5_cron.may_run(owner name, command text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT')
       AND bool_and(has_schema_privilege(r.oid, p.pronamespace, 'USAGE') AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    FROM pg_roles r CROSS JOIN pg_proc p
    WHERE r.rolname = owner
      -- A subquery, which is asked once, and not for each function that there is.
      AND p.proname = ANY (ARRAY(
        SELECT unnest(CASE WHEN 'run' = ANY (c.functions) THEN c.functions || array['invoke', 'wait_for', 'commit_is_possible']
                           ELSE c.functions END)::name
        FROM (SELECT wee5_cron.functions_of_command(command) AS functions) c))
      AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
    GROUP BY r.oid, r.rolcanlogin
  $$;
COMMENT ON FUNCTION wee5_cron.may_run(name, text) IS
  'Internal: whether a job''s user may make the calls that the job''s command makes; NULL: there is no such role';

CREATE FUNCTION wee5_cron.hint_for_owner(owner text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN NOT r.rolcanlogin THEN format('ALTER ROLE %I LOGIN;', owner)
      WHEN NOT has_database_privilege(r.oid, current_database(), 'CONNECT')
        THEN format('GRANT CONNECT ON DATABASE %I TO %I;', current_database(), owner)
      ELSE format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(owner)) END
    FROM pg_roles r WHERE r.rolname = owner
  $$;
COMMENT ON FUNCTION wee5_cron.hint_for_owner(text) IS 'Internal: what lets a job''s user make its call';

-- What is made up for: the newest of the ticks that were missed, once, as the call of the job's owner, unless more than an
-- hour has passed, a later tick was run already, or the job does more than a plain call.
CREATE FUNCTION wee5_cron.catch_up(job_name text, command text, owner text, schedule text, tick timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_id bigint;
BEGIN
  IF job_name IS NULL OR tick < now() - interval '1 hour' OR NOT wee5_cron.is_plain_call(command)
     OR (SELECT j.catch_up FROM wee5_cron.job j WHERE j.job_name = $1) = 'none' THEN
    RETURN;
  END IF;
  IF wee5_cron.may_run(owner, command) IS NOT TRUE THEN
    RAISE EXCEPTION 'role "%" may not make its call', owner USING ERRCODE = 'insufficient_privilege';
  END IF;
  call_id := wee5_cron.invoke_for_job($1, wee5_cron.path_of_command(command), owner::name, schedule, tick);
  UPDATE wee5_cron.invocation i SET requested_by = owner WHERE i.id = call_id;
EXCEPTION WHEN OTHERS THEN
  -- As the run would have failed: no address, no secret. The next tick says so in pg_cron's history.
  RAISE LOG 'wee5_cron: the missed run of job "%" cannot be made up for: %', $1, SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.catch_up(text, text, text, text, timestamptz) IS
  'Internal, of watch_jobs(): makes the call of a run that was missed';

-- The runs of a job that pg_cron booked as failed, since the last look: the call raised, nobody could connect, no right.
-- Such a run has no call in the ledger that could be counted, or one that was. Returns up to where it has looked.
CREATE FUNCTION wee5_cron.note_failed_runs(watched wee5_cron.job_watch, label text, command text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := wee5_cron.path_of_command(command);
  unseen record;
BEGIN
  EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.runid, d.jobid, d.status, d.return_message
      FROM cron.job_run_details d WHERE d.runid > coalesce($2, 0) ORDER BY d.runid DESC LIMIT 20000
    ), run AS MATERIALIZED (
      SELECT n.runid, n.status, btrim(n.return_message, E' \r\n') AS message FROM newest n WHERE n.jobid = $1
    ), ended AS MATERIALIZED (
      SELECT r.* FROM run r
      WHERE r.runid < ALL (SELECT o.runid FROM run o WHERE o.status NOT IN ('succeeded', 'failed'))
    ), booked AS MATERIALIZED (
      SELECT c.cron_run_id
      FROM (SELECT i.cron_run_id, i.status FROM wee5_cron.invocation i WHERE i.job_name = $3 ORDER BY i.id DESC LIMIT 1000) c
      WHERE c.status = 'failed'
      UNION ALL
      -- A call may carry no name: the job has none, or shares its command.
      SELECT c.cron_run_id
      FROM (SELECT i.cron_run_id, i.job_name, i.status FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000) c
      WHERE c.status = 'failed' AND c.job_name IS NULL AND EXISTS (SELECT FROM ended e WHERE e.status = 'failed')
    ), failed AS MATERIALIZED (
      SELECT e.* FROM ended e
      WHERE e.status = 'failed' AND NOT EXISTS (SELECT FROM booked b WHERE b.cron_run_id = e.runid)
    )
    SELECT greatest($2, coalesce((SELECT min(o.runid) - 1 FROM run o WHERE o.status NOT IN ('succeeded', 'failed')),
                                 (SELECT max(n.runid) FROM newest n))) AS seen,
           -- Where the path is not known, a run that succeeded ends the trouble; else the next call does.
           (SELECT count(*) FROM failed f
            WHERE $4 OR f.runid > ALL (SELECT e.runid FROM ended e WHERE e.status = 'succeeded')) AS failures,
           (SELECT f.message FROM failed f ORDER BY f.runid DESC LIMIT 1) AS message,
           EXISTS (SELECT FROM ended e WHERE e.status = 'succeeded') AS succeeded
  $query$ INTO unseen USING watched.jobid, watched.seen_run, watched.job_name, path IS NOT NULL;
  BEGIN
    IF path IS NULL AND unseen.succeeded THEN
      PERFORM wee5_cron.note_recovery(label);
    END IF;
    -- What failed before this job was watched is nobody's news.
    IF watched.seen_run IS NOT NULL AND unseen.failures > 0 THEN
      PERFORM wee5_cron.note_failures(label, path, unseen.failures::int,
                                      wee5_cron.redact_for(watched.username::name, unseen.message));
    END IF;
  EXCEPTION WHEN lock_not_available THEN
    -- Somebody's harvest() counts the same path and has not committed: with the next look.
    RETURN watched.seen_run;
  END;
  RETURN coalesce(unseen.seen, 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failed_runs(wee5_cron.job_watch, text, text) IS
  'Internal, of watch_jobs(): counts the runs that pg_cron booked as failed';

-- Trouble that nobody can see the end of any more: the job is gone, or calls something else now. Of paths that were called
-- by hand, or by jobs that pg_cron keeps in another database, it is forgotten after a while.
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
           -- A harvest() that counts on is not waited for.
           FOR UPDATE SKIP LOCKED) over
    WHERE t.kind = over.kind AND t.name = over.name
  $$;
COMMENT ON FUNCTION wee5_cron.forget_trouble(text[], text[], boolean) IS
  'Internal, of watch_jobs(): forgets the troubles of jobs that are gone';

-- Called by the worker: at its start, when a job''s time and grace are over, and when the jobs have changed.
CREATE FUNCTION wee5_cron.watch_jobs() RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  cron_job oid;
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
  cron_job := to_regclass('cron.job');
  FOR job IN SELECT * FROM wee5_cron.calling_jobs() j ORDER BY j.jobid LOOP
    jobids := jobids || job.jobid;
    labels := labels || job.label;
    paths := paths || coalesce(job.endpoint_path, '');
    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid FOR UPDATE;
    IF watched.cron_job IS NOT NULL
       AND (watched.cron_job, watched.job_name, watched.username) IS DISTINCT FROM (cron_job, job.job_name, job.username) THEN
      DELETE FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid;
      watched := NULL;
    END IF;
    IF watched.jobid IS NULL OR NOT watched.active OR NOT job.active OR watched.schedule <> job.schedule
       OR watched.judged_until > now() OR watched.cron_job IS NULL THEN
      -- Seen like this for the first time, or since the clock was put back: what was due before is nobody's fault.
      INSERT INTO wee5_cron.job_watch AS w (jobid, schedule, active, judged_until, job_name, username, cron_job)
      VALUES (job.jobid, job.schedule, job.active, now(), job.job_name, job.username, cron_job)
      ON CONFLICT (jobid) DO UPDATE
      SET schedule = excluded.schedule, active = excluded.active, judged_until = excluded.judged_until,
          job_name = excluded.job_name, username = excluded.username, cron_job = excluded.cron_job
      WHERE (w.schedule, w.active, w.cron_job) IS DISTINCT FROM (excluded.schedule, excluded.active, excluded.cron_job)
         OR excluded.active
      RETURNING * INTO watched;
      -- Nor is it late any more, by whatever schedule it was.
      DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = job.label;
      CONTINUE WHEN NOT job.active;
    END IF;
    IF NOT logs_runs AND NOT wee5_cron.is_plain_call(job.command) THEN
      -- It may run and make no call: nobody could tell that from a run that was missed.
      UPDATE wee5_cron.job_watch w SET judged_until = now(), last_missed = NULL WHERE w.jobid = job.jobid;
      DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = job.label;
      CONTINUE;
    END IF;
    SELECT * INTO judged
    FROM wee5_cron.judge_ticks(watched, CASE WHEN job.name_shared THEN job.username::name END,
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
  'Internal, of the worker: counts the runs that were missed, makes up for the newest, and says when to look again';
