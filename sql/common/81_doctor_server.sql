-- doctor(): pg_cron, the library, and the background workers that they share.

-- Only pg_cron's library defines its settings, and only while the server starts.
CREATE FUNCTION wee5_cron.pg_cron_loaded() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.server_setting('cron.database_name') IS NOT NULL $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_loaded() IS 'Internal, for doctor(): whether pg_cron is in shared_preload_libraries';

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

-- Nobody can look into another database from here. That pg_cron is there is known if the worker of that database has
-- found it, or if its jobs have called.
CREATE FUNCTION wee5_cron.doctor_pg_cron_elsewhere() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  its_database constant text := wee5_cron.server_setting('cron.database_name');
  called_at timestamptz;
BEGIN
  SELECT max(r.requested_at) INTO called_at
  FROM wee5_cron.known_jobs() j
  CROSS JOIN LATERAL (
    SELECT i.requested_at, i.scheduled_at FROM wee5_cron.invocation i
    WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name ORDER BY i.job_name DESC, i.id DESC LIMIT 20) r
  WHERE r.scheduled_at IS DISTINCT FROM r.requested_at;  -- not run_now()
  IF called_at IS NOT NULL OR wee5_cron.worker_sees_pg_cron() THEN
    RETURN NEXT ('pg_cron_created', 'ok',
                 format('pg_cron is in database "%s", where the jobs for this database are scheduled', its_database)
                 || coalesce('; the last call of one was at ' || to_char(called_at, 'YYYY-MM-DD HH24:MI'), ''),
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_created', 'warning',
                 format('pg_cron is not in this database, and there is no sign of it in database "%s" (cron.database_name)',
                        its_database),
                 wee5_cron.doctor_comment(format('In database "%s": CREATE EXTENSION IF NOT EXISTS pg_cron; then schedule the '
                                                 'jobs there, see jobs_made.', its_database)))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_elsewhere() IS
  'Internal, for doctor(): whether there is a sign of pg_cron in the database that cron.database_name names';

CREATE FUNCTION wee5_cron.doctor_pg_cron_created() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('pg_cron_created', 'ok',
                 format('pg_cron %s is installed in database "%s"',
                        (SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'), current_database()),
                 NULL)::wee5_cron.finding;
  ELSIF wee5_cron.pg_cron_loaded() AND wee5_cron.server_setting('cron.database_name') <> current_database() THEN
    RETURN QUERY SELECT * FROM wee5_cron.doctor_pg_cron_elsewhere();
  ELSE
    RETURN NEXT ('pg_cron_created', 'error', format('pg_cron is not installed in database "%s"', current_database()),
                 E'CREATE EXTENSION pg_cron;\nSELECT wee5_cron.register_jobs();')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_created() IS 'Internal, for doctor(): whether pg_cron is installed, here or elsewhere';

CREATE FUNCTION wee5_cron.doctor_bring_pg_cron_here() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT format(E'ALTER SYSTEM SET cron.database_name = %L;\n-- then restart the server', current_database()) $$;
COMMENT ON FUNCTION wee5_cron.doctor_bring_pg_cron_here() IS
  'Internal, for doctor(): the statement that makes pg_cron work in this database';

CREATE FUNCTION wee5_cron.doctor_pg_cron_database() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  its_database constant text := wee5_cron.server_setting('cron.database_name');
BEGIN
  IF wee5_cron.pg_cron_loaded() AND its_database <> current_database() THEN
    RETURN NEXT ('pg_cron_database', 'error',
                 format('cron.database_name is "%s": the jobs of this database do not run', its_database),
                 wee5_cron.doctor_bring_pg_cron_here())::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_database', 'ok', 'cron.database_name is this database', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_database() IS 'Internal, for doctor(): whether pg_cron works in this database';

CREATE FUNCTION wee5_cron.doctor_pg_cron_launcher() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  its_database constant text := wee5_cron.server_setting('cron.database_name');
BEGIN
  IF NOT wee5_cron.pg_cron_loaded() THEN
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
                 wee5_cron.doctor_bring_pg_cron_here())::wee5_cron.finding;
  ELSIF NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN
    RETURN NEXT ('pg_cron_launcher', 'warning',
                 format('the extension''s owner "%s" may not see whether pg_cron''s launcher runs', current_user),
                 format('GRANT pg_read_all_stats TO %I;', current_user))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_launcher', 'error', 'pg_cron''s launcher does not run: no job runs',
                 wee5_cron.doctor_comment('Ask again in a few seconds, because it restarts every second. If it still does '
                                          'not run, the server''s log says why. If max_worker_processes is used up, see '
                                          'worker_slots.'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_launcher() IS 'Internal, for doctor(): whether pg_cron''s own process runs';

-- pg_cron shows each role its own jobs alone.
CREATE FUNCTION wee5_cron.doctor_pg_cron_readable() RETURNS SETOF wee5_cron.finding
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH tables AS (
      SELECT c.oid, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
                    AND NOT row_security_active(c.oid) AS readable
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'cron' AND c.relname IN ('job', 'job_run_details')
        AND wee5_cron.belongs_to_extension('pg_class', c.oid, 'pg_cron')
    )
    SELECT ('pg_cron_readable',
            CASE WHEN bool_and(t.readable) IS FALSE THEN 'error' ELSE 'ok' END,
            CASE bool_and(t.readable)
              WHEN true THEN 'the extension''s owner sees every job of pg_cron'
              WHEN false THEN format('the extension''s owner "%s" does not see every job of pg_cron: calls have no job name, '
                                     'and jobs no state and no alerts', current_user)
              ELSE 'does not apply: pg_cron is not in this database' END,
            CASE WHEN bool_and(t.readable) IS FALSE THEN
              format(E'ALTER ROLE %1$I BYPASSRLS;\nGRANT USAGE ON SCHEMA cron TO %1$I;\n'
                     'GRANT SELECT ON cron.job, cron.job_run_details TO %1$I;\n'
                     '-- and for pause() and unschedule(): ALTER ROLE %1$I SUPERUSER', current_user) END)::wee5_cron.finding
    FROM tables t
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_readable() IS
  'Internal, for doctor(): whether the extension''s owner may read the jobs of pg_cron and their runs';

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
                 format('the library has version %s, but the SQL of this database has version %s: its calls stand still',
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
                 format('max_worker_processes is %s: %s databases take turns, because only %s of their workers have a '
                        'process. A call may wait until its database has its turn. pg_cron may need %s processes at once '
                        'for its jobs', slots, databases, databases - missing, jobs),
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
