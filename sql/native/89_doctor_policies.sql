CREATE FUNCTION wee5_cron.check_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE c STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_policy';
COMMENT ON FUNCTION wee5_cron.check_policy(wee5_cron.endpoint) IS
  'Internal, for doctor(): raises the error with which the table endpoint refuses such a row';
