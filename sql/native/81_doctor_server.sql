CREATE FUNCTION wee5_cron.worker_sees_pg_cron() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_worker_sees_pg_cron';
COMMENT ON FUNCTION wee5_cron.worker_sees_pg_cron() IS
  'Internal, for doctor(): whether a worker of this server has found pg_cron in its database';

CREATE FUNCTION wee5_cron.library_version() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_version';
COMMENT ON FUNCTION wee5_cron.library_version() IS 'Internal, for doctor(): the version of the library that is loaded';
