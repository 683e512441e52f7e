-- doctor(): pg_cron, the library, and the background workers that they share.

-- Only pg_cron's library defines its settings, and only while the server starts.
CREATE FUNCTION wee5_cron.pg_cron_loaded() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.server_setting('cron.database_name') IS NOT NULL $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_loaded() IS 'Internal, for doctor(): whether pg_cron is in shared_preload_libraries';

-- A session cannot look into another database. pg_cron is known to be there if the worker of that database has found it, or if
-- its jobs have made calls.
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
                 || coalesce('; their last call was at ' || to_char(called_at, 'YYYY-MM-DD HH24:MI'), ''),
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_created', 'warning',
                 format('pg_cron is not in this database, and there is no sign of it in database "%s" (cron.database_name)',
                        its_database),
                 wee5_cron.doctor_comment(format('In database "%s", run CREATE EXTENSION IF NOT EXISTS pg_cron. Then '
                                                 'schedule the jobs there: jobs_made has the statements.', its_database)))::wee5_cron.finding;
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
    -- If it was dropped, the jobs that are remembered went with it, and only `force` creates them again.
    RETURN NEXT ('pg_cron_created', 'error', format('pg_cron is not installed in database "%s"', current_database()),
                 format(E'CREATE EXTENSION pg_cron;\nSELECT wee5_cron.register_jobs(%s);',
                        CASE WHEN EXISTS (SELECT FROM wee5_cron.job j WHERE j.registered) THEN 'force => true' END))::wee5_cron.finding;
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

-- pg_cron shows each role only its own jobs.
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
              WHEN false THEN format('the extension''s owner "%s" does not see every job of pg_cron, so calls have no job '
                                     'name, and jobs have neither a state nor alerts', current_user)
              ELSE 'does not apply: pg_cron is not in this database' END,
            CASE WHEN bool_and(t.readable) IS FALSE THEN
              format(E'ALTER ROLE %1$I BYPASSRLS;\nGRANT USAGE ON SCHEMA cron TO %1$I;\n'
                     'GRANT SELECT ON cron.job, cron.job_run_details TO %1$I;\n'
                     '-- and for pause() and unschedule(): ALTER ROLE %1$I SUPERUSER', current_user) END)::wee5_cron.finding
    FROM tables t
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_readable() IS
  'Internal, for doctor(): whether the extension''s owner may read the jobs of pg_cron and their runs';
