-- Which objects are ours, and which edition this is.

CREATE FUNCTION wee5_cron.edition() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT 'native' $$;
COMMENT ON FUNCTION wee5_cron.edition() IS 'Internal: native: the extension; portable: the SQL file for servers that cannot load the library';

CREATE FUNCTION wee5_cron.is_ours(catalog regclass, object oid) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.belongs_to_extension(catalog, object, 'wee5_cron') $$;
COMMENT ON FUNCTION wee5_cron.is_ours(regclass, oid) IS 'Internal: whether wee5_cron made the object';

-- The objects that CREATE EXTENSION wee5_cron made.
CREATE FUNCTION wee5_cron.extension_members(OUT classid oid, OUT objid oid) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT d.classid, d.objid
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.objsubid = 0 AND e.extname = 'wee5_cron'
  $$;
COMMENT ON FUNCTION wee5_cron.extension_members() IS 'Internal: the objects of the extension, as pg_depend names them';

CREATE FUNCTION wee5_cron.job_role() RETURNS name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT session_user $$;
COMMENT ON FUNCTION wee5_cron.job_role() IS 'Internal: the role that new jobs belong to';

CREATE FUNCTION wee5_cron.hint_here(hint text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT hint $$;
COMMENT ON FUNCTION wee5_cron.hint_here(text) IS 'Internal: a hint in the words of this edition, where settings are changed in another way';
