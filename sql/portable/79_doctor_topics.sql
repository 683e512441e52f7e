-- What doctor() looks at in this edition, and how its hints change settings.

CREATE FUNCTION wee5_cron.doctor_topics(OUT function text, OUT checks text[], OUT needs text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT t.function, string_to_array(t.checks, ' '), t.needs
    FROM (VALUES
      ('doctor_pg_cron_created', 'pg_cron_created', NULL),
      ('doctor_pg_cron_launcher', 'pg_cron_launcher', NULL),
      ('doctor_pg_cron_readable', 'pg_cron_readable', NULL),
      ('doctor_armed', 'armed', NULL),
      ('doctor_enabled', 'enabled', NULL),
      ('doctor_subscription_target', 'subscription_target', NULL),
      ('doctor_physical_clone', 'physical_clone', NULL),
      ('doctor_policies', 'policies', NULL),
      ('doctor_jobs', 'jobs_made', NULL),
      ('doctor_job_calls', 'job_calls_us', 'pg_cron'),
      ('doctor_job_active', 'job_active', 'pg_cron'),
      ('doctor_job_setup', 'job_owner job_schedule job_command job_database', 'pg_cron'),
      ('doctor_job_runs', 'job_last_run', 'pg_cron'),
      ('doctor_job_waiting', 'job_waiting', NULL),
      ('doctor_api_url', 'api_url', NULL),
      ('doctor_api_url_https', 'api_url_https', NULL),
      ('doctor_cron_secret', 'cron_secret cron_secret_length', NULL),
      ('doctor_cron_secret_readers', 'cron_secret_readers', NULL),
      ('doctor_secret_in_jobs', 'secret_in_jobs', 'pg_cron'),
      ('doctor_hidden_settings', 'hidden_settings', NULL),
      ('doctor_request_timeout', 'request_timeout', NULL),
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

CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE setting WHEN 'app.settings.api_url' THEN format('SELECT wee5_cron.configure(%L);', value)
                        ELSE format('SELECT wee5_cron.configure(cron_secret => %L);', value) END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, for doctor(): the statement that changes a setting where it is stored';

CREATE FUNCTION wee5_cron.doctor_set_secret(source text, role name, placeholder text) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.doctor_set(source, role, 'app.settings.cron_secret', placeholder) $$;
COMMENT ON FUNCTION wee5_cron.doctor_set_secret(text, name, text) IS
  'Internal, for doctor(): the statement that changes the secret where it is stored';

CREATE FUNCTION wee5_cron.doctor_preload() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- Only your host can change that: restart the project, or ask its support' $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload() IS
  'Internal, for doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';

CREATE FUNCTION wee5_cron.doctor_uses_pg_net() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT true $$;
COMMENT ON FUNCTION wee5_cron.doctor_uses_pg_net() IS 'Internal, for doctor(): whether calls of this session use pg_net';
