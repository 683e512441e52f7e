-- Whose an object is. wee5_cron touches an object of pg_net, pg_cron or Vault only if pg_depend ties the object to
-- that extension. Somebody else can make a schema or table of the same name, and our functions would run it, or read it,
-- with the rights of their owner.

CREATE FUNCTION wee5_cron.belongs_to_extension(catalog regclass, object oid, extension name) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
      WHERE d.classid = catalog AND d.objid = object AND d.objsubid = 0
        AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = extension)
  $$;
COMMENT ON FUNCTION wee5_cron.belongs_to_extension(regclass, oid, name) IS
  'Internal: whether the object is a member of the extension';
