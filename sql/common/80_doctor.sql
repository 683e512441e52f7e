-- doctor(): everything that could stop a call or expose the secret, with what to do about it. Each topic is a function
-- in the files that follow. If one fails, the others still report.
--
-- You can paste a hint into psql as it stands: it is SQL, with explanations behind "--".

CREATE TYPE wee5_cron.finding AS (check_name text, status text, detail text, hint text);
COMMENT ON TYPE wee5_cron.finding IS 'A line of doctor(). status is ok, warning or error; you can paste hint into psql';

-- Prose for a hint. It contains texts from elsewhere, and none of their lines may become a statement.
CREATE FUNCTION wee5_cron.doctor_comment(prose text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- ' || regexp_replace(prose, '[\r\n\v\f]+', E'\n-- ', 'g') $$;
COMMENT ON FUNCTION wee5_cron.doctor_comment(text) IS 'Internal, for doctor(): prose for a hint that is pasted into psql';

-- Changes a setting where it is stored now.
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
  'Internal, for doctor(): the statement that changes a setting where it is stored';

-- Preloads what this database needs, beside what is preloaded now. Several checks give this statement as their hint. It
-- is the same for all of them, so that pasting one after the other takes nothing back. A server does not start if it
-- lacks a library in the list: only installed ones are added.
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
  'Internal, for doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';

-- The users whose settings matter: the owners of the jobs that call. If pg_cron is in another database, the users of
-- the jobs' last calls. If there is no job, session_user.
CREATE FUNCTION wee5_cron.doctor_roles() RETURNS SETOF name
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    RETURN QUERY SELECT DISTINCT j.username::name FROM wee5_cron.calling_jobs() j ORDER BY 1 LIMIT 20;
  ELSE
    RETURN QUERY
      SELECT DISTINCT newest.requested_by
      FROM wee5_cron.known_jobs() j
      CROSS JOIN LATERAL (
        -- A range: for an equality the planner may walk the primary key instead, through all other rows.
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
COMMENT ON FUNCTION wee5_cron.doctor_roles() IS 'Internal, for doctor(): the users whose settings matter';

-- Removes every secret that a call may carry from a text that others wrote, such as a message of pg_cron's.
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
COMMENT ON FUNCTION wee5_cron.doctor_redact(text) IS 'Internal, for doctor(): text from elsewhere, without the secret';

-- The topics of doctor(): a function each, the checks that it makes, and the extension that it needs in this database.
CREATE FUNCTION wee5_cron.doctor_topics(OUT function text, OUT checks text[], OUT needs text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT t.function, string_to_array(t.checks, ' '), t.needs
    FROM (VALUES
      ('doctor_pg_cron_loaded', 'pg_cron_loaded', NULL),
      ('doctor_pg_cron_created', 'pg_cron_created', NULL),
      ('doctor_pg_cron_database', 'pg_cron_database', 'pg_cron'),
      ('doctor_pg_cron_launcher', 'pg_cron_launcher', NULL),
      ('doctor_pg_cron_readable', 'pg_cron_readable', NULL),
      ('doctor_library', 'library_preloaded library_version', NULL),
      ('doctor_armed', 'armed', NULL),
      ('doctor_enabled', 'enabled', NULL),
      ('doctor_subscription_target', 'subscription_target', NULL),
      ('doctor_physical_clone', 'physical_clone', NULL),
      ('doctor_tables', 'ledger_tables', NULL),
      ('doctor_policies', 'policies', NULL),
      ('doctor_worker_slots', 'worker_slots', NULL),
      ('doctor_jobs', 'jobs_made', NULL),
      ('doctor_job_calls', 'job_calls_us', 'pg_cron'),
      ('doctor_job_active', 'job_active', 'pg_cron'),
      ('doctor_job_setup', 'job_owner job_schedule job_command job_database', 'pg_cron'),
      ('doctor_job_runs', 'job_last_run', 'pg_cron'),
      ('doctor_job_waiting', 'job_waiting', NULL),
      ('doctor_api_url', 'api_url', NULL),
      ('doctor_api_url_https', 'api_url_https', NULL),
      ('doctor_api_url_loopback', 'api_url_loopback', NULL),
      ('doctor_api_url_resolves', 'api_url_resolves', NULL),
      ('doctor_proxy', 'proxy', NULL),
      ('doctor_cron_secret', 'cron_secret cron_secret_length', NULL),
      ('doctor_cron_secret_readers', 'cron_secret_readers protect_secret', NULL),
      ('doctor_secret_in_jobs', 'secret_in_jobs', 'pg_cron'),
      ('doctor_transport', 'transport', NULL),
      ('doctor_worker', 'worker', NULL),
      ('doctor_queue', 'queue', NULL),
      ('doctor_pg_net_worker', 'pg_net_worker', 'pg_net'),
      ('doctor_pg_net_harvest', 'pg_net_harvest', 'pg_net'),
      ('doctor_pg_net_queue', 'pg_net_queue', 'pg_net'),
      ('doctor_pg_net_tampering', 'pg_net_tampering', 'pg_net'),
      ('doctor_pg_net_readers', 'pg_net_readers', 'pg_net'),
      ('doctor_retrying', 'retrying', NULL),
      ('doctor_last_outcome', 'last_outcome', NULL),
      ('doctor_history', 'ledger_history', NULL),
      ('doctor_pg_cron_history', 'pg_cron_history', 'pg_cron'),
      ('doctor_callers', 'callers', NULL),
      ('doctor_namesakes', 'namesakes', NULL)
    ) AS t (function, checks, needs)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_topics() IS
  'Internal, for doctor(): its topics, in the order of their lines, with the checks of each';

CREATE FUNCTION wee5_cron.doctor() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- doctor() does not wait for a locked table, compiles nothing, reads the backslashes of its patterns as they stand,
  -- and shows no plan, in which secrets could stand.
  SET lock_timeout = '250ms' SET jit = off SET standard_conforming_strings = on
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  topic record;
  message text;
BEGIN
  FOR topic IN SELECT * FROM wee5_cron.doctor_topics() LOOP
    BEGIN
      IF (CASE topic.needs WHEN 'pg_cron' THEN wee5_cron.pg_cron_installed()
                           WHEN 'pg_net' THEN wee5_cron.pg_net_installed() ELSE true END) THEN
        RETURN QUERY EXECUTE format('SELECT * FROM wee5_cron.%I()', topic.function);
      ELSE
        RETURN QUERY SELECT c.name, 'ok', format('does not apply: %s is not installed in this database', topic.needs), NULL::text
                     FROM unnest(topic.checks) AS c (name);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      message := SQLERRM;
      BEGIN
        message := wee5_cron.doctor_redact(message);
      EXCEPTION WHEN OTHERS THEN
        -- Without the library the message cannot be redacted.
        message := 'SQLSTATE ' || SQLSTATE;
      END;
      RETURN QUERY
        SELECT c.name, 'error', 'the check failed: ' || message,
               format('SELECT * FROM wee5_cron.%I(); -- as a superuser, for the whole error', topic.function)
        FROM unnest(topic.checks) AS c (name);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor() IS
  'Looks at everything that could stop a call or expose the secret. status is ok, warning or error; you can paste a hint into psql. Every check has at least one line';
