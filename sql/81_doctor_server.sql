-- doctor(): pg_cron, our library, and the slots for background workers that all of them share.

CREATE FUNCTION wee5_cron.worker_sees_pg_cron() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_worker_sees_pg_cron';
COMMENT ON FUNCTION wee5_cron.worker_sees_pg_cron() IS
  'Internal, of doctor(): whether the worker of some database of the server has found pg_cron in that database';

CREATE FUNCTION wee5_cron.doctor_pg_cron() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant name := current_database();
  installed constant boolean := wee5_cron.pg_cron_installed();
  -- Only pg_cron's library defines it, and only while the server starts.
  its_database constant text := wee5_cron.server_setting('cron.database_name');
  loaded constant boolean := its_database IS NOT NULL;
  called_at timestamptz;
  to_this_database constant text :=
    format(E'ALTER SYSTEM SET cron.database_name = %L;\n-- then restart the server', here);
BEGIN
  IF loaded THEN
    RETURN NEXT ('pg_cron_loaded', 'ok', 'pg_cron is in shared_preload_libraries', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_loaded', 'error', 'pg_cron is not in shared_preload_libraries: no job runs',
                 wee5_cron.doctor_preload()
                 || CASE WHEN here <> 'postgres' AND NOT installed
                         THEN format(E'\n-- and, in postgresql.conf, for pg_cron to live in this database: '
                                     'cron.database_name = %L', here) ELSE '' END)::wee5_cron.finding;
  END IF;

  IF installed THEN
    RETURN NEXT ('pg_cron_created', 'ok',
                 format('pg_cron %s is installed in database "%s"',
                        (SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'), here),
                 NULL)::wee5_cron.finding;
  ELSIF loaded AND its_database <> here THEN
    -- Another database cannot be looked into from here. That pg_cron is there is known where a worker of ours sees it, or
    -- where its jobs have called.
    SELECT max(r.requested_at) INTO called_at
    FROM wee5_cron.jobs_that_call() j
    CROSS JOIN LATERAL (
      SELECT i.requested_at, i.scheduled_at FROM wee5_cron.invocation i
      WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name ORDER BY i.job_name DESC, i.id DESC LIMIT 20) r
    WHERE r.scheduled_at IS DISTINCT FROM r.requested_at;  -- not run_now()
    IF called_at IS NOT NULL OR wee5_cron.worker_sees_pg_cron() THEN
      RETURN NEXT ('pg_cron_created', 'ok',
                   format('pg_cron is in database "%s": jobs for this one are made there', its_database)
                   || coalesce('; one of them called last at ' || to_char(called_at, 'YYYY-MM-DD HH24:MI'), ''),
                   NULL)::wee5_cron.finding;
    ELSE
      RETURN NEXT ('pg_cron_created', 'warning',
                   format('pg_cron is not in this database, and there is no sign of it in database "%s" (cron.database_name)',
                          its_database),
                   wee5_cron.doctor_comment(format('In database "%s": CREATE EXTENSION IF NOT EXISTS pg_cron; then make the '
                                                   'jobs there, see jobs_made.', its_database)))::wee5_cron.finding;
    END IF;
  ELSE
    RETURN NEXT ('pg_cron_created', 'error', format('pg_cron is not installed in database "%s"', here),
                 E'CREATE EXTENSION pg_cron;\nSELECT wee5_cron.register_jobs();')::wee5_cron.finding;
  END IF;

  IF NOT installed THEN
    RETURN NEXT ('pg_cron_database', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
  ELSIF loaded AND its_database <> here THEN
    RETURN NEXT ('pg_cron_database', 'error',
                 format('cron.database_name is "%s": the jobs of this database do not run', its_database),
                 to_this_database)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_database', 'ok', 'cron.database_name is this database', NULL)::wee5_cron.finding;
  END IF;

  IF NOT loaded THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'does not apply: pg_cron is not loaded', NULL)::wee5_cron.finding;
  ELSIF pg_is_in_recovery() THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'does not apply: this is a standby', NULL)::wee5_cron.finding;
  ELSIF wee5_cron.server_setting('cron.launch_active_jobs') = 'off' THEN
    RETURN NEXT ('pg_cron_launcher', 'error', 'cron.launch_active_jobs is off: no job runs',
                 E'ALTER SYSTEM SET cron.launch_active_jobs = on;\nSELECT pg_reload_conf();')::wee5_cron.finding;
  ELSIF EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ '^pg_cron (launcher|scheduler)$') THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'pg_cron''s launcher runs', NULL)::wee5_cron.finding;
  ELSIF NOT EXISTS (SELECT FROM pg_database WHERE datname = its_database) THEN
    RETURN NEXT ('pg_cron_launcher', 'error',
                 format('pg_cron''s launcher does not run: there is no database "%s" (cron.database_name)', its_database),
                 to_this_database)::wee5_cron.finding;
  ELSIF NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN
    RETURN NEXT ('pg_cron_launcher', 'warning',
                 format('the extension''s owner "%s" may not see whether pg_cron''s launcher runs', current_user),
                 format('GRANT pg_read_all_stats TO %I;', current_user))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_launcher', 'error', 'pg_cron''s launcher does not run: no job runs',
                 wee5_cron.doctor_comment('Ask again in a few seconds: it starts anew each second. If it still does not '
                                          'run, the server''s log says why; perhaps max_worker_processes is used up: '
                                          'see worker_slots.'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron() IS 'Internal, of doctor(): whether pg_cron is there and runs';

CREATE FUNCTION wee5_cron.library_version() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_version';
COMMENT ON FUNCTION wee5_cron.library_version() IS 'Internal, of doctor(): the version of the library that is loaded';

CREATE FUNCTION wee5_cron.doctor_library() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  library constant text := wee5_cron.library_version();
  extension constant text := (SELECT extversion FROM pg_extension WHERE extname = 'wee5_cron');
BEGIN
  IF wee5_cron.library_preloaded() THEN
    RETURN NEXT ('library_preloaded', 'ok', 'wee5_cron is in shared_preload_libraries', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('library_preloaded', CASE WHEN wee5_cron.pg_net_worker_lives() THEN 'warning' ELSE 'error' END,
                 'wee5_cron is not in shared_preload_libraries: there is no builtin transport, and the secret is not '
                 'protected from SHOW', wee5_cron.doctor_preload())::wee5_cron.finding;
  END IF;
  IF library = extension THEN
    RETURN NEXT ('library_version', 'ok', format('library and SQL are version %s', library), NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('library_version', 'error',
                 format('the library is version %s, the SQL of this database %s: its calls stand still',
                        library, extension),
                 format(E'ALTER EXTENSION wee5_cron UPDATE TO %L;\n'
                        '-- and restart the server where a newer library was installed since its start',
                        library))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_library() IS 'Internal, of doctor(): whether the library is preloaded and fits the SQL';

-- pg_cron's jobs, where they are background workers, our workers and everybody else's come from one number of slots.
CREATE FUNCTION wee5_cron.doctor_worker_slots() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  slots constant int := current_setting('max_worker_processes')::int;
  of_jobs constant boolean := coalesce(wee5_cron.server_setting('cron.use_background_workers')::boolean, false);
  used int;
  jobs int := 0;
  databases int;
  missing int;
  asleep int;
  wanted int;
BEGIN
  -- What stays; pg_cron's running jobs are counted as jobs, parallel workers come and go.
  SELECT count(*) INTO used FROM pg_stat_activity
  WHERE backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
                             'checkpointer', 'startup', 'walwriter', 'walreceiver', 'walsender', 'walsummarizer',
                             'archiver', 'logger', 'slotsync worker', 'io worker', 'standalone backend',
                             'parallel worker', 'pg_cron', 'pg_cron worker');
  IF of_jobs AND wee5_cron.pg_cron_installed() THEN
    EXECUTE 'SELECT count(*) FROM cron.job WHERE active' INTO jobs;
    jobs := least(jobs, wee5_cron.server_setting('cron.max_running_jobs')::int);
  END IF;
  SELECT count(*), count(*) FILTER (WHERE pid IS NULL), count(*) FILTER (WHERE state = 'asleep')
    INTO databases, missing, asleep FROM wee5_cron.worker_slots();
  wanted := used + missing + jobs;
  IF wanted <= slots THEN
    RETURN NEXT ('worker_slots', 'ok',
                 format('max_worker_processes is %s: %s in use, up to %s for jobs of pg_cron', slots, used, jobs),
                 NULL)::wee5_cron.finding;
  ELSIF asleep > 0 THEN
    RETURN NEXT ('worker_slots', 'warning',
                 format('max_worker_processes is %s: %s databases take turns, because there are processes for %s of their '
                        'workers. A call may wait while other databases have theirs, and pg_cron may need %s processes '
                        'at once for its jobs', slots, databases, databases - missing, jobs),
                 format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
                        greatest(16, wanted + 8)))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('worker_slots', CASE WHEN used >= slots THEN 'error' ELSE 'warning' END,
                 format('max_worker_processes is %s: %s are in use, %s wait for one, and pg_cron may need %s at once '
                        'for its jobs', slots, used, missing, jobs),
                 format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
                        greatest(16, wanted + 8)))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_worker_slots() IS 'Internal, of doctor(): whether max_worker_processes is enough';
