-- doctor(): the jobs. Dynamic SQL where it reads cron.job, because pg_cron may be created after the extension and
-- dropped before it.

-- A job in a sentence.
CREATE FUNCTION wee5_cron.doctor_job_name(job_name text, jobid bigint) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce('job "' || left(nullif($1, ''), 255) || '"', format('jobid %s', $2)) $$;
COMMENT ON FUNCTION wee5_cron.doctor_job_name(text, bigint) IS 'Internal, for doctor(): what a finding calls a job';

-- The statement that makes a job call a path. A comment where the path is not known, or where the job does more than select one
-- thing: the statement would take the rest away.
CREATE FUNCTION wee5_cron.doctor_call_instead(jobid bigint, endpoint_path text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  command text;
BEGIN
  EXECUTE 'SELECT regexp_replace(j.command, $1, $2, $3) FROM cron.job j WHERE j.jobid = $4'
  INTO command USING $q$'[^']*'$q$, '', 'g', $1;
  FOR depth IN 1 .. 20 LOOP
    command := regexp_replace(command, '\([^()]*\)', '', 'g');
  END LOOP;
  IF (endpoint_path LIKE '/%' OR wee5_cron.target_of(endpoint_path) IS NOT NULL)
     AND command ~* '^\s*SELECT\s+[\w."]+(\s+AS\s+[\w"]+)?\s*;?\s*$' THEN
    RETURN format('SELECT cron.alter_job(%s, command => %L);', $1,
                  format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), endpoint_path));
  END IF;
  RETURN wee5_cron.doctor_comment(format('Change its command so that it calls %I.invoke_cron_endpoint().', wee5_cron.call_schema()));
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_call_instead(bigint, text) IS
  'Internal, for doctor(): the statement that makes a job call a path';

CREATE FUNCTION wee5_cron.doctor_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  calling bigint;
  names text;
  job record;
  lines bigint := 0;
BEGIN
  PERFORM wee5_cron.library_preloaded();  -- defines the settings
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY SELECT * FROM wee5_cron.doctor_jobs_elsewhere();
    RETURN;
  END IF;
  SELECT count(*), string_agg(coalesce(j.job_name, 'jobid ' || j.jobid), ', ' ORDER BY j.job_name)
  INTO calling, names FROM wee5_cron.calling_jobs() j;
  IF wee5_cron.setting('default_jobs')::boolean THEN
    FOR job IN EXECUTE $query$
      SELECT d.job_name, coalesce(k.registered, false) AS registered
      FROM wee5_cron.jobs_to_register() d
      LEFT JOIN wee5_cron.job k ON k.job_name = d.job_name
      WHERE d.endpoint_path IS NOT NULL
        -- If unregister_jobs() removed all of them and other jobs call, they are not wanted. Where configure() registers jobs, what
        -- it removed is remembered.
        AND ($1 = 0 OR EXISTS (SELECT FROM wee5_cron.job r
                               WHERE r.registered AND r.job_name <> 'wee5-cron-harvest'
                                 AND (NOT wee5_cron.configure_registers_jobs()
                                      OR EXISTS (SELECT FROM cron.job c WHERE c.jobname = r.job_name AND c.database = current_database()))))
        AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobname = d.job_name AND j.database = current_database())
      ORDER BY d.job_name
    $query$ USING calling
    LOOP
      lines := lines + 1;
      RETURN NEXT ('jobs_made', CASE WHEN job.registered THEN 'warning' ELSE 'error' END,
                   format('job "%s" was ', job.job_name)
                   || CASE WHEN job.registered THEN 'registered but no longer exists' ELSE 'never registered' END,
                   format(E'SELECT wee5_cron.register_jobs(%s);\n'
                          '-- or, if you do not want it: ALTER DATABASE %I SET wee5_cron.default_jobs = off;',
                          CASE WHEN job.registered THEN 'force => true' END, current_database()))::wee5_cron.finding;
    END LOOP;
  END IF;
  IF lines = 0 AND calling > 0 THEN
    RETURN NEXT ('jobs_made', 'ok', format('%s %s the app: %s', calling, CASE calling WHEN 1 THEN 'job calls' ELSE 'jobs call' END,
                                           names), NULL)::wee5_cron.finding;
  ELSIF lines = 0 THEN
    RETURN NEXT ('jobs_made', 'warning', 'no job of this database calls the app',
                 'SELECT wee5_cron.schedule(''nightly-report'', ''15 3 * * *'', ''/api/reports/nightly'');'
                )::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_jobs() IS 'Internal, for doctor(): whether there are jobs that call the app';

CREATE FUNCTION wee5_cron.doctor_jobs_elsewhere() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
  names text;
  statements text;
BEGIN
  FOR job IN SELECT s.job_name, s.last_call, s.longest_pause FROM wee5_cron.silent_jobs() s ORDER BY s.job_name LOOP
    lines := lines + 1;
    RETURN NEXT ('jobs_made', 'warning',
                 format('job "%s" has not called since %s; before that it called at least every %s', job.job_name,
                        to_char(job.last_call, 'YYYY-MM-DD HH24:MI'), date_trunc('second', job.longest_pause)),
                 wee5_cron.doctor_comment(format(
                   'Ask doctor() in the database that has pg_cron. If this database was renamed, its jobs need the new name: '
                   'SELECT cron.alter_job(jobid, database => %L) FROM cron.job WHERE database = ''the old name'';',
                   current_database())))::wee5_cron.finding;
  END LOOP;
  IF lines > 0 THEN
    RETURN;
  END IF;
  SELECT string_agg(j.job_name, ', ' ORDER BY j.job_name) INTO names FROM wee5_cron.known_jobs() j;
  IF names IS NOT NULL THEN
    RETURN NEXT ('jobs_made', 'ok', 'pg_cron is in another database; jobs known from the ledger: ' || names,
                 NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  BEGIN
    PERFORM wee5_cron.raise_no_pg_cron();
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS statements = PG_EXCEPTION_HINT;
  END;
  RETURN NEXT ('jobs_made', 'warning', 'pg_cron is not in this database, and no job has made a call here',
               statements)::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_jobs_elsewhere() IS
  'Internal, for doctor(): what the ledger knows of jobs if pg_cron is not in this database';

CREATE FUNCTION wee5_cron.doctor_job_calls() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
BEGIN
  FOR job IN EXECUTE $query$
    SELECT j.jobid, wee5_cron.doctor_job_name(j.jobname, j.jobid) AS name,
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
    IF job.schema IS NOT NULL THEN
      RETURN NEXT ('job_calls_us', 'error',
                   format('%s calls %I.invoke_cron_endpoint(), which does not belong to wee5_cron', job.name, job.schema),
                   wee5_cron.doctor_call_instead(job.jobid, job.path))::wee5_cron.finding;
    ELSE
      RETURN NEXT ('job_calls_us', 'warning',
                   format('%s has the name of a job of wee5_cron, but does not call the app', job.name),
                   wee5_cron.doctor_call_instead(job.jobid, job.path))::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_calls_us', 'ok', 'all jobs that call the app do so with wee5_cron', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_calls() IS
  'Internal, for doctor(): jobs that call another invoke_cron_endpoint(), or have the name of a job of ours and do not call';

CREATE FUNCTION wee5_cron.doctor_job_active() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
BEGIN
  FOR job IN
    SELECT j.jobid, j.job_name, j.name_shared, k.paused_at, k.pause_note
    FROM wee5_cron.calling_jobs() j LEFT JOIN wee5_cron.job k ON k.job_name = j.job_name
    WHERE NOT j.active ORDER BY j.job_name, j.jobid
  LOOP
    lines := lines + 1;
    RETURN NEXT ('job_active', 'warning',
                 format('%s is paused%s%s', wee5_cron.doctor_job_name(job.job_name, job.jobid),
                        to_char(job.paused_at, '" since "YYYY-MM-DD HH24:MI'), ': ' || job.pause_note),
                 CASE WHEN job.job_name IS NULL OR job.name_shared
                      THEN format('SELECT cron.alter_job(%s, active => true);', job.jobid)
                      ELSE format('SELECT wee5_cron.resume(%L);', job.job_name) END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_active', 'ok', 'no job is paused', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_active() IS 'Internal, for doctor(): which jobs are paused';

-- Finds what stops a job from calling, or keeps wee5_cron from knowing which job made a call. A check without a line is
-- ok.
CREATE FUNCTION wee5_cron.doctor_job_faults() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
BEGIN
  FOR job IN
    -- What many jobs have in common is asked once.
    WITH job AS MATERIALIZED (
      SELECT c.*, wee5_cron.functions_of_command(c.command) AS called FROM wee5_cron.calling_jobs() c
    ), allowed AS MATERIALIZED (
      SELECT a.username, a.called, wee5_cron.may_run(a.username::name, a.command) AS may_run
      FROM (SELECT b.username, b.called, min(b.command) AS command FROM job b GROUP BY b.username, b.called) a
    ), planned AS MATERIALIZED (
      SELECT s.schedule, wee5_cron.never_fires(s.schedule, now()) AS never_fires FROM (SELECT DISTINCT b.schedule FROM job b) s
    )
    SELECT j.*, wee5_cron.doctor_job_name(j.job_name, j.jobid) AS name, a.may_run, p.never_fires,
           first_value(j.jobid) OVER same AS twin_of,
           string_agg(coalesce('"' || j.job_name || '"', 'jobid ' || j.jobid), ', ') OVER same AS twins
    FROM job j
    JOIN allowed a ON a.username = j.username AND a.called = j.called
    JOIN planned p ON p.schedule = j.schedule
    WINDOW same AS (PARTITION BY j.command, j.username ORDER BY j.jobid ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ORDER BY j.job_name, j.jobid
  LOOP
    -- may_run is NULL, too, if somebody renamed the function: another check says so.
    IF to_regrole(quote_ident(job.username)) IS NULL THEN
      RETURN NEXT ('job_owner', 'error',
                   format('%s belongs to role "%s", which does not exist: it does not run', job.name, job.username),
                   format('SELECT cron.alter_job(%s, username => %L);', job.jobid, session_user))::wee5_cron.finding;
    ELSIF NOT job.may_run THEN
      RETURN NEXT ('job_owner', 'error', format('%s belongs to role "%s", which may not make calls', job.name, job.username),
                   wee5_cron.hint_for_owner(job.username))::wee5_cron.finding;
    END IF;
    IF job.never_fires THEN
      RETURN NEXT ('job_schedule', 'warning',
                   format('%s never runs: no day in the next 40 years matches its schedule "%s"', job.name, job.schedule),
                   wee5_cron.doctor_comment(format('Choose days that exist: SELECT cron.alter_job(%s, schedule => ''15 3 1 * *'');',
                                                   job.jobid)))::wee5_cron.finding;
    END IF;
    IF job.command_shared AND job.jobid <> job.twin_of THEN
      RETURN NEXT ('job_command', 'warning',
                   format('jobs %s have the same command: wee5_cron cannot tell which job made a call, so their calls carry no job '
                          'name and no schedule', job.twins),
                   -- The command itself is not shown: cron.job hides it from other users.
                   format('SELECT cron.alter_job(jobid, command => command || %L) FROM cron.job WHERE jobid = %s;',
                          ' -- job ' || job.jobid, job.jobid))::wee5_cron.finding;
    END IF;
  END LOOP;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, wee5_cron.doctor_job_name(j.jobname, j.jobid) AS name, j.database
    FROM cron.job j CROSS JOIN wee5_cron.other_call(j.command) o
    WHERE NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = j.database)
      -- Our function may be in another schema there.
      AND (wee5_cron.calls_us(j.command) OR o.schema IS NOT NULL)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    RETURN NEXT ('job_database', 'error',
                 format('%s is for database "%s", which does not exist: each run fails', job.name, job.database),
                 wee5_cron.doctor_comment(format(
                   'If the database has a new name: SELECT cron.alter_job(%1$s, database => ''its new name''); '
                   'If it is gone: SELECT cron.unschedule(%1$s);', job.jobid)))::wee5_cron.finding;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_faults() IS
  'Internal, for doctor(): jobs whose owner may not call, whose schedule never fires, that share a command, or whose database is gone';

CREATE FUNCTION wee5_cron.doctor_job_setup() RETURNS SETOF wee5_cron.finding
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH fault AS MATERIALIZED (
      SELECT * FROM wee5_cron.doctor_job_faults() WITH ORDINALITY AS f (check_name, status, detail, hint, n)
    )
    SELECT c.name, coalesce(f.status, 'ok'), coalesce(f.detail, c.fine), f.hint
    FROM (VALUES
      (1, 'job_owner', 'every job belongs to a role that may make calls'),
      (2, 'job_schedule', 'every schedule fires'),
      (3, 'job_command', 'no two jobs have the same command'),
      (4, 'job_database', 'every job is for a database that exists')
    ) AS c (position, name, fine)
    LEFT JOIN fault f ON f.check_name = c.name
    ORDER BY c.position, f.n
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_job_setup() IS
  'Internal, for doctor(): whether each job has an owner who may call, a schedule that fires, a command of its own, and a database';

-- Jobs whose calls are skipped while an earlier call waits for its next attempt.
CREATE FUNCTION wee5_cron.doctor_job_waiting() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  call record;
  lines bigint := 0;
BEGIN
  -- The newest call of each job that has a name. Calls without a name are found among the newest 500 calls.
  FOR job IN
    WITH newest AS MATERIALIZED (
      SELECT i.job_name, i.id, i.endpoint_path, i.status, i.reason, i.exclusive
      FROM (SELECT DISTINCT s.job_name FROM wee5_cron.known_jobs() s WHERE s.job_name IS NOT NULL) j
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
                 format('%s: %s because call %s of %s %s%s', coalesce('job "' || job.job_name || '"', 'a job without a name'),
                        CASE call.skipped WHEN 1 THEN 'a call was skipped' ELSE call.skipped || ' calls were skipped' END,
                        call.id, left(job.endpoint_path, 200),
                        CASE WHEN call.until IS NOT NULL THEN 'is retried at ' || to_char(call.until, 'YYYY-MM-DD HH24:MI:SS TZ')
                             WHEN call.attempts > 0 THEN 'is being retried'
                             ELSE 'has not been sent yet' END,
                        coalesce(': ' || call.error, '')),
                 format(E'SELECT wee5_cron.cancel(%s);\n-- cancels that call, so that the job can make its next one', call.id)
                )::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_waiting', 'ok', 'no job waits for an earlier call', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_waiting() IS
  'Internal, for doctor(): jobs whose calls are skipped because an earlier one has not been sent yet or waits to be retried, and until when';

-- What to do about a run that pg_cron logged as failed. Its two modes write different messages: with "ERROR:  " in front,
-- or with CONTEXT lines behind.
CREATE FUNCTION wee5_cron.doctor_run_hint(message text, jobid bigint, username text, path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN message LIKE '%connection failed%' OR message LIKE '%could not connect%'
           OR message LIKE '%connection to server%' OR message LIKE '%no password supplied%' THEN
        format(E'ALTER SYSTEM SET cron.use_background_workers = on;\n'
               '-- then restart the server. Or, without a restart, if pg_hba.conf lets %I in by the local socket:\n'
               'UPDATE cron.job SET nodename = '''' WHERE jobid = %s;', username, jobid)
      WHEN message LIKE '%job startup timeout%' OR message LIKE '%could not start background process%' THEN
        format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
               greatest(16, 2 * current_setting('max_worker_processes')::int))
      -- What a job's other statements may not do is not ours to grant.
      WHEN (regexp_match(message, '(?n)permission denied for (?:schema|function|procedure) (.+)$'))[1]
           IN ('wee5_cron', wee5_cron.call_schema(), 'invoke_cron_endpoint', 'invoke', 'run', 'wait_for') THEN
        format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(username))
      -- Postgres's own messages may be in any language: "... does not exist".
      WHEN split_part(message, E'\n', 1) LIKE '%invoke_cron_endpoint(%' AND path LIKE '/%' THEN
        wee5_cron.doctor_call_instead(jobid, path)
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
  'Internal, for doctor(): what to do about a run that pg_cron logged as failed';

-- Failed runs of jobs that are for other databases: the database that a job is for does not see pg_cron's history.
CREATE FUNCTION wee5_cron.doctor_runs_elsewhere(looked_at int) RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  advice text;
BEGIN
  FOR job IN EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT DISTINCT ON (r.jobid) r.jobid, r.status, coalesce(r.start_time, r.end_time) AS at, r.message
      FROM wee5_cron.newest_cron_runs(0, $1) r WHERE r.status IN ('succeeded', 'failed') ORDER BY r.jobid, r.runid DESC
    )
    SELECT j.jobid, wee5_cron.doctor_job_name(j.jobname, j.jobid) AS name, j.database, j.username, n.at, n.message,
           r.oid AS role, r.rolcanlogin, has_database_privilege(r.oid, d.oid, 'CONNECT') AS may_connect
    FROM newest n
    JOIN cron.job j ON j.jobid = n.jobid AND j.database <> current_database()
    JOIN pg_database d ON d.datname = j.database
    LEFT JOIN pg_roles r ON r.rolname = j.username
    CROSS JOIN wee5_cron.other_call(j.command) o
    -- Our function may be in another schema there.
    WHERE n.status = 'failed' AND (wee5_cron.calls_us(j.command) OR o.schema IS NOT NULL)
    ORDER BY j.jobname, j.jobid
  $query$ USING looked_at LOOP
    advice := wee5_cron.doctor_run_hint(job.message, job.jobid, job.username, NULL);
    RETURN NEXT ('job_last_run', 'error',
                 format('pg_cron logged the last run of %s, which is for database "%s",%s as failed: %s', job.name, job.database,
                        to_char(job.at, '" at "YYYY-MM-DD HH24:MI","'), wee5_cron.doctor_redact(job.message)),
                 CASE WHEN job.role IS NULL THEN format('SELECT cron.alter_job(%s, username => %L);', job.jobid, session_user)
                      WHEN NOT job.rolcanlogin THEN wee5_cron.hint_for_owner(job.username)
                      WHEN NOT job.may_connect THEN format('GRANT CONNECT ON DATABASE %I TO %I;', job.database, job.username)
                      WHEN advice ~ '^(SELECT wee5_cron\.|--)' THEN
                        wee5_cron.doctor_comment(format('In database "%s": %s', job.database, ltrim(advice, '- ')))
                      ELSE advice END)::wee5_cron.finding;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_runs_elsewhere(int) IS
  'Internal, for doctor(): the failed last runs of jobs that are for other databases, among that many of the newest runs';

CREATE FUNCTION wee5_cron.doctor_job_runs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  succeeded bigint := 0;
  never text;
  lines bigint := 0;
  -- All of the newest runs only if a job has not run lately.
  looked_at constant int := CASE WHEN EXISTS (
    SELECT FROM wee5_cron.calling_jobs() j
    WHERE j.jobid NOT IN (SELECT r.jobid FROM wee5_cron.newest_cron_runs(0, 2000) r WHERE r.status IN ('succeeded', 'failed'))
  ) THEN 20000 ELSE 2000 END;
BEGIN
  FOR job IN
    WITH ended AS MATERIALIZED (
      SELECT r.runid, r.jobid, r.status, coalesce(r.start_time, r.end_time) AS at, r.message
      FROM wee5_cron.newest_cron_runs(0, looked_at) r WHERE r.status IN ('succeeded', 'failed')
    ), newest AS MATERIALIZED (
      SELECT max(e.runid) AS runid FROM ended e GROUP BY e.jobid
    )
    SELECT j.jobid, j.job_name, j.username, j.command, j.endpoint_path, l.status, l.at, l.message
    FROM wee5_cron.calling_jobs() j
    LEFT JOIN (ended l JOIN newest n ON n.runid = l.runid) ON l.jobid = j.jobid
    ORDER BY j.job_name, j.jobid
  LOOP
    IF job.status IS NULL THEN
      never := concat_ws(', ', never, coalesce(job.job_name, 'jobid ' || job.jobid));
    ELSIF job.status = 'succeeded' THEN
      succeeded := succeeded + 1;
    ELSE
      lines := lines + 1;
      RETURN NEXT ('job_last_run', 'error',
                   format('pg_cron logged the last run of %s%s as failed: %s', wee5_cron.doctor_job_name(job.job_name, job.jobid),
                          to_char(job.at, '", at "YYYY-MM-DD HH24:MI","'), wee5_cron.doctor_redact(job.message)),
                   CASE WHEN NOT wee5_cron.may_run(job.username::name, job.command) THEN wee5_cron.hint_for_owner(job.username)
                        ELSE wee5_cron.doctor_run_hint(job.message, job.jobid, job.username, job.endpoint_path) END
                  )::wee5_cron.finding;
    END IF;
  END LOOP;
  FOR job IN SELECT f.* FROM wee5_cron.doctor_runs_elsewhere(looked_at) f LOOP
    lines := lines + 1;
    RETURN NEXT job;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_last_run', 'ok',
                 format('jobs whose last run succeeded: %s', succeeded) || coalesce('; jobs that have not run yet: ' || never, ''),
                 NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_runs() IS 'Internal, for doctor(): how pg_cron logged the last run of each job';

-- The server's log, pg_cron's history and every dump show cron.job.command.
CREATE FUNCTION wee5_cron.doctor_secret_in_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
BEGIN
  FOR job IN EXECUTE $query$
    SELECT j.jobid, wee5_cron.doctor_job_name(j.jobname, j.jobid) AS name,
           coalesce((regexp_match(j.command, 'https?://[^/''"\s]+(/[^''"?#\s]*)'))[1],
                    CASE WHEN wee5_cron.calls_us(j.command) THEN wee5_cron.path_of_command(j.command) END) AS path
    FROM cron.job j
    WHERE j.command ~* 'bearer\s+[[:alnum:]._~+/=-]{8,}'
       -- Any text may contain a very short secret.
       OR ((SELECT s.length FROM wee5_cron.setting_sources(j.username::name) s WHERE s.name = 'app.settings.cron_secret') >= 8
           AND wee5_cron.redact_for(j.username::name, j.command) <> j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    lines := lines + 1;
    RETURN NEXT ('secret_in_jobs', 'error',
                 format('the command of %s contains a bearer secret, and so do pg_cron''s history and the server''s log', job.name),
                 wee5_cron.doctor_call_instead(job.jobid, CASE WHEN wee5_cron.doctor_redact(job.path) = job.path THEN job.path END)
                 || format(E'\nDELETE FROM cron.job_run_details WHERE jobid = %s;\n'
                           '-- then change the secret, in the app and here', job.jobid))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('secret_in_jobs', 'ok', 'no job has a secret in its command', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_secret_in_jobs() IS 'Internal, for doctor(): jobs whose command contains a secret';
