CREATE FUNCTION wee5_cron.worker_slots(OUT datid oid, OUT pid int, OUT state text, OUT in_flight int, OUT sent bigint,
                                       OUT succeeded bigint, OUT failed bigint, OUT started_at timestamptz,
                                       OUT last_error text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_worker_slots';
COMMENT ON FUNCTION wee5_cron.worker_slots() IS 'Internal, for the view worker: one row per database that has a worker or waits for one';
