-- What doctor() looks at.

-- The topics of doctor(): a function each, the checks that it makes, the extension that it needs in this database, and the
-- edition that has it; NULL: both.
CREATE FUNCTION wee5_cron.doctor_topics(OUT function text, OUT checks text[], OUT needs text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT t.function, string_to_array(t.checks, ' '), t.needs
    FROM (VALUES
      ('doctor_pg_cron_loaded', 'pg_cron_loaded', NULL, 'native'),
      ('doctor_pg_cron_created', 'pg_cron_created', NULL, NULL),
      ('doctor_pg_cron_database', 'pg_cron_database', 'pg_cron', 'native'),
      ('doctor_pg_cron_launcher', 'pg_cron_launcher', NULL, NULL),
      ('doctor_pg_cron_readable', 'pg_cron_readable', NULL, NULL),
      ('doctor_library', 'library_preloaded library_version', NULL, 'native'),
      ('doctor_armed', 'armed', NULL, NULL),
      ('doctor_enabled', 'enabled', NULL, NULL),
      ('doctor_subscription_target', 'subscription_target', NULL, NULL),
      ('doctor_physical_clone', 'physical_clone', NULL, NULL),
      ('doctor_tables', 'ledger_tables', NULL, NULL),
      ('doctor_policies', 'policies', NULL, NULL),
      ('doctor_worker_slots', 'worker_slots', NULL, 'native'),
      ('doctor_jobs', 'jobs_made', NULL, NULL),
      ('doctor_job_calls', 'job_calls_us', 'pg_cron', NULL),
      ('doctor_job_active', 'job_active', 'pg_cron', NULL),
      ('doctor_job_setup', 'job_owner job_schedule job_command job_database', 'pg_cron', NULL),
      ('doctor_job_runs', 'job_last_run', 'pg_cron', NULL),
      ('doctor_job_waiting', 'job_waiting', NULL, NULL),
      ('doctor_api_url', 'api_url', NULL, NULL),
      ('doctor_api_url_https', 'api_url_https', NULL, NULL),
      ('doctor_api_url_loopback', 'api_url_loopback', NULL, 'native'),
      ('doctor_api_url_resolves', 'api_url_resolves', NULL, 'native'),
      ('doctor_proxy', 'proxy', NULL, 'native'),
      ('doctor_cron_secret', 'cron_secret cron_secret_length', NULL, NULL),
      ('doctor_previous_secret', 'cron_secret_previous', NULL, NULL),
      ('doctor_targets', 'target', NULL, NULL),
      ('doctor_cron_secret_readers', 'cron_secret_readers protect_secret', NULL, 'native'),
      ('doctor_cron_secret_readers', 'cron_secret_readers', NULL, 'portable'),
      ('doctor_secret_in_jobs', 'secret_in_jobs', 'pg_cron', NULL),
      ('doctor_hidden_settings', 'hidden_settings', NULL, 'portable'),
      ('doctor_request_timeout', 'request_timeout', NULL, 'portable'),
      ('doctor_transport', 'transport', NULL, 'native'),
      ('doctor_worker', 'worker', NULL, 'native'),
      ('doctor_queue', 'queue', NULL, 'native'),
      ('doctor_pg_net_worker', 'pg_net_worker', 'pg_net', NULL),
      ('doctor_pg_net_harvest', 'pg_net_harvest', 'pg_net', NULL),
      ('doctor_pg_net_queue', 'pg_net_queue', 'pg_net', NULL),
      ('doctor_pg_net_tampering', 'pg_net_tampering', 'pg_net', NULL),
      ('doctor_pg_net_readers', 'pg_net_readers', 'pg_net', NULL),
      ('doctor_retrying', 'retrying', NULL, NULL),
      ('doctor_last_outcome', 'last_outcome', NULL, NULL),
      ('doctor_history', 'ledger_history', NULL, NULL),
      ('doctor_pg_cron_history', 'pg_cron_history', 'pg_cron', NULL),
      ('doctor_callers', 'callers', NULL, NULL),
      ('doctor_readers', 'ledger_readers', NULL, NULL),
      ('doctor_namesakes', 'namesakes', NULL, NULL)
    ) AS t (function, checks, needs, edition)
    WHERE t.edition IS NULL OR t.edition = wee5_cron.edition()
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_topics() IS
  'Internal, for doctor(): its topics, in the order of their lines, with the checks of each';
