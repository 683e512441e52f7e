-- wee5_cron @version@, the portable edition: HTTP cron in SQL, over pg_net and pg_cron, for servers that cannot load the
-- library. `make portable` joins this file from sql/portable and sql/common. Do not edit it: edit those.
--
-- Run it as a migration or in the SQL editor, as the role that is to own wee5_cron. Run a newer file to upgrade. This file
-- makes no calls. To start them: SELECT wee5_cron.configure('https://app.example.com', 'the secret that the app expects')

-- Names without a schema mean those of pg_catalog, whatever the session's search_path is. The end of the file restores the
-- session's settings. Functions may use others that come later in the file.
DO $$
BEGIN
  -- They are saved already if a run of this file failed in this session.
  IF COALESCE(pg_catalog.current_setting('wee5_install.client_min_messages', true), '') OPERATOR(pg_catalog.=) '' THEN
    PERFORM pg_catalog.set_config('wee5_install.' OPERATOR(pg_catalog.||) name, pg_catalog.current_setting(name), false)
    FROM pg_catalog.unnest(ARRAY['search_path', 'check_function_bodies', 'client_min_messages', 'standard_conforming_strings']) AS name;
  END IF;
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
  PERFORM set_config('check_function_bodies', 'off', false);
  PERFORM set_config('client_min_messages', 'warning', false);
  PERFORM set_config('standard_conforming_strings', 'on', false);
END
$$;

DO $$
DECLARE
  found_schema constant oid := to_regnamespace('wee5_cron');
  missing text;
  schema_owner name;
  installed text;
BEGIN
  IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'wee5_cron') THEN
    RAISE EXCEPTION 'the extension wee5_cron is installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It does all that the portable edition does. To upgrade it: ALTER EXTENSION wee5_cron UPDATE;';
  END IF;
  SELECT string_agg(e.name, ', ') INTO missing
  FROM (VALUES ('pg_cron'), ('pg_net')) AS e (name)
  WHERE NOT EXISTS (SELECT FROM pg_extension x WHERE x.extname = e.name);
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'wee5_cron needs % in this database', replace(missing, ', ', ' and ')
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = (SELECT string_agg(format('CREATE EXTENSION %s;', name), ' ')
                    FROM unnest(string_to_array(missing, ', ')) AS name) || ' Then run this file again.';
  END IF;
  IF found_schema IS NULL THEN
    RETURN;
  END IF;
  IF obj_description(found_schema, 'pg_namespace') IS DISTINCT FROM
     'HTTP cron, portable edition: the ledger of calls, its jobs and its functions' THEN
    RAISE EXCEPTION 'schema wee5_cron already exists'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'This file creates that schema itself. Look at what the schema holds, then ALTER SCHEMA wee5_cron RENAME '
                   'TO ... or DROP SCHEMA wee5_cron.';
  END IF;
  SELECT pg_get_userbyid(n.nspowner) INTO schema_owner FROM pg_namespace n WHERE n.oid = found_schema;
  IF schema_owner <> current_user THEN
    RAISE EXCEPTION 'wee5_cron belongs to role "%", and this file runs as "%"', schema_owner, current_user
      USING ERRCODE = 'insufficient_privilege', HINT = format('SET ROLE %I; then run this file again.', schema_owner);
  END IF;
  IF to_regprocedure('wee5_cron.library_version()') IS NOT NULL THEN
    installed := wee5_cron.library_version();
    IF string_to_array(installed, '.')::int[] > string_to_array('@version@', '.')::int[] THEN
      RAISE EXCEPTION 'wee5_cron % is installed, and this file has version @version@', installed
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = format('Run the file of version %s or a newer one.', installed);
    END IF;
  END IF;
  -- Those who use wee5_cron end first, and others wait, so that no deadlock ends them or this file. Only if this file runs in one
  -- transaction do the locks last.
  IF to_regprocedure('wee5_cron.lock_all_tables(text)') IS NOT NULL THEN
    PERFORM wee5_cron.lock_all_tables('SHARE ROW EXCLUSIVE');
  END IF;
END
$$;

-- CREATE OR REPLACE cannot change the parameters or the result of a function. So this file drops all functions and views, and
-- creates them again. It keeps those that an object of the user depends on, and replaces them. The end of the file restores the
-- grants. If an earlier run failed halfway, its notes about them are still there. Until then, no other role can use the schema:
-- each statement may be committed by itself, and PUBLIC may execute a new function.
DO $$
DECLARE
  ours constant oid := to_regnamespace('wee5_cron');
  object record;
BEGIN
  IF to_regprocedure('wee5_cron.library_version()') IS NULL THEN
    RETURN;
  END IF;
  IF wee5_cron.library_version() = '@version@' THEN
    RETURN;
  END IF;
  CREATE TABLE IF NOT EXISTS wee5_cron.before_upgrade (member text, name name, privilege text, grantee oid);
  INSERT INTO wee5_cron.before_upgrade
  SELECT format('(%s,%s)', o.classid, o.objid), o.name, a.privilege_type, a.grantee
  FROM (SELECT 'pg_proc'::regclass::oid AS classid, p.oid AS objid, p.proname AS name, p.proacl AS acl, p.proowner AS owner
        FROM pg_proc p WHERE p.pronamespace = ours OR p.oid = to_regprocedure('public.invoke_cron_endpoint(text)')
        UNION ALL
        SELECT 'pg_class'::regclass, c.oid, c.relname, c.relacl, c.relowner FROM pg_class c WHERE c.relnamespace = ours
        UNION ALL
        SELECT 'pg_namespace'::regclass, n.oid, n.nspname, n.nspacl, n.nspowner FROM pg_namespace n WHERE n.oid = ours) o
  LEFT JOIN LATERAL aclexplode(o.acl) a ON a.grantee NOT IN (0, o.owner);
  FOR object IN
    SELECT DISTINCT quote_ident(r.rolname) AS grantee
    FROM wee5_cron.before_upgrade b JOIN pg_roles r ON r.oid = b.grantee WHERE b.name = 'wee5_cron'
  LOOP
    EXECUTE format('REVOKE ALL ON SCHEMA wee5_cron FROM %s CASCADE', object.grantee);
  END LOOP;
  FOR object IN
    SELECT 'VIEW' AS kind, c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = ours AND c.relkind = 'v'
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = ours
    ORDER BY 1 DESC
  LOOP
    BEGIN
      EXECUTE format('DROP %s %s', object.kind, object.name);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      NULL;
    END;
  END LOOP;
END
$$;

CREATE SCHEMA wee5_cron;
COMMENT ON SCHEMA wee5_cron IS 'HTTP cron, portable edition: the ledger of calls, its jobs and its functions';
