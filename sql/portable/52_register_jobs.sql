-- The file registers nothing, so that a copy of the project stays silent. configure() registers the jobs, each time.
CREATE FUNCTION wee5_cron.configure_registers_jobs() RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT true $$;
COMMENT ON FUNCTION wee5_cron.configure_registers_jobs() IS
  'Internal: whether configure() calls register_jobs(), which then heeds default_jobs and what unregister_jobs() removed';
