-- doctor(): what keeps calls from being made, or the secret from being one, in words and with what to do about it.
-- Each topic is a function of its own in the files that follow, and one that fails does not keep the others from telling.
--
-- A hint can be pasted into psql as it stands: SQL, with what is said to a person behind "--".

CREATE TYPE wee5_cron.finding AS (check_name text, status text, detail text, hint text);
COMMENT ON TYPE wee5_cron.finding IS 'A line of doctor(): status is ok, warning or error; hint can be pasted into psql';

-- Prose for a hint. Texts from elsewhere stand in it: none of their lines may become a statement.
CREATE FUNCTION wee5_cron.doctor_comment(prose text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- ' || regexp_replace(prose, '[\r\n\v\f]+', E'\n-- ', 'g') $$;
COMMENT ON FUNCTION wee5_cron.doctor_comment(text) IS 'Internal, of doctor(): prose for a hint that is pasted into psql';

-- The statement that changes a setting where it is stored now.
CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'vault' THEN
        format('SELECT vault.update_secret((SELECT id FROM vault.secrets WHERE name = %L), %L);',
               current_setting('wee5_cron.vault_' || replace(setting, 'app.settings.', '')), value)
      ELSE CASE source
             WHEN 'role in database' THEN format('ALTER ROLE %I IN DATABASE %I', role, current_database())
             WHEN 'role' THEN format('ALTER ROLE %I', role)
             WHEN 'all' THEN 'ALTER ROLE ALL'
             ELSE format('ALTER DATABASE %I', current_database())
           END || format(' SET %s = %L;', setting, value)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, of doctor(): the statement that changes a setting where it is stored';

-- The statement that preloads what this database needs, beside what is preloaded now. Several checks give it as their
-- hint, so it is the same statement for all of them: pasted one after the other, none takes back what another one added.
-- A server does not start with a library in the list that it does not have, hence the looks.
CREATE FUNCTION wee5_cron.doctor_preload() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH preloaded AS (
      SELECT btrim(name, ' "') AS name, n
      FROM unnest(string_to_array(wee5_cron.server_setting('shared_preload_libraries'), ',')) WITH ORDINALITY AS l (name, n)
      WHERE btrim(name, ' "') <> ''
    ), needed (name, n) AS (
      SELECT 'pg_cron', 1001 WHERE EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_cron')
      UNION ALL SELECT 'pg_net', 1002 WHERE EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_net')
      UNION ALL SELECT 'wee5_cron', 1003
    )
    SELECT format(E'ALTER SYSTEM SET shared_preload_libraries = %s;\n-- then restart the server',
                  string_agg(quote_literal(name), ', ' ORDER BY n))
    FROM (SELECT p.name, p.n FROM preloaded p
          UNION ALL
          SELECT n.name, n.n FROM needed n WHERE n.name NOT IN (SELECT p.name FROM preloaded p)) l
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload() IS
  'Internal, of doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';

-- The users whose settings matter: those of the jobs that call us. Where pg_cron is elsewhere, those in whose name jobs
-- called last. Where there is no job, whoever asks.
CREATE FUNCTION wee5_cron.doctor_roles() RETURNS SETOF name
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    RETURN QUERY EXECUTE $query$
      SELECT DISTINCT j.username::name FROM cron.job j
      WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
      ORDER BY 1 LIMIT 20
    $query$;
  ELSE
    RETURN QUERY
      SELECT DISTINCT newest.requested_by
      FROM wee5_cron.jobs_that_call() j
      CROSS JOIN LATERAL (
        -- A range and not an equality: with that the planner may walk the primary key instead, through all other rows.
        SELECT i.requested_by FROM wee5_cron.invocation i
        WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name
        ORDER BY i.job_name DESC, i.id DESC LIMIT 1) newest
      ORDER BY 1 LIMIT 20;
  END IF;
  IF NOT FOUND THEN
    RETURN NEXT session_user;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_roles() IS 'Internal, of doctor(): the users whose settings matter';

-- Texts that others wrote, such as pg_cron's messages, without any secret that a call may carry.
CREATE FUNCTION wee5_cron.doctor_redact(value text) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  role name;
BEGIN
  FOR role IN
    SELECT ''  -- what is stored for everybody, and what Vault holds
    UNION
    SELECT coalesce(r.rolname, '')
    FROM pg_db_role_setting s
    CROSS JOIN unnest(s.setconfig) AS entry
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE entry ILIKE 'app.settings.cron\_secret=%'
  LOOP
    value := wee5_cron.redact_for(role, value);
  END LOOP;
  RETURN value;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_redact(text) IS 'Internal, of doctor(): text from elsewhere without the secret';

CREATE FUNCTION wee5_cron.doctor() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- Who locks a table for long is not waited for; nothing here is worth being compiled; the backslashes of patterns mean
  -- what they say; and no plan shows whoever asks what is struck out of texts before they are told.
  SET lock_timeout = '250ms' SET jit = off SET standard_conforming_strings = on
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  topic record;
  message text;
BEGIN
  FOR topic IN
    SELECT *
    FROM (VALUES
      ('doctor_pg_cron', 'pg_cron_loaded pg_cron_created pg_cron_database pg_cron_launcher'),
      ('doctor_library', 'library_preloaded library_version'),
      ('doctor_armed', 'armed'),
      ('doctor_enabled', 'enabled'),
      ('doctor_subscription_target', 'subscription_target'),
      ('doctor_physical_clone', 'physical_clone'),
      ('doctor_tables', 'ledger_tables'),
      ('doctor_policies', 'policies'),
      ('doctor_worker_slots', 'worker_slots'),
      ('doctor_jobs', 'jobs_made job_calls_us job_active'),
      ('doctor_job_setup', 'job_owner job_schedule job_command job_database'),
      ('doctor_job_runs', 'job_last_run'),
      ('doctor_job_waiting', 'job_waiting'),
      ('doctor_api_url', 'api_url api_url_https api_url_loopback'),
      ('doctor_api_url_resolves', 'api_url_resolves'),
      ('doctor_proxy', 'proxy'),
      ('doctor_cron_secret', 'cron_secret cron_secret_length'),
      ('doctor_cron_secret_readers', 'cron_secret_readers protect_secret'),
      ('doctor_secret_in_jobs', 'secret_in_jobs'),
      ('doctor_transport', 'transport'),
      ('doctor_worker', 'worker'),
      ('doctor_queue', 'queue'),
      ('doctor_pg_net', 'pg_net_worker pg_net_harvest pg_net_queue pg_net_tampering pg_net_readers'),
      ('doctor_retrying', 'retrying'),
      ('doctor_last_outcome', 'last_outcome'),
      ('doctor_history', 'ledger_history pg_cron_history'),
      ('doctor_callers', 'callers'),
      ('doctor_namesakes', 'namesakes')
    ) AS t (function, checks)
  LOOP
    BEGIN
      RETURN QUERY EXECUTE format('SELECT * FROM wee5_cron.%I()', topic.function);
    EXCEPTION WHEN OTHERS THEN
      message := SQLERRM;
      BEGIN
        message := wee5_cron.doctor_redact(message);
      EXCEPTION WHEN OTHERS THEN
        -- Without the library nothing can be struck out.
        message := 'SQLSTATE ' || SQLSTATE;
      END;
      RETURN QUERY
        SELECT c.name, 'error', 'this could not be looked at: ' || message,
               format('SELECT * FROM wee5_cron.%I(); -- as a superuser, for the whole error', topic.function)
        FROM unnest(string_to_array(topic.checks, ' ')) AS c (name);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor() IS
  'Looks at everything that keeps calls from being made or the secret from being one. status: ok, warning or error; a hint can be pasted into psql. Every check has at least one line';
