-- pg_net and pg_cron, where they are installed.

CREATE FUNCTION wee5_cron.pg_net_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('net.http_request_queue'), 'pg_net')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('net._http_response'), 'pg_net')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_installed() IS 'Internal: whether pg_net''s tables are in this database';

CREATE FUNCTION wee5_cron.pg_cron_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job'), 'pg_cron')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job_run_details'), 'pg_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_installed() IS 'Internal: whether pg_cron''s tables are in this database';
