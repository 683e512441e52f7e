-- The end of the script, when all objects exist.

-- What the script of an extension grants counts as initial privileges, which pg_dump leaves out.
CREATE FUNCTION wee5_cron.grant_outside_script(role regrole, privileges text[]) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_grant_privileges_outside_script';
COMMENT ON FUNCTION wee5_cron.grant_outside_script(regrole, text[]) IS
  'Internal, for the extension''s scripts: grant_privileges() as if it were called after the script, so that a dump contains the grants';
SELECT wee5_cron.revoke_default_privileges();

-- A managed server lets somebody who is not a superuser install the extension. That role may then operate it.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER) THEN
    PERFORM wee5_cron.grant_outside_script(pg_catalog.quote_ident(SESSION_USER)::pg_catalog.regrole,
                                           wee5_cron.profile_privileges('operate'));
  END IF;
END
$$;

-- A restored dump brings its own jobs and fills wee5_cron.job after this script. A row of ours would collide with them,
-- so that all of them would be lost. And the copy must not make calls by itself. Every mode of pg_dump and pg_restore
-- SETs both row_security (to on or off) and xmloption in its session; values from ALTER DATABASE, ALTER ROLE and
-- PGOPTIONS have another source.
DO $$
DECLARE
  owner record;
BEGIN
  -- After these last statements of the script, Postgres restores the setting.
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Loads the library, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  IF (SELECT count(*) FROM pg_settings s
      WHERE s.name IN ('row_security', 'xmloption') AND s.source = 'session') = 2 THEN
    RETURN;
  END IF;
  PERFORM wee5_cron.arm();
  -- Postgres hides the notices of an extension's script, but users must see these. The script cannot know what the
  -- session had SET itself, only what the session began with.
  IF current_setting('client_min_messages') = 'warning' THEN
    PERFORM set_config('client_min_messages', reset_val, true) FROM pg_settings WHERE name = 'client_min_messages';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
      RAISE NOTICE 'pg_cron is not installed in database "%": no jobs are created', current_database()
        USING HINT = 'Once it is, SELECT wee5_cron.register_jobs(); which also says what to do if pg_cron is in another database.';
    END IF;
    RETURN;
  END IF;
  IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
    PERFORM wee5_cron.register_jobs();
  END IF;

  -- Existing jobs called a function that every role could execute. Nobody may execute this one until grant_to() grants
  -- it.
  FOR owner IN EXECUTE $query$
    SELECT j.username, string_agg(coalesce(quote_literal(j.jobname), j.jobid::text), ', ' ORDER BY j.jobid) AS jobs
    FROM cron.job j JOIN pg_roles r ON r.rolname = j.username
    WHERE j.database = current_database() AND 'invoke_cron_endpoint' = ANY (wee5_cron.functions_of_command(j.command))
      AND NOT (has_schema_privilege(r.oid, wee5_cron.call_schema(), 'USAGE')
               AND has_function_privilege(r.oid, format('%I.invoke_cron_endpoint(text)', wee5_cron.call_schema()), 'EXECUTE'))
    GROUP BY j.username ORDER BY j.username
  $query$ LOOP
    RAISE NOTICE '"%" may not call invoke_cron_endpoint, but has jobs that do: %', owner.username, owner.jobs
      USING HINT = format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(owner.username));
  END LOOP;
END
$$;
