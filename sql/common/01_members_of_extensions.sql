-- Which extension an object belongs to. wee5_cron touches an object of pg_net, pg_cron or Vault only if pg_depend ties the object
-- to that extension. Another role can create a schema or table of the same name, and our functions would run it, or read it,
-- with the rights of their owner.

-- In PL/pgSQL, which keeps its plan. Postgres plans an SQL function again for each statement that calls it. That holds for
-- every function here that runs once for each job or call.
CREATE FUNCTION wee5_cron.belongs_to_extension(catalog regclass, object oid, extension name) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = catalog AND d.objid = object AND d.objsubid = 0
      AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = extension);
END
$$;
COMMENT ON FUNCTION wee5_cron.belongs_to_extension(regclass, oid, name) IS
  'Internal: whether the object is a member of the extension';

CREATE FUNCTION wee5_cron.extension_installed(name name) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN EXISTS (SELECT FROM pg_extension e WHERE e.extname = $1); END $$;
COMMENT ON FUNCTION wee5_cron.extension_installed(name) IS 'Internal: whether the extension is in this database, with whatever objects';
