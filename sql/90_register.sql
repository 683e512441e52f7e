-- The last of the script, when all objects are there.
-- What a script of an extension grants counts as its initial privileges, which pg_dump does not carry.
CREATE FUNCTION wee5_cron.grant_outside_script(role regrole, profile text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_grant_outside_script';
COMMENT ON FUNCTION wee5_cron.grant_outside_script(regrole, text) IS
  'Internal, of this script: grant_to() as if it were called later, so that a dump has what it grants';
SELECT wee5_cron.revoke_default_privileges();

-- Where an extension is installed by somebody who is not superuser (a managed server lets him), it is his to work with.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER) THEN
    PERFORM wee5_cron.grant_outside_script(pg_catalog.quote_ident(SESSION_USER)::pg_catalog.regrole, 'operate');
  END IF;
END
$$;

-- A restored dump brings its own jobs and fills wee5_cron.job after this script: a row of ours would collide with them
-- and lose them all, and the copy must not make calls by itself. Every mode of pg_dump and pg_restore SETs both
-- row_security (to on or off) and xmloption in its session; ALTER DATABASE, ALTER ROLE and PGOPTIONS are other sources.
DO $$
DECLARE
  owner record;
BEGIN
  -- The last statements of the script: Postgres puts the setting back after them.
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Loads the library, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  IF (SELECT count(*) FROM pg_settings s
      WHERE s.name IN ('row_security', 'xmloption') AND s.source = 'session') = 2 THEN
    RETURN;
  END IF;
  PERFORM wee5_cron.arm();
  -- While a script of an extension runs, Postgres hides its notices; these are meant to be seen. What the session had set
  -- itself is not to be known here, only what it began with.
  IF current_setting('client_min_messages') = 'warning' THEN
    PERFORM set_config('client_min_messages', reset_val, true) FROM pg_settings WHERE name = 'client_min_messages';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
      RAISE NOTICE 'pg_cron is not installed in database "%": no jobs are made', current_database()
        USING HINT = 'When it is, SELECT wee5_cron.register_jobs(); which also says what to do where pg_cron is in another database.';
    END IF;
    RETURN;
  END IF;
  IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
    PERFORM wee5_cron.register_jobs();
  END IF;

  -- Jobs that were there before called a function that every role could execute. This one nobody can, until he may.
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
