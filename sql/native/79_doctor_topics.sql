-- What doctor() looks at in this edition.

-- The topics of doctor(): a function each, the checks that it makes, and the extension that it needs in this database.
CREATE FUNCTION wee5_cron.doctor_topics(OUT function text, OUT checks text[], OUT needs text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT t.function, string_to_array(t.checks, ' '), t.needs
    FROM (VALUES
      ('doctor_pg_cron_loaded', 'pg_cron_loaded', NULL),
      ('doctor_pg_cron_created', 'pg_cron_created', NULL),
      ('doctor_pg_cron_database', 'pg_cron_database', 'pg_cron'),
      ('doctor_pg_cron_launcher', 'pg_cron_launcher', NULL),
      ('doctor_pg_cron_readable', 'pg_cron_readable', NULL),
      ('doctor_library', 'library_preloaded library_version', NULL),
      ('doctor_armed', 'armed', NULL),
      ('doctor_enabled', 'enabled', NULL),
      ('doctor_subscription_target', 'subscription_target', NULL),
      ('doctor_physical_clone', 'physical_clone', NULL),
      ('doctor_tables', 'ledger_tables', NULL),
      ('doctor_policies', 'policies', NULL),
      ('doctor_worker_slots', 'worker_slots', NULL),
      ('doctor_jobs', 'jobs_made', NULL),
      ('doctor_job_calls', 'job_calls_us', 'pg_cron'),
      ('doctor_job_active', 'job_active', 'pg_cron'),
      ('doctor_job_setup', 'job_owner job_schedule job_command job_database', 'pg_cron'),
      ('doctor_job_runs', 'job_last_run', 'pg_cron'),
      ('doctor_job_waiting', 'job_waiting', NULL),
      ('doctor_api_url', 'api_url', NULL),
      ('doctor_api_url_https', 'api_url_https', NULL),
      ('doctor_api_url_loopback', 'api_url_loopback', NULL),
      ('doctor_api_url_resolves', 'api_url_resolves', NULL),
      ('doctor_proxy', 'proxy', NULL),
      ('doctor_cron_secret', 'cron_secret cron_secret_length', NULL),
      ('doctor_cron_secret_readers', 'cron_secret_readers protect_secret', NULL),
      ('doctor_secret_in_jobs', 'secret_in_jobs', 'pg_cron'),
      ('doctor_transport', 'transport', NULL),
      ('doctor_worker', 'worker', NULL),
      ('doctor_queue', 'queue', NULL),
      ('doctor_pg_net_worker', 'pg_net_worker', 'pg_net'),
      ('doctor_pg_net_harvest', 'pg_net_harvest', 'pg_net'),
      ('doctor_pg_net_queue', 'pg_net_queue', 'pg_net'),
      ('doctor_pg_net_tampering', 'pg_net_tampering', 'pg_net'),
      ('doctor_pg_net_readers', 'pg_net_readers', 'pg_net'),
      ('doctor_retrying', 'retrying', NULL),
      ('doctor_last_outcome', 'last_outcome', NULL),
      ('doctor_history', 'ledger_history', NULL),
      ('doctor_pg_cron_history', 'pg_cron_history', 'pg_cron'),
      ('doctor_callers', 'callers', NULL),
      ('doctor_namesakes', 'namesakes', NULL)
    ) AS t (function, checks, needs)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_topics() IS
  'Internal, for doctor(): its topics, in the order of their lines, with the checks of each';

-- Changes a setting where it is stored now.
CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'vault' THEN
        format('SELECT vault.update_secret((SELECT id FROM vault.secrets WHERE name = %L), %L);',
               wee5_cron.setting('vault_' || replace(setting, 'app.settings.', '')), value)
      ELSE CASE source
             WHEN 'role in database' THEN format('ALTER ROLE %I IN DATABASE %I', role, current_database())
             WHEN 'role' THEN format('ALTER ROLE %I', role)
             WHEN 'all' THEN 'ALTER ROLE ALL'
             ELSE format('ALTER DATABASE %I', current_database())
           END || format(' SET %s = %L;', setting, value)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, for doctor(): the statement that changes a setting where it is stored';

-- Preloads what this database needs, in addition to what is preloaded now. Several checks give this statement as their hint. It
-- is the same for all of them, so that pasting one after the other takes nothing back. A server does not start if it
-- lacks a library in the list: only installed ones are added.
CREATE FUNCTION wee5_cron.doctor_preload() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH preloaded AS (
      SELECT btrim(name, ' "') AS name, n
      FROM unnest(string_to_array(wee5_cron.server_setting('shared_preload_libraries'), ',')) WITH ORDINALITY AS l (name, n)
      WHERE btrim(name, ' "') <> ''
    ), needed (name, n) AS (
      SELECT 'pg_cron', 1001 WHERE EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_cron')
      UNION ALL SELECT 'pg_net', 1002 WHERE EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_net')
      UNION ALL SELECT 'wee5_cron', 1003
    )
    SELECT format(E'ALTER SYSTEM SET shared_preload_libraries = %s;\n-- then restart the server',
                  string_agg(quote_literal(name), ', ' ORDER BY n))
    FROM (SELECT p.name, p.n FROM preloaded p
          UNION ALL
          SELECT n.name, n.n FROM needed n WHERE n.name NOT IN (SELECT p.name FROM preloaded p)) l
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload() IS
  'Internal, for doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';
