-- Removing it.

-- Not CASCADE: that would drop what others built on our objects, and an editor may not show the NOTICE. Our objects depend on
-- one another, so each round drops those that no other one needs any more.
CREATE FUNCTION wee5_cron.drop_everything() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ours constant oid := to_regnamespace('wee5_cron');
  outside constant oid := wee5_cron.function_outside();
  statement text;
  detail text;
  dropped boolean;
  dependents text;
BEGIN
  LOOP
    dropped := false;
    dependents := NULL;
    FOREACH statement IN ARRAY ARRAY(
      SELECT format('DROP TRIGGER %I ON %s', t.tgname, c.oid::regclass)
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = ours AND NOT t.tgisinternal
      UNION ALL
      SELECT format('DROP ROUTINE %s', p.oid::regprocedure) FROM pg_proc p WHERE p.pronamespace = ours OR p.oid = outside
      UNION ALL
      SELECT format('DROP %s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
      FROM pg_class c WHERE c.relnamespace = ours AND c.relkind IN ('v', 'r'))
    LOOP
      BEGIN
        EXECUTE statement;
        dropped := true;
      EXCEPTION WHEN dependent_objects_still_exist THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        dependents := concat_ws(E'\n', dependents, detail);
      END;
    END LOOP;
    EXIT WHEN dependents IS NULL;
    IF NOT dropped THEN
      RAISE EXCEPTION 'other objects depend on wee5_cron'
        USING ERRCODE = 'dependent_objects_still_exist', DETAIL = dependents,
              HINT = 'Drop them first, then: SELECT wee5_cron.uninstall();';
    END IF;
  END LOOP;
  -- Only types and sequences are left.
  DROP SCHEMA wee5_cron CASCADE;
END
$$;
COMMENT ON FUNCTION wee5_cron.drop_everything() IS
  'Internal, for uninstall(): drops all objects of wee5_cron, unless something else depends on them';

-- Locks every table in this mode, and every view against everybody. Calls and harvests read the settings before any other table: they
-- end first, and new ones wait there and hold nothing. But a session that writes a policy or reads the ledger in SQL has locked that
-- table when it comes to the settings. So while this holds a lock, it waits for no other one: if a table is not free, this gives all
-- locks back, waits for each, and starts again.
CREATE FUNCTION wee5_cron.lock_all_tables(mode text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  patience constant text := current_setting('lock_timeout');
  -- LOCK TABLE would also lock what a view reads, such as pg_database. A view that gets the owner that it has is locked alone.
  locks constant text[] := ARRAY(
    SELECT format(CASE c.relkind WHEN 'v' THEN 'ALTER VIEW %1$s OWNER TO %2$I' ELSE 'LOCK TABLE %1$s IN %3$s MODE' END,
                  c.oid::regclass, pg_get_userbyid(c.relowner), mode)
    FROM pg_class c WHERE c.relnamespace = to_regnamespace('wee5_cron') AND c.relkind IN ('r', 'v'));
  -- Among many readers, some table may never be free. Then this waits in its turn.
  rounds_left int := 50;
  has_settings boolean;
  lock text;
BEGIN
  LOOP
    has_settings := false;
    BEGIN
      LOCK TABLE wee5_cron.setting IN ACCESS EXCLUSIVE MODE;
      has_settings := true;
      IF rounds_left > 0 THEN
        PERFORM set_config('lock_timeout', '10ms', true);
      END IF;
      FOREACH lock IN ARRAY locks LOOP
        EXECUTE lock;
      END LOOP;
      PERFORM set_config('lock_timeout', patience, true);
      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      IF rounds_left = 0 OR NOT has_settings THEN
        RAISE;
      END IF;
    END;
    rounds_left := rounds_left - 1;
    FOREACH lock IN ARRAY locks LOOP
      BEGIN
        EXECUTE lock;
        RAISE no_data_found;
      EXCEPTION WHEN no_data_found THEN
        NULL;  -- it was free, and the lock is given back
      END;
    END LOOP;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.lock_all_tables(text) IS
  'Internal, for uninstall() and the beginning of the file: keeps everybody away until the transaction ends, without a deadlock';

CREATE FUNCTION wee5_cron.uninstall() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  api name;
  contents text;
BEGIN
  PERFORM wee5_cron.lock_all_tables('ACCESS EXCLUSIVE');
  IF wee5_cron.pg_cron_installed() THEN
    FOR job IN EXECUTE $query$
      SELECT c.jobid FROM cron.job c
      WHERE c.database = current_database() AND wee5_cron.is_remembered(c.jobid, c.jobname, c.command)
    $query$ LOOP
      PERFORM wee5_cron.remove_cron_job(job.jobid);
    END LOOP;
  END IF;
  IF wee5_cron.belongs_to_extension('pg_class', to_regclass('vault.secrets'), 'supabase_vault') THEN
    -- What configure() wrote. Secrets that you stored yourself stay.
    EXECUTE 'DELETE FROM vault.secrets s WHERE s.description IN ($1, $2, $3, $4)'
      USING 'wee5_cron: where the app is', 'wee5_cron: the bearer secret that the app expects',
            'wee5_cron: the bearer secret that the app expected before', 'wee5_cron: other apps that are called, with their secrets';
  END IF;
  FOR api IN SELECT wee5_cron.api_schemas() LOOP
    PERFORM wee5_cron.drop_exposed_functions(api, outdated_only => false);
    BEGIN
      EXECUTE format('DROP SCHEMA %I', api);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      GET STACKED DIAGNOSTICS contents = PG_EXCEPTION_DETAIL;
      RAISE EXCEPTION 'schema "%" contains other objects', api
        USING ERRCODE = 'dependent_objects_still_exist', DETAIL = contents,
              HINT = 'expose_api() did not create them. Drop them or move them into another schema, then: SELECT wee5_cron.uninstall();';
    END;
  END LOOP;
  PERFORM wee5_cron.drop_everything();
  RETURN 'wee5_cron is removed, with its ledger and its jobs';
END
$$;
COMMENT ON FUNCTION wee5_cron.uninstall() IS
  'Removes everything of wee5_cron: the jobs that it made, the secrets that configure() stored in Vault, the ledger, all functions. Raises 2BP01 if objects of others depend on them. Only the owner may';

-- ALTER DEFAULT PRIVILEGES grants to the roles of the API by name. Other roles keep what grant_to() gave them.
CREATE FUNCTION wee5_cron.revoke_from_api_roles() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  role text;
BEGIN
  FOR role IN
    SELECT 'PUBLIC' UNION ALL
    SELECT quote_ident(r.rolname) FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
  LOOP
    EXECUTE format('REVOKE ALL ON SCHEMA wee5_cron FROM %s CASCADE', role);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA wee5_cron FROM %s CASCADE', role);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA wee5_cron FROM %s CASCADE', role);
    EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA wee5_cron FROM %s CASCADE', role);
    -- Somebody may have dropped it, or put another one in its place.
    IF wee5_cron.function_outside() IS NOT NULL THEN
      EXECUTE format('REVOKE ALL ON FUNCTION public.invoke_cron_endpoint(text) FROM %s CASCADE', role);
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_from_api_roles() IS
  'Internal, for the end of the file and arm(): revokes everything from PUBLIC, anon, authenticated and service_role';

-- A transaction that somebody left open must not stop harvest(), so harvest() waits only this long for a lock. In the extension,
-- the worker has such a limit.
ALTER FUNCTION wee5_cron.harvest() SET lock_timeout = '5s';

-- Restores the grants, see the beginning of the file. A new function gets the grants that one of its name had.
DO $$
DECLARE
  statement text;
BEGIN
  IF to_regclass('wee5_cron.before_upgrade') IS NULL THEN
    RETURN;
  END IF;
  PERFORM wee5_cron.revoke_default_privileges(ARRAY(SELECT DISTINCT b.member FROM wee5_cron.before_upgrade b));
  FOR statement IN
    SELECT DISTINCT format('GRANT %s ON %s TO %I', b.privilege, o.what, r.rolname)
    FROM (SELECT p.proname AS name, 'ROUTINE ' || p.oid::regprocedure AS what FROM pg_proc p
          WHERE p.pronamespace = 'wee5_cron'::regnamespace
          UNION ALL
          SELECT c.relname, 'TABLE ' || c.oid::regclass FROM pg_class c
          WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'v'
          UNION ALL
          SELECT 'wee5_cron', 'SCHEMA wee5_cron') o
    -- A table and a function may have one name, such as claim.
    JOIN wee5_cron.before_upgrade b ON b.name = o.name AND (b.privilege = 'EXECUTE') = (o.what LIKE 'ROUTINE %')
    JOIN pg_roles r ON r.oid = b.grantee
  LOOP
    EXECUTE statement;
  END LOOP;
  DROP TABLE wee5_cron.before_upgrade;
END
$$;

DO $$
BEGIN
  PERFORM wee5_cron.revoke_from_api_roles();
  IF NOT EXISTS (SELECT FROM wee5_cron.background_task c WHERE c.name = 'installed') THEN
    -- Other roles may have default privileges, too.
    PERFORM wee5_cron.revoke_default_privileges();
    INSERT INTO wee5_cron.background_task (name) VALUES ('installed');
  END IF;
  PERFORM set_config(name, current_setting('wee5_install.' || name), false)
  FROM unnest(ARRAY['check_function_bodies', 'standard_conforming_strings', 'client_min_messages', 'search_path']) AS name;
  PERFORM set_config('wee5_install.client_min_messages', '', false);
END
$$;

SELECT 'wee5_cron @version@, the portable edition' AS installed,
       CASE WHEN wee5_cron.is_armed() THEN 'SELECT * FROM wee5_cron.doctor() WHERE status <> ''ok'';'
            WHEN wee5_cron.call_permit() OPERATOR(pg_catalog.=) 'copied' THEN 'This database is a copy. If it is to call the app: SELECT wee5_cron.arm();'
            ELSE 'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects''); -- not in a migration: it holds the secret' END AS next_step;
