CREATE FUNCTION wee5_cron.transport_of_a_get() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_transport_of_a_get';
COMMENT ON FUNCTION wee5_cron.transport_of_a_get() IS
  'Internal, for doctor(): the transport of a call of this session, or the error that the call would raise';

CREATE FUNCTION wee5_cron.pg_net_worker_lives() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_pg_net_worker_lives';
COMMENT ON FUNCTION wee5_cron.pg_net_worker_lives() IS
  'Internal, for doctor(): whether pg_net is installed in this database and its worker runs';
