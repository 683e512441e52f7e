-- pg_cron's own history, cron.job_run_details. No other file reads it. Its only index is on runid, so all but
-- prune_cron_history() read its newest part alone, or rows by their runid. All of it is dynamic SQL: pg_cron may be created
-- after the extension and dropped before it.

-- Without cron.log_run pg_cron keeps no history. Then a run is known only by its call.
CREATE FUNCTION wee5_cron.pg_cron_logs_runs() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(wee5_cron.server_setting('cron.log_run'), 'on') <> 'off' $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_logs_runs() IS 'Internal: whether pg_cron writes its runs into cron.job_run_details';

-- The newest runs, at most that many. pg_cron gives a run no time if its connection failed: `at` is then the time of the
-- next run that has one, or this moment. `message` is set for failed runs only.
CREATE FUNCTION wee5_cron.newest_cron_runs(after_run bigint DEFAULT 0, most int DEFAULT 20000, OUT runid bigint,
                                           OUT jobid bigint, OUT status text, OUT message text, OUT start_time timestamptz,
                                           OUT end_time timestamptz, OUT at timestamptz)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 20000 SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE $query$
    SELECT d.runid, d.jobid, d.status, CASE d.status WHEN 'failed' THEN btrim(d.return_message, E' \r\n') END,
           d.start_time, d.end_time,
           coalesce(d.start_time, d.end_time, min(coalesce(d.start_time, d.end_time)) OVER (ORDER BY d.runid DESC),
                    clock_timestamp())
    FROM (SELECT * FROM cron.job_run_details r WHERE r.runid > $1 ORDER BY r.runid DESC LIMIT $2) d
  $query$ USING coalesce(after_run, 0), most;
END
$$;
COMMENT ON FUNCTION wee5_cron.newest_cron_runs(bigint, int) IS
  'Internal: the newest runs in cron.job_run_details that have a higher runid';

-- Runs that somebody has noted. message: as in newest_cron_runs().
CREATE FUNCTION wee5_cron.cron_runs_by_id(runids bigint[], OUT runid bigint, OUT jobid bigint, OUT status text, OUT message text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF runids <> '{}' THEN
    RETURN QUERY EXECUTE $query$
      SELECT d.runid, d.jobid, d.status, CASE d.status WHEN 'failed' THEN btrim(d.return_message, E' \r\n') END
      FROM cron.job_run_details d WHERE d.runid = ANY ($1)
    $query$ USING runids;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_runs_by_id(bigint[]) IS 'Internal: these runs in cron.job_run_details';

-- Among the newest thousand, in which the runs of calls that ended lately are. Passing all of these on would take as long as
-- reading them.
CREATE FUNCTION wee5_cron.cron_runs_by_pid(pids int[], OUT runid bigint, OUT job_pid int, OUT username text,
                                           OUT start_time timestamptz, OUT end_time timestamptz)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE $query$
    SELECT d.runid, d.job_pid, d.username, d.start_time, d.end_time
    FROM (SELECT * FROM cron.job_run_details r ORDER BY r.runid DESC LIMIT 1000) d WHERE d.job_pid = ANY ($1)
  $query$ USING pids;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_runs_by_pid(int[]) IS
  'Internal, for bind_cron_runs(): the newest runs in cron.job_run_details of these processes';

-- When each job last began, among the newest runs. This takes half as long as to read them by newest_cron_runs(): health()
-- may ask for it every minute.
CREATE FUNCTION wee5_cron.last_cron_starts(most int DEFAULT 20000, OUT jobid bigint, OUT at timestamptz)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE $query$
    SELECT d.jobid, max(d.start_time)
    FROM (SELECT r.jobid, r.start_time FROM cron.job_run_details r ORDER BY r.runid DESC LIMIT $1) d GROUP BY d.jobid
  $query$ USING most;
END
$$;
COMMENT ON FUNCTION wee5_cron.last_cron_starts(int) IS
  'Internal: when each job last began, among that many of the newest runs in cron.job_run_details';

-- A text for a query over many calls: a function would be called for each of them.
CREATE FUNCTION wee5_cron.made_by_run_of_job() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT 'EXISTS (SELECT FROM cron.job_run_details d WHERE d.runid = i.cron_run_id AND d.jobid = j.jobid)' $$;
COMMENT ON FUNCTION wee5_cron.made_by_run_of_job() IS
  'Internal: a condition on invocation i and a job j, whether a run of the job in cron.job_run_details made the call';

CREATE FUNCTION wee5_cron.newest_run() RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  runid bigint;
BEGIN
  EXECUTE 'SELECT max(d.runid) FROM cron.job_run_details d' INTO runid;
  RETURN coalesce(runid, 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.newest_run() IS 'Internal: cron.job_run_details.runid of the newest run; 0: there is none';

-- When the runs of a job began, since a time. Reads no more of the history than it has to.
CREATE FUNCTION wee5_cron.runs_since(jobid bigint, since timestamptz) RETURNS timestamptz[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  most int := 200;
  newest record;
BEGIN
  LOOP
    SELECT array_agg(r.at) FILTER (WHERE r.jobid = runs_since.jobid AND r.at >= since) AS runs,
           (array_agg(r.at ORDER BY r.runid))[1] AS oldest, count(*) AS rows
    INTO newest FROM wee5_cron.newest_cron_runs(0, most) r;
    EXIT WHEN newest.oldest < since OR newest.rows < most OR most = 20000;
    most := 10 * most;
  END LOOP;
  RETURN coalesce(newest.runs, '{}');
END
$$;
COMMENT ON FUNCTION wee5_cron.runs_since(bigint, timestamptz) IS 'Internal: when pg_cron began the runs of a job since that time';

-- pg_cron keeps the time from its launcher's start on, or from the start of all processes if the launcher does not show
-- (yet). It forgets what was due before and did not run.
CREATE FUNCTION wee5_cron.pg_cron_began_at() RETURNS timestamptz
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT greatest(pg_postmaster_start_time(), max(a.backend_start))
    FROM pg_stat_activity a WHERE a.backend_type IN ('pg_cron launcher', 'checkpointer')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_began_at() IS 'Internal: since when pg_cron keeps the time without a gap';

-- The newest run of a job stays, however old: it does not count as the oldest. Of a long history, this reads the old end, and
-- the new one only if it has to: where the oldest run of all is the only one of its job there.
CREATE FUNCTION wee5_cron.cron_history_extent(OUT bytes bigint, OUT oldest timestamptz)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  bytes := pg_total_relation_size('cron.job_run_details');
  EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT r.jobid, max(r.runid) AS runid FROM wee5_cron.newest_cron_runs() r GROUP BY r.jobid
    )
    SELECT coalesce(d.start_time, d.end_time)
    FROM (SELECT o.*, lead(o.runid) OVER (PARTITION BY o.jobid ORDER BY o.runid) IS NOT NULL AS followed
          FROM (SELECT * FROM cron.job_run_details r ORDER BY r.runid LIMIT 1000) o
          ORDER BY o.runid OFFSET 0) d
    WHERE d.followed OR EXISTS (SELECT FROM newest n WHERE n.jobid = d.jobid AND n.runid > d.runid)
    LIMIT 1
  $query$ INTO oldest;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_history_extent() IS
  'Internal, for doctor(): the size of cron.job_run_details, and when its oldest run began that prune_cron_history() would delete';

-- A run whose connection failed has no time: it is as old as the next run that has one.
CREATE FUNCTION wee5_cron.prune_cron_history(older_than interval) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  pruned bigint;
BEGIN
  IF older_than IS NULL THEN
    RAISE EXCEPTION 'older_than must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT wee5_cron.prune_cron_history(''30 days'');';
  ELSIF older_than < interval '0' THEN
    RAISE EXCEPTION 'invalid interval "%": older_than must not be negative', older_than
      USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT wee5_cron.prune_cron_history(''30 days'');';
  ELSIF older_than > interval '5000 years' THEN
    RETURN 0;  -- the calendar does not go back that far
  ELSIF NOT wee5_cron.pg_cron_installed() THEN
    RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'pg_cron''s history is in the database that cron.database_name names. Run this function there.';
  END IF;
  EXECUTE $query$
    WITH edge AS MATERIALIZED (
      SELECT max(d.runid) AS runid FROM cron.job_run_details d WHERE coalesce(d.end_time, d.start_time) < now() - $1
    ), newest AS MATERIALIZED (
      SELECT max(d.runid) AS runid FROM cron.job_run_details d JOIN cron.job j ON j.jobid = d.jobid GROUP BY d.jobid
    )
    DELETE FROM cron.job_run_details d
    WHERE d.runid <= (SELECT runid FROM edge) AND d.status IN ('succeeded', 'failed')
      AND coalesce(d.end_time, d.start_time, '-infinity') < now() - $1
      AND NOT EXISTS (SELECT FROM newest n WHERE n.runid = d.runid)
  $query$ USING older_than;
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_cron_history(interval) IS
  'Deletes runs of all databases that ended longer ago than this from pg_cron''s own history (cron.job_run_details), and returns how many. The newest run of each job stays';
