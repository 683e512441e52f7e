-- doctor(): the jobs. Dynamic SQL, since pg_cron may come after us and leave before.

CREATE FUNCTION wee5_cron.doctor_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant name := current_database();
  job record;
  names text;
  calling bigint;
  lines bigint := 0;
  schedule_lines text;
BEGIN
  PERFORM wee5_cron.library_preloaded();  -- defines the settings
  IF NOT wee5_cron.pg_cron_installed() THEN
    SELECT string_agg(j.job_name, ', ' ORDER BY j.job_name) INTO names FROM wee5_cron.jobs_that_call() j;
    FOR job IN
      SELECT j.job_name, s.* FROM wee5_cron.jobs_that_call() j CROSS JOIN LATERAL wee5_cron.silent_since(j.job_name) s
      WHERE s.last_call IS NOT NULL ORDER BY j.job_name
    LOOP
      lines := lines + 1;
      RETURN NEXT ('jobs_made', 'warning',
                   format('job "%s" has not called since %s; before that it called at least every %s', job.job_name,
                          to_char(job.last_call, 'YYYY-MM-DD HH24:MI'), date_trunc('second', job.longest_pause)),
                   wee5_cron.doctor_comment(format(
                     'Ask doctor() in the database that has pg_cron. If this database was renamed, its jobs need the new name: '
                     'SELECT cron.alter_job(jobid, database => %L) FROM cron.job WHERE database = ''the old name'';',
                     here)))::wee5_cron.finding;
    END LOOP;
    IF lines > 0 THEN
      NULL;
    ELSIF names IS NOT NULL THEN
      RETURN NEXT ('jobs_made', 'ok', 'known from the ledger, since pg_cron is elsewhere: ' || names,
                   NULL)::wee5_cron.finding;
    ELSE
      BEGIN
        PERFORM wee5_cron.raise_no_pg_cron();
      EXCEPTION WHEN object_not_in_prerequisite_state THEN
        GET STACKED DIAGNOSTICS schedule_lines = PG_EXCEPTION_HINT;
      END;
      RETURN NEXT ('jobs_made', 'warning', 'no job has made a call in this database, which pg_cron is not in',
                   schedule_lines)::wee5_cron.finding;
    END IF;
    RETURN NEXT ('job_calls_us', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN NEXT ('job_active', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;

  EXECUTE $query$
    SELECT count(*), string_agg(coalesce(j.jobname, 'jobid ' || j.jobid), ', ' ORDER BY j.jobname)
    FROM cron.job j WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
  $query$ INTO calling, names;
  IF current_setting('wee5_cron.default_jobs')::boolean THEN
    FOR job IN EXECUTE $query$
      SELECT d.job_name, coalesce(k.registered, false) AS made
      FROM wee5_cron.jobs_to_register() d
      LEFT JOIN wee5_cron.job k ON k.job_name = d.job_name
      WHERE d.endpoint_path IS NOT NULL
        -- Where unregister_jobs() took all of them away and others call us, that is how it is meant.
        AND ($1 = 0 OR EXISTS (SELECT FROM wee5_cron.job r WHERE r.registered))
        AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobname = d.job_name AND j.database = current_database())
      ORDER BY d.job_name
    $query$ USING calling
    LOOP
      lines := lines + 1;
      RETURN NEXT ('jobs_made', CASE WHEN job.made THEN 'warning' ELSE 'error' END,
                   format(CASE WHEN job.made THEN 'job "%s" was made, and is gone' ELSE 'job "%s" was not made' END,
                          job.job_name),
                   CASE WHEN job.made THEN 'SELECT wee5_cron.register_jobs(force => true);'
                        ELSE 'SELECT wee5_cron.register_jobs();' END
                   || format(E'\n-- or, where it is not wanted: ALTER DATABASE %I SET wee5_cron.default_jobs = off;',
                             here))::wee5_cron.finding;
    END LOOP;
  END IF;
  IF lines = 0 AND calling > 0 THEN
    RETURN NEXT ('jobs_made', 'ok', format('%s jobs call the app: %s', calling, names), NULL)::wee5_cron.finding;
  ELSIF lines = 0 THEN
    RETURN NEXT ('jobs_made', 'warning', 'no job of this database calls the app',
                 'SELECT wee5_cron.schedule(''nightly-report'', ''15 3 * * *'', ''/api/reports/nightly'');'
                )::wee5_cron.finding;
  END IF;

  lines := 0;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name,
           o.schema, coalesce(o.endpoint_path, k.endpoint_path, d.endpoint_path) AS path
    FROM cron.job j
    CROSS JOIN wee5_cron.other_call(j.command) o
    LEFT JOIN wee5_cron.job k ON k.job_name = j.jobname AND k.jobid IS NOT NULL
    LEFT JOIN wee5_cron.jobs_to_register() d ON d.job_name = j.jobname
    WHERE j.database = current_database()
      AND (o.schema IS NOT NULL
           OR NOT wee5_cron.calls_us(j.command) AND (k.endpoint_path IS NOT NULL OR d.endpoint_path IS NOT NULL))
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    lines := lines + 1;
    RETURN NEXT ('job_calls_us', CASE WHEN job.schema IS NOT NULL THEN 'error' ELSE 'warning' END,
                 format(CASE WHEN job.schema IS NOT NULL THEN 'job "%s" calls %I.invoke_cron_endpoint(), which is not ours'
                             ELSE 'job "%s" has the name of one of ours, and does not call us' END,
                        job.name, job.schema),
                 CASE WHEN job.path LIKE '/%' THEN
                   format('SELECT cron.alter_job(%s, command => %L);', job.jobid,
                          format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), job.path))
                 ELSE
                   wee5_cron.doctor_comment(format('Let its command call %I.invoke_cron_endpoint().',
                                                   wee5_cron.call_schema()))
                 END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_calls_us', 'ok', 'no job calls anything else in our place', NULL)::wee5_cron.finding;
  END IF;

  lines := 0;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, j.jobname, coalesce(j.jobname, 'jobid ' || j.jobid) AS name, k.paused_at, k.pause_note,
           count(*) OVER (PARTITION BY j.jobname) AS namesakes, j.active
    FROM cron.job j
    LEFT JOIN wee5_cron.job k ON k.job_name = j.jobname
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    CONTINUE WHEN job.active;
    lines := lines + 1;
    RETURN NEXT ('job_active', 'warning',
                 format('job "%s" is paused', job.name) || coalesce(to_char(job.paused_at, '" since "YYYY-MM-DD HH24:MI'), '')
                 || coalesce(': ' || job.pause_note, ''),
                 CASE WHEN job.jobname IS NOT NULL AND job.namesakes = 1
                      THEN format('SELECT wee5_cron.resume(%L);', job.jobname)
                      ELSE format('SELECT cron.alter_job(%s, active => true);', job.jobid) END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_active', 'ok', 'no job is paused', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_jobs() IS 'Internal, of doctor(): whether the jobs are there, active and call us';

-- What keeps a job from calling, or its call from being told from others, whatever its runs came to.
CREATE FUNCTION wee5_cron.doctor_job_setup() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  checks constant text[] := '{job_owner,job_schedule,job_command,job_database}';
  fine constant text[] := array['every job belongs to a role that may make its call', 'every schedule comes',
                                'no two jobs have the same command', 'every job is for a database that exists'];
  job record;
  found wee5_cron.finding[] := '{}';
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY SELECT c, 'ok', 'does not apply: pg_cron is not in this database', NULL::text FROM unnest(checks) c;
    RETURN;
  END IF;
  FOR job IN
    SELECT j.*, coalesce('job "' || j.job_name || '"', 'jobid ' || j.jobid) AS name,
           wee5_cron.may_run(j.username::name, j.command) AS may_run, wee5_cron.never_fires(j.schedule, now()) AS never_fires,
           first_value(j.jobid) OVER same AS twin_of, string_agg(coalesce('"' || j.job_name || '"', 'jobid ' || j.jobid), ', ') OVER same AS twins
    FROM wee5_cron.calling_jobs() j
    WINDOW same AS (PARTITION BY j.command, j.username ORDER BY j.jobid ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ORDER BY j.job_name, j.jobid
  LOOP
    IF job.may_run IS NULL THEN
      found := found || ('job_owner', 'error', format('%s belongs to role "%s", which does not exist: it does not run', job.name, job.username),
                   format('SELECT cron.alter_job(%s, username => %L);', job.jobid, session_user))::wee5_cron.finding;
    ELSIF NOT job.may_run THEN
      found := found || ('job_owner', 'error', format('%s belongs to "%s", who may not make its call', job.name, job.username),
                   wee5_cron.hint_for_owner(job.username))::wee5_cron.finding;
    END IF;
    IF job.never_fires THEN
      found := found || ('job_schedule', 'warning',
                   format('%s never runs: no day in the next 40 years matches its schedule "%s"', job.name, job.schedule),
                   wee5_cron.doctor_comment(format('Give it days that there are: SELECT cron.alter_job(%s, schedule => ''15 3 1 * *'');',
                                                   job.jobid)))::wee5_cron.finding;
    END IF;
    IF job.command_shared AND job.jobid <> job.twin_of THEN
      found := found || ('job_command', 'warning',
                   format('jobs %s have the same command: nobody can tell whose a call is, so their calls carry no job name and no schedule',
                          job.twins),
                   -- The command itself is not shown: cron.job hides it from other users.
                   format('SELECT cron.alter_job(jobid, command => command || %L) FROM cron.job WHERE jobid = %s;',
                          ' -- job ' || job.jobid, job.jobid))::wee5_cron.finding;
    END IF;
  END LOOP;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, coalesce('job "' || j.jobname || '"', 'jobid ' || j.jobid) AS name, j.database
    FROM cron.job j CROSS JOIN wee5_cron.other_call(j.command) o
    WHERE NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = j.database)
      -- Our function may be in another schema there.
      AND (wee5_cron.calls_us(j.command) OR o.schema IS NOT NULL)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    found := found || ('job_database', 'error',
                 format('%s is for database "%s", which does not exist: each run fails', job.name, job.database),
                 wee5_cron.doctor_comment(format(
                   'If the database has a new name: SELECT cron.alter_job(%1$s, database => ''its new name''); '
                   'if it is gone: SELECT cron.unschedule(%1$s);', job.jobid)))::wee5_cron.finding;
  END LOOP;
  RETURN QUERY
    SELECT l.check_name, l.status, l.detail, l.hint
    FROM unnest(checks, fine) WITH ORDINALITY AS c (name, said, n)
    CROSS JOIN LATERAL (
      SELECT f.* FROM unnest(found) AS f WHERE f.check_name = c.name
      UNION ALL
      SELECT c.name, 'ok', c.said, NULL WHERE NOT EXISTS (SELECT FROM unnest(found) AS f WHERE f.check_name = c.name)
    ) l
    ORDER BY c.n;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_setup() IS
  'Internal, of doctor(): whether each job has an owner who may call, a schedule that comes, a command of its own, and a database';

-- Jobs whose calls are skipped since one waits to be made again.
CREATE FUNCTION wee5_cron.doctor_job_waiting() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  call record;
  lines bigint := 0;
BEGIN
  -- The newest call of each job that has a name, and of what has none as far as it is among the newest calls.
  FOR job IN
    WITH newest AS MATERIALIZED (
      SELECT i.job_name, i.id, i.endpoint_path, i.status, i.reason, i.exclusive
      FROM (SELECT DISTINCT s.job_name FROM wee5_cron.jobs_that_call() s WHERE s.job_name IS NOT NULL) j
      CROSS JOIN LATERAL (
        SELECT n.* FROM wee5_cron.invocation n WHERE n.job_name >= j.job_name AND n.job_name <= j.job_name
        ORDER BY n.job_name DESC, n.id DESC LIMIT 1) i
      UNION ALL
      (SELECT DISTINCT ON (r.endpoint_path) NULL, r.id, r.endpoint_path, r.status, r.reason, r.exclusive
       FROM (SELECT * FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 500) r
       WHERE r.job_name IS NULL
       ORDER BY r.endpoint_path, r.id DESC)
    )
    SELECT n.* FROM newest n WHERE n.status = 'skipped' AND n.reason = 'overlap' ORDER BY n.job_name, n.endpoint_path
  LOOP
    SELECT w.*, (SELECT count(*)
                 FROM (SELECT i.status, i.reason, i.endpoint_path FROM wee5_cron.invocation i
                       WHERE i.id > w.id AND (job.job_name IS NULL OR i.job_name = job.job_name) ORDER BY i.id LIMIT 2000) i
                 WHERE i.endpoint_path = job.endpoint_path AND i.status = 'skipped' AND i.reason = 'overlap') AS skipped
    INTO call FROM wee5_cron.waiting_call(job.endpoint_path, job.exclusive, job.id) w;
    CONTINUE WHEN call.id IS NULL;
    lines := lines + 1;
    RETURN NEXT ('job_waiting', 'warning',
                 format('%s: %s since call %s of %s %s%s', coalesce('job "' || job.job_name || '"', 'a job without a name'),
                        CASE call.skipped WHEN 1 THEN 'a call was skipped' ELSE call.skipped || ' calls were skipped' END,
                        call.id, left(job.endpoint_path, 200),
                        CASE WHEN call.until IS NOT NULL THEN 'is made again at ' || to_char(call.until, 'YYYY-MM-DD HH24:MI:SS TZ')
                             WHEN call.attempts > 0 THEN 'is being made again'
                             ELSE 'has not been sent yet' END,
                        coalesce(': ' || call.error, '')),
                 format(E'SELECT wee5_cron.cancel(%s);\n-- gives that call up, so that the job''s next one is made', call.id)
                )::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_waiting', 'ok', 'no job waits for an earlier call', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_waiting() IS
  'Internal, of doctor(): which jobs skip their calls since one is to be made again, and when that is';

-- What to do about a run that pg_cron booked as failed. Its messages differ by mode: "ERROR:  x", CONTEXT lines.
CREATE FUNCTION wee5_cron.doctor_run_hint(message text, jobid bigint, username text, path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN message LIKE '%connection failed%' OR message LIKE '%could not connect%'
           OR message LIKE '%connection to server%' OR message LIKE '%no password supplied%' THEN
        format(E'ALTER SYSTEM SET cron.use_background_workers = on;\n'
               '-- then restart the server. Without a restart, by the local socket, if that lets %I in:\n'
               'UPDATE cron.job SET nodename = '''' WHERE jobid = %s;', username, jobid)
      WHEN message LIKE '%job startup timeout%' OR message LIKE '%could not start background process%' THEN
        format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
               greatest(16, 2 * current_setting('max_worker_processes')::int))
      WHEN message LIKE '%permission denied for%' THEN
        format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(username))
      WHEN message LIKE '%invoke_cron_endpoint%does not exist%' AND path LIKE '/%' THEN
        format('SELECT cron.alter_job(%s, command => %L);', jobid,
               format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), path))
      WHEN message LIKE '%app.settings.%is not set%' THEN
        wee5_cron.doctor_comment('See the lines api_url and cron_secret.')
      WHEN message LIKE '%shared_preload_libraries%' THEN
        wee5_cron.doctor_comment('See the line library_preloaded.')
      WHEN message ~ 'call \d+ of .* (failed|was not made)' THEN
        wee5_cron.doctor_comment('See the line last_outcome.')
      ELSE format('SELECT * FROM cron.job_run_details WHERE jobid = %s ORDER BY runid DESC LIMIT 5;', jobid)
    END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_run_hint(text, bigint, text, text) IS
  'Internal, of doctor(): what to do about a run that pg_cron booked as failed';

CREATE FUNCTION wee5_cron.doctor_job_runs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  succeeded bigint := 0;
  never text;
  lines bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('job_last_run', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  -- pg_cron's history has one index, on runid.
  FOR job IN EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.jobid, d.runid, d.status, d.return_message, coalesce(d.start_time, d.end_time) AS at
      FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000
    ), last AS (
      SELECT DISTINCT ON (n.jobid) n.* FROM newest n WHERE n.status IN ('succeeded', 'failed')
      ORDER BY n.jobid, n.runid DESC
    )
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name, j.username, wee5_cron.path_of_command(j.command) AS path,
           l.status, l.at, btrim(l.return_message, E' \r\n') AS message
    FROM cron.job j LEFT JOIN last l ON l.jobid = j.jobid
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    IF job.status IS NULL THEN
      never := concat_ws(', ', never, job.name);
    ELSIF job.status = 'succeeded' THEN
      succeeded := succeeded + 1;
    ELSE
      lines := lines + 1;
      RETURN NEXT ('job_last_run', 'error',
                   format('pg_cron booked the last run of job "%s"%s as failed: %s', job.name,
                          to_char(job.at, '" of "YYYY-MM-DD HH24:MI'), wee5_cron.doctor_redact(job.message)),
                   wee5_cron.doctor_run_hint(job.message, job.jobid, job.username, job.path))::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_last_run', 'ok',
                 format('the last run of %s jobs succeeded', succeeded) || coalesce('; not yet run: ' || never, ''),
                 NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_runs() IS 'Internal, of doctor(): what pg_cron booked about the last run of each job';

-- cron.job.command goes to the server's log, to pg_cron's history and into every dump.
CREATE FUNCTION wee5_cron.doctor_secret_in_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('secret_in_jobs', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name,
           coalesce((regexp_match(j.command, 'https?://[^/''"\s]+(/[^''"?#\s]*)'))[1],
                    CASE WHEN wee5_cron.calls_us(j.command) THEN wee5_cron.path_of_command(j.command) END) AS path
    FROM cron.job j
    WHERE j.command ~* 'bearer\s+[[:alnum:]._~+/=-]{8,}'
       -- A very short secret stands in any text.
       OR ((SELECT s.length FROM wee5_cron.setting_sources(j.username::name) s WHERE s.name = 'app.settings.cron_secret') >= 8
           AND wee5_cron.redact_for(j.username::name, j.command) <> j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    lines := lines + 1;
    RETURN NEXT ('secret_in_jobs', 'error',
                 format('a bearer secret stands in the command of job "%s", and so in pg_cron''s history and the '
                        'server''s log', job.name),
                 CASE WHEN job.path LIKE '/%' AND wee5_cron.doctor_redact(job.path) = job.path THEN
                   format('SELECT cron.alter_job(%s, command => %L);', job.jobid,
                          format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), job.path))
                 ELSE
                   wee5_cron.doctor_comment(format('Let its command call %I.invoke_cron_endpoint().',
                                                   wee5_cron.call_schema()))
                 END
                 || format(E'\nDELETE FROM cron.job_run_details WHERE jobid = %s;\n'
                           '-- then change the secret, in the app and here', job.jobid))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('secret_in_jobs', 'ok', 'no job has a secret in its command', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_secret_in_jobs() IS 'Internal, of doctor(): whether a secret stands in cron.job.command';
