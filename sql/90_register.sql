-- The last of the script, when all objects are there.
SELECT wee5_cron.revoke_default_privileges();

-- Where an extension is installed by somebody who is not superuser (a managed server lets him), it is his to work with.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER) THEN
    PERFORM wee5_cron.grant_to(pg_catalog.quote_ident(SESSION_USER)::pg_catalog.regrole, 'operate');
  END IF;
END
$$;

-- A restored dump brings its own jobs and fills wee5_cron.job after this script: a row of ours would collide with them
-- and lose them all. row_security is off in a restore, and only there.
DO $$
BEGIN
  -- Loads the library, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  IF pg_catalog.current_setting('row_security') OPERATOR(pg_catalog.=) 'off'
     OR pg_catalog.current_setting('wee5_cron.default_jobs') OPERATOR(pg_catalog.=) 'off' THEN
    RETURN;
  END IF;
  -- While a script of an extension runs, Postgres hides its notices; these are meant to be seen. What the session had set
  -- itself is not to be known here, only what it began with.
  IF pg_catalog.current_setting('client_min_messages') OPERATOR(pg_catalog.=) 'warning' THEN
    PERFORM pg_catalog.set_config('client_min_messages', reset_val, true)
    FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'client_min_messages';
  END IF;
  IF wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.register_jobs();
  ELSE
    RAISE NOTICE 'pg_cron is not installed in database "%": no jobs are made', pg_catalog.current_database()
      USING HINT = 'When it is, SELECT wee5_cron.register_jobs(); which also says what to do where pg_cron is in another database.';
  END IF;
END
$$;
