CREATE FUNCTION wee5_cron.worker_sees_pg_cron() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_worker_sees_pg_cron';
COMMENT ON FUNCTION wee5_cron.worker_sees_pg_cron() IS
  'Internal, for doctor(): whether a worker of this server has found pg_cron in its database';

CREATE FUNCTION wee5_cron.library_version() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_version';
COMMENT ON FUNCTION wee5_cron.library_version() IS 'Internal, for doctor(): the version of the library that is loaded';

CREATE FUNCTION wee5_cron.doctor_pg_cron_loaded() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_cron_loaded() THEN
    RETURN NEXT ('pg_cron_loaded', 'ok', 'pg_cron is in shared_preload_libraries', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_loaded', 'error', 'pg_cron is not in shared_preload_libraries: no job runs',
                 wee5_cron.doctor_preload()
                 || CASE WHEN current_database() <> 'postgres' AND NOT wee5_cron.pg_cron_installed()
                         THEN format(E'\n-- and, in postgresql.conf, for pg_cron to live in this database: '
                                     'cron.database_name = %L', current_database()) ELSE '' END)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_loaded() IS 'Internal, for doctor(): whether pg_cron is preloaded';

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
                 'wee5_cron is not in shared_preload_libraries: there is no builtin transport, and every role may '
                 'SHOW the secret', wee5_cron.doctor_preload())::wee5_cron.finding;
  END IF;
  IF library = extension THEN
    RETURN NEXT ('library_version', 'ok', format('the library and the SQL have version %s', library), NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('library_version', 'error',
                 format('the library has version %s, but the SQL of this database has version %s: its calls wait',
                        library, extension),
                 format(E'ALTER EXTENSION wee5_cron UPDATE TO %L;\n'
                        '-- and restart the server if a newer library was installed since it started',
                        library))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_library() IS 'Internal, for doctor(): whether the library is preloaded and fits the SQL';

-- pg_cron's jobs (if they are background workers), our workers and those of other extensions share
-- max_worker_processes.
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
  -- Processes that stay. pg_cron's running jobs count as jobs, and parallel workers come and go.
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
                 format('max_worker_processes is %s: %s databases take turns, because only %s of their workers can '
                        'run at once. A call may wait until it is the turn of its database. pg_cron may need %s processes '
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
COMMENT ON FUNCTION wee5_cron.doctor_worker_slots() IS 'Internal, for doctor(): whether max_worker_processes is enough';
