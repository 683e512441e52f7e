-- What the extension drops besides its members.

-- In C: Postgres has such a statement for functions, ALTER FUNCTION ... DEPENDS ON EXTENSION, but none for schemas. Dumps contain
-- these objects, unlike members of the extension.
CREATE FUNCTION wee5_cron.drop_with_extension(catalog regclass, object oid) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_drop_with_extension';
COMMENT ON FUNCTION wee5_cron.drop_with_extension(regclass, oid) IS 'Internal, for expose_api(): lets DROP EXTENSION drop the object';

