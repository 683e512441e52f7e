CREATE FUNCTION wee5_cron.check_endpoint_path(endpoint_path text) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_endpoint_path';
COMMENT ON FUNCTION wee5_cron.check_endpoint_path(text) IS
  'Internal: returns the path as it is, or raises the error of a call with this path';
