-- Removing it.

CREATE FUNCTION wee5_cron.uninstall() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  api name;
BEGIN
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
    EXECUTE 'DELETE FROM vault.secrets s WHERE s.description IN ($1, $2, $3)'
      USING 'wee5_cron: where the app is', 'wee5_cron: the bearer secret that the app expects',
            'wee5_cron: the bearer secret that the app expected before';
  END IF;
  FOR api IN SELECT wee5_cron.api_schemas() LOOP
    PERFORM wee5_cron.drop_exposed_functions(api);
    -- Not with what you created in it.
    EXECUTE format('DROP SCHEMA %I', api);
  END LOOP;
  DROP FUNCTION public.invoke_cron_endpoint(text);
  DROP SCHEMA wee5_cron CASCADE;
  RETURN 'wee5_cron is removed, with its ledger and its jobs';
END
$$;
COMMENT ON FUNCTION wee5_cron.uninstall() IS
  'Removes everything of wee5_cron: the jobs that it made, the secrets that configure() stored in Vault, the ledger, all functions. Only the owner may';

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
    EXECUTE format('REVOKE ALL ON FUNCTION public.invoke_cron_endpoint(text) FROM %s CASCADE', role);
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
          WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'v') o
    -- A table and a function may have one name, such as claim.
    JOIN wee5_cron.before_upgrade b ON b.name = o.name AND (b.privilege = 'EXECUTE') = (o.what LIKE 'ROUTINE %') JOIN pg_roles r ON r.oid = b.grantee
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
