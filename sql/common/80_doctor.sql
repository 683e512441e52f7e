-- doctor(): everything that could stop a call or expose the secret, with what to do about it. Each topic is a function
-- in the files that follow. If one fails, the others still report.
--
-- You can paste a hint into psql unchanged: it is SQL, with explanations behind "--".

CREATE TYPE wee5_cron.finding AS (check_name text, status text, detail text, hint text);
COMMENT ON TYPE wee5_cron.finding IS 'A line of doctor(). status is ok, warning or error; you can paste hint into psql';

-- Prose for a hint. It contains texts from elsewhere, and none of their lines may become a statement.
CREATE FUNCTION wee5_cron.doctor_comment(prose text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- ' || regexp_replace(prose, '[\r\n\v\f]+', E'\n-- ', 'g') $$;
COMMENT ON FUNCTION wee5_cron.doctor_comment(text) IS 'Internal, for doctor(): prose for a hint that is pasted into psql';

-- The users whose settings matter: the owners of the jobs that call. If pg_cron is in another database, the users of
-- the jobs' last calls. If there is no job, session_user.
CREATE FUNCTION wee5_cron.doctor_roles() RETURNS SETOF name
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp
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
    WHERE entry ILIKE ANY (array['app.settings.cron\_secret=%', 'app.settings.cron\_targets=%'])
  LOOP
    value := wee5_cron.redact_for(role, value);
  END LOOP;
  RETURN value;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_redact(text) IS 'Internal, for doctor(): text from elsewhere, without the secret';

CREATE FUNCTION wee5_cron.doctor() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- doctor() does not wait for a locked table, compiles nothing, takes the backslashes of its patterns literally,
  -- and shows no plan, which could contain secrets.
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
        RETURN QUERY EXECUTE format('SELECT f.check_name, f.status, f.detail, wee5_cron.hint_here(f.hint) FROM wee5_cron.%I() f',
                                    topic.function);
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
               format('SELECT * FROM wee5_cron.%I(); -- as the owner of wee5_cron, for the whole error', topic.function)
        FROM unnest(topic.checks) AS c (name);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor() IS
  'Looks at everything that could stop a call or expose the secret. status is ok, warning or error; you can paste a hint into psql. Every check has at least one line';
