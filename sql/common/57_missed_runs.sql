-- Missed runs. pg_cron forgets what was due while the server was down, and logs nothing about it. A tick of an active
-- job is missed if it has neither a run in pg_cron's history nor a call in the ledger when its grace ends.

-- Up to which time the ticks of each job have been judged, and by which schedule. Without this row, nobody could tell later
-- whether the job existed and was active when a tick was due. Dumps leave the table out: a copy has missed nothing.
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
  cron_job oid,
  runs timestamptz[] NOT NULL DEFAULT '{}',
  unended_runs bigint[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE wee5_cron.job_watch IS 'Internal: which ticks of the calling jobs the worker has judged, and how many were missed';
COMMENT ON COLUMN wee5_cron.job_watch.jobid IS 'cron.job.jobid';
COMMENT ON COLUMN wee5_cron.job_watch.schedule IS 'cron.job.schedule when the worker last looked';
COMMENT ON COLUMN wee5_cron.job_watch.active IS 'cron.job.active when the worker last looked';
COMMENT ON COLUMN wee5_cron.job_watch.judged_until IS 'Up to this time the worker has looked for missed runs. It looks for none that were due before it knew the schedule';
COMMENT ON COLUMN wee5_cron.job_watch.missed_runs IS 'Runs that were missed since the worker has known the job';
COMMENT ON COLUMN wee5_cron.job_watch.last_missed IS 'The newest tick that was missed';
COMMENT ON COLUMN wee5_cron.job_watch.seen_run IS 'cron.job_run_details.runid up to which the worker has read the job''s runs';
COMMENT ON COLUMN wee5_cron.job_watch.job_name IS 'cron.job.jobname. A job with another name or user is another job';
COMMENT ON COLUMN wee5_cron.job_watch.username IS 'cron.job.username';
COMMENT ON COLUMN wee5_cron.job_watch.cron_job IS 'OID of cron.job. pg_cron assigns the same jobids again after it was dropped and created';
COMMENT ON COLUMN wee5_cron.job_watch.runs IS 'Start times of the runs since judged_until that the worker has read';
COMMENT ON COLUMN wee5_cron.job_watch.unended_runs IS 'cron.job_run_details.runid of runs that the worker read before they, or one before them, had ended';

-- The ticks for which a job has made calls since the last look: for a pg_cron that logs no runs, or whose history somebody
-- deleted. Reads the newest calls, until a hundred in a row are older. owner: whose calls count if two users have a job of
-- that name. by_path: the path whose unnamed calls count if nothing else shows that the job ran.
CREATE FUNCTION wee5_cron.calls_since(watched wee5_cron.job_watch, owner name, by_path text) RETURNS timestamptz[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  since constant timestamptz := watched.judged_until;
  call record;
  older int := 0;
  before bigint := 9223372036854775807;
  page_end bigint;
  calls timestamptz[] := '{}';
BEGIN
  -- In pages: for few rows the planner reads the index of the job's calls backwards.
  WHILE older < 100 AND before IS NOT NULL LOOP
    page_end := NULL;
    FOR call IN SELECT i.id, i.scheduled_at, i.requested_at, i.requested_by FROM wee5_cron.invocation i
                WHERE i.job_name >= watched.job_name AND i.job_name <= watched.job_name AND i.id < before
                ORDER BY i.job_name DESC, i.id DESC LIMIT 200 LOOP
      page_end := call.id;
      older := CASE WHEN call.requested_at < since THEN older + 1 ELSE 0 END;
      EXIT WHEN older = 100;
      IF call.scheduled_at >= since AND call.scheduled_at <> call.requested_at
         AND (owner IS NULL OR call.requested_by = owner) THEN
        calls := calls || call.scheduled_at;
      END IF;
    END LOOP;
    before := page_end;
  END LOOP;
  IF by_path IS NULL THEN
    RETURN calls;
  END IF;
  older := 0;
  FOR call IN SELECT i.requested_at, i.requested_by, i.job_name, i.endpoint_path FROM wee5_cron.invocation i
              ORDER BY i.id DESC LIMIT 20000 LOOP
    older := CASE WHEN call.requested_at < since THEN older + 1 ELSE 0 END;
    EXIT WHEN older = 100;
    IF older = 0 AND call.endpoint_path = by_path AND call.job_name IS NULL AND call.requested_by = watched.username THEN
      calls := calls || call.requested_at + interval '2 seconds';
    END IF;
  END LOOP;
  RETURN calls;
END
$$;
COMMENT ON FUNCTION wee5_cron.calls_since(wee5_cron.job_watch, name, text) IS
  'Internal: the ticks since the last look for which a job has made a call';

-- Judges the ticks of a job since the last look whose grace is over. Jobs start seconds late, and minutes late if
-- pg_cron is busy. A tick that pg_cron forgot has no grace. began: when the job's runs began. look_again: when the grace
-- of the next tick ends.
CREATE FUNCTION wee5_cron.match_ticks(watched wee5_cron.job_watch, began timestamptz[], pg_cron_began_at timestamptz,
                                      OUT judged_until timestamptz, OUT missed bigint, OUT last_missed timestamptz,
                                      OUT run_since boolean, OUT look_again timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  WITH tick AS MATERIALIZED (
    SELECT t AS at, coalesce(lead(t) OVER (ORDER BY t), (wee5_cron.ticks(watched.schedule, t, 1))[1]) AS next_at
    FROM unnest(wee5_cron.ticks(watched.schedule, watched.judged_until, 100000, NULL, now())) t
  ), run AS MATERIALIZED (
    SELECT b AS at FROM unnest(began) b
    UNION ALL
    -- pg_cron counts 'N seconds' from one run to the next and starts each a moment late, so that a run stands for the tick
    -- after it, too.
    SELECT b + make_interval(secs => s.n::int)
    FROM unnest(began) b
    CROSS JOIN LATERAL (SELECT (regexp_match(watched.schedule, '^\s*([0-9]{1,2})\s+seconds?\s*$', 'i'))[1] AS n) s
    WHERE s.n IS NOT NULL
  ), judged AS MATERIALIZED (
    -- In the order of time, a tick that was run is followed by its run. Weeks have many of both: no join.
    SELECT e.at, e.was_run,
           e.at + CASE WHEN e.at <= pg_cron_began_at THEN interval '0'
                       ELSE greatest(interval '1 minute', (e.next_at - e.at) / 10) END AS grace_ends
    FROM (SELECT o.at, o.next_at, o.is_run, coalesce(lead(o.is_run) OVER (ORDER BY o.at, o.is_run), false) AS was_run
          FROM (SELECT tick.at, tick.next_at, false AS is_run FROM tick
                UNION ALL
                SELECT run.at, NULL, true FROM run) o) e
    WHERE NOT e.is_run
  ), due AS MATERIALIZED (
    SELECT j.at, j.was_run FROM judged j WHERE j.grace_ends <= now()
  )
  SELECT coalesce((SELECT max(due.at) FROM due), watched.judged_until),
         (SELECT count(*) FROM due WHERE NOT due.was_run), m.at,
         EXISTS (SELECT FROM run WHERE run.at > m.at),
         (SELECT min(j.grace_ends) FROM judged j WHERE j.grace_ends > now())
  INTO judged_until, missed, last_missed, run_since, look_again
  FROM (SELECT max(due.at) AS at FROM due WHERE NOT due.was_run) m;
END
$$;
COMMENT ON FUNCTION wee5_cron.match_ticks(wee5_cron.job_watch, timestamptz[], timestamptz) IS
  'Internal, for judge_ticks(): how many ticks of a job have no run among these';

-- The runs that the worker has read nearly always account for all ticks. Only if one seems to be missed does this read pg_cron's
-- history and the ledger.
CREATE FUNCTION wee5_cron.judge_ticks(watched wee5_cron.job_watch, owner name, by_path text, pg_cron_began_at timestamptz,
                                      OUT judged_until timestamptz, OUT missed bigint, OUT last_missed timestamptz,
                                      OUT run_since boolean, OUT look_again timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  runs timestamptz[] := watched.runs;
  judged record;
BEGIN
  -- pg_cron's clock can show the full minute a moment before the transaction's does.
  judged := wee5_cron.match_ticks(watched, ARRAY(SELECT r + interval '2 seconds' FROM unnest(runs) r), pg_cron_began_at);
  IF judged.missed > 0 THEN
    IF wee5_cron.pg_cron_logs_runs() THEN
      runs := runs || wee5_cron.runs_since(watched.jobid, watched.judged_until);
    END IF;
    judged := wee5_cron.match_ticks(watched, ARRAY(SELECT r + interval '2 seconds' FROM unnest(runs) r)
                                             || wee5_cron.calls_since(watched, owner, by_path), pg_cron_began_at);
  END IF;
  judged_until := judged.judged_until;
  missed := judged.missed;
  last_missed := judged.last_missed;
  run_since := judged.run_since;
  look_again := judged.look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.judge_ticks(wee5_cron.job_watch, name, text, timestamptz) IS
  'Internal, for watch_jobs(): how many ticks of a job were missed since the last look';

-- Makes the newest missed call once, as the job's owner. Makes none if more than an hour has passed, if a later tick has
-- run already, or if the job does more than a plain call. Also makes none if the owner may not call, because any user of
-- pg_cron can write anything into a command, and delete the runs of the job.
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
    RAISE EXCEPTION 'role "%" may not make calls', owner USING ERRCODE = 'insufficient_privilege';
  END IF;
  call_id := wee5_cron.invoke_for_job($1, wee5_cron.path_of_command(command), owner::name, schedule, tick);
  UPDATE wee5_cron.invocation i SET requested_by = owner WHERE i.id = call_id;
EXCEPTION WHEN OTHERS THEN
  -- The run would have failed in the same way, for example without an address. The next run says so in pg_cron's history.
  RAISE LOG 'wee5_cron: cannot catch up on the missed run of job "%": %', $1, SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.catch_up(text, text, text, text, timestamptz) IS
  'Internal, for watch_jobs(): makes the call of a missed run';
