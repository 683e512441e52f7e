-- Nothing to do: uninstall() drops what expose_api() created.
CREATE FUNCTION wee5_cron.drop_with_extension(catalog regclass, object oid) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT $$;
COMMENT ON FUNCTION wee5_cron.drop_with_extension(regclass, oid) IS 'Internal, for expose_api(): lets DROP EXTENSION drop the object';
