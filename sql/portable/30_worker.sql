-- There is no worker in this edition: pg_net sends, and the job wee5-cron-harvest records.

CREATE FUNCTION wee5_cron.worker_slots(OUT datid oid, OUT pid int, OUT state text, OUT in_flight int, OUT sent bigint,
                                       OUT succeeded bigint, OUT failed bigint, OUT started_at timestamptz,
                                       OUT last_error text) RETURNS SETOF record
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL::oid, NULL::int, NULL, NULL::int, NULL::bigint, NULL::bigint, NULL::bigint, NULL::timestamptz, NULL WHERE false $$;
COMMENT ON FUNCTION wee5_cron.worker_slots() IS 'Internal, for the view worker: one row per database that has a worker or waits for one';
