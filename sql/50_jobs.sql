-- The jobs that this extension makes in pg_cron, and running one by hand.

CREATE FUNCTION wee5_cron.library_preloaded() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_preloaded';
COMMENT ON FUNCTION wee5_cron.library_preloaded() IS
  'Internal: whether wee5_cron is in shared_preload_libraries. After this call the settings wee5_cron.* can be read';

-- Only superusers and members of pg_read_all_settings may look at these settings, and the extension's owner may be neither.
CREATE FUNCTION wee5_cron.server_setting(name text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_server_setting';
COMMENT ON FUNCTION wee5_cron.server_setting(text) IS
  'Internal: a setting of pg_cron, or shared_preload_libraries; NULL where there is no such setting';

-- What the command of a job does, read as SQL.
CREATE FUNCTION wee5_cron.calls_us(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_calls_us';
COMMENT ON FUNCTION wee5_cron.calls_us(text) IS
  'Internal: whether a job with this command calls our invoke_cron_endpoint() with one argument, wee5_cron.invoke() or wee5_cron.run()';

CREATE FUNCTION wee5_cron.path_of_command(command text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_path_of_command';
COMMENT ON FUNCTION wee5_cron.path_of_command(text) IS
  'Internal: the path that a job''s first call of us names, NULL where it makes none or the path is no literal';

CREATE FUNCTION wee5_cron.is_plain_call(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_is_plain_call';
COMMENT ON FUNCTION wee5_cron.is_plain_call(text) IS
  'Internal: whether a job''s command makes the call of one path, with no choices of its own, and nothing else';

CREATE FUNCTION wee5_cron.functions_of_command(command text) RETURNS text[]
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_functions_of_command';
COMMENT ON FUNCTION wee5_cron.functions_of_command(text) IS
  'Internal: which of invoke_cron_endpoint, invoke and run a job''s command calls';

CREATE FUNCTION wee5_cron.harvests(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_harvests';
COMMENT ON FUNCTION wee5_cron.harvests(text) IS 'Internal: whether a job''s command calls wee5_cron.harvest()';

CREATE FUNCTION wee5_cron.other_call(command text, OUT schema text, OUT endpoint_path text)
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_other_call';
COMMENT ON FUNCTION wee5_cron.other_call(text) IS
  'Internal: the schema and path of a call of an invoke_cron_endpoint(text) that is not ours; NULL where the command makes none';

-- pg_cron hands the same jobids out again after it was dropped, and a user can turn a job of ours into another one: so a
-- job counts as ours only where its number, its name and its call are those that we remember.
CREATE FUNCTION wee5_cron.is_remembered(jobid bigint, job_name text, command text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (SELECT FROM wee5_cron.job j
                   WHERE j.job_name = $2 AND j.jobid = $1
                     AND CASE WHEN j.endpoint_path IS NULL THEN wee5_cron.harvests(command)
                              ELSE wee5_cron.path_of_command(command) = j.endpoint_path END)
  $$;
COMMENT ON FUNCTION wee5_cron.is_remembered(bigint, text, text) IS
  'Internal: whether a job of cron.job is one that register_jobs() or schedule() made, and still makes its call';

-- Where invoke_cron_endpoint is: CREATE EXTENSION chose the schema.
CREATE FUNCTION wee5_cron.call_schema() RETURNS name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = 'invoke_cron_endpoint' AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.call_schema() IS 'Internal: the schema of invoke_cron_endpoint';

-- The jobs of this database that call us. label: how alerts name the job. Dynamic SQL: pg_cron may come after us, and
-- leave before.
CREATE FUNCTION wee5_cron.calling_jobs(OUT jobid bigint, OUT job_name text, OUT schedule text, OUT active boolean,
                                       OUT username text, OUT command text, OUT endpoint_path text, OUT label text,
                                       OUT name_shared boolean, OUT command_shared boolean)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE $query$
    SELECT j.jobid, j.jobname::text, j.schedule, j.active, j.username, j.command, wee5_cron.path_of_command(j.command),
           CASE WHEN j.jobname IS NULL OR count(*) OVER (PARTITION BY j.jobname) > 1 THEN '#' || j.jobid
                ELSE j.jobname::text END,
           j.jobname IS NOT NULL AND count(*) OVER (PARTITION BY j.jobname) > 1,
           -- The ledger knows a call of pg_cron's by the command that made it.
           count(*) OVER (PARTITION BY j.command, j.username) > 1
    FROM cron.job j
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
  $query$;
END
$$;
COMMENT ON FUNCTION wee5_cron.calling_jobs() IS 'Internal: the jobs of this database that call us, where pg_cron is in it';

-- What register_jobs() makes. Where the library is not preloaded there is no worker to book pg_net's answers.
CREATE FUNCTION wee5_cron.jobs_to_register(OUT job_name text, OUT schedule text, OUT command text, OUT endpoint_path text)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT j.name, j.schedule, format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), j.path), j.path
    FROM (VALUES ('poll-activities', '*/30 * * * *', '/api/cron/poll-activities'),
                 ('welcome-emails', '0 * * * *', '/api/cron/welcome-emails'),
                 ('daily-analytics', '0 0 * * *', '/api/analytics/cron')) AS j (name, schedule, path)
    UNION ALL
    SELECT 'wee5-cron-harvest', '* * * * *', 'SELECT wee5_cron.harvest()', NULL
    WHERE NOT wee5_cron.library_preloaded() AND wee5_cron.pg_net_installed()
  $$;
COMMENT ON FUNCTION wee5_cron.jobs_to_register() IS 'Internal: the jobs of register_jobs()';

-- pg_cron can be in one database of a server only, and makes jobs for the others: of a job that is asked for, the line
-- that makes it there; without one, those of register_jobs().
CREATE FUNCTION wee5_cron.raise_no_pg_cron(job_name text DEFAULT NULL, schedule text DEFAULT NULL,
                                           command text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
    USING ERRCODE = 'object_not_in_prerequisite_state',
          -- SQL to the last line, so that it can be pasted.
          HINT = (SELECT string_agg(format('SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                                           w.job_name || '@' || current_database(), w.schedule, w.command,
                                           current_database()), E'\n')
                         || E'\n-- in the database that has pg_cron'
                         || coalesce(' (cron.database_name: ' || wee5_cron.server_setting('cron.database_name') || ')', '')
                         || ', or CREATE EXTENSION pg_cron here'
                         -- The ledger cannot look the name up in cron.job.
                         || CASE WHEN $1 IS NULL THEN '' ELSE
                              format(E'\n-- and here, for the name in the ledger: INSERT INTO wee5_cron.job '
                                     '(job_name, endpoint_path) VALUES (%L, %L);', $1, wee5_cron.path_of_command($3)) END
                  FROM (SELECT $1, $2, $3 WHERE $1 IS NOT NULL
                        UNION ALL
                        SELECT j.job_name, j.schedule, j.command FROM wee5_cron.jobs_to_register() j
                        WHERE $1 IS NULL) AS w (job_name, schedule, command));
END
$$;
COMMENT ON FUNCTION wee5_cron.raise_no_pg_cron(text, text, text) IS
  'Internal: the error of the job functions in a database without pg_cron';

CREATE FUNCTION wee5_cron.find_job(job_name text, OUT jobid bigint, OUT username text, OUT schedule text,
                                   OUT command text, OUT active boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  owners text[];
  names text;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'job_name is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT job_name FROM wee5_cron.job_status;';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  EXECUTE $query$
    SELECT array_agg(j.username ORDER BY j.username) FROM cron.job j
    WHERE j.jobname = $1 AND j.database = current_database()
  $query$ INTO owners USING $1;
  IF owners IS NULL THEN
    EXECUTE $query$
      SELECT string_agg(format('%L', j.jobname), ', ' ORDER BY j.jobname) FROM cron.job j
      WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    $query$ INTO names;
    RAISE EXCEPTION 'there is no job "%" in database "%"', $1, current_database()
      USING ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('The jobs that make calls: ' || names || '.',
                            'No job here makes calls. SELECT wee5_cron.register_jobs();');
  ELSIF cardinality(owners) > 1 THEN
    RAISE EXCEPTION 'several users have a job "%": %', $1, array_to_string(owners, ', ')
      USING ERRCODE = 'ambiguous_alias',
            HINT = 'SELECT jobid, endpoint_path FROM wee5_cron.job_status; tells them apart. Call the path with '
                   'wee5_cron.invoke(), and change the job by its jobid with pg_cron''s cron.alter_job().';
  END IF;
  EXECUTE $query$
    SELECT j.jobid, j.username, j.schedule, j.command, j.active FROM cron.job j
    WHERE j.jobname = $1 AND j.database = current_database()
  $query$ INTO jobid, username, schedule, command, active USING $1;
  IF NOT wee5_cron.calls_us(command) THEN
    RAISE EXCEPTION 'job "%" does not call an endpoint', $1
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'This works with jobs that call invoke_cron_endpoint(), wee5_cron.invoke() or wee5_cron.run().';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_job(text) IS
  'Internal, of the functions that take a job''s name: the one job of this database with that name, or an error that says why not';

-- Hands one job to pg_cron. New jobs belong to session_user, but pg_cron looks at the current user, which in a
-- SECURITY DEFINER function is its owner: only schedule_in_database() takes a user's name.
CREATE FUNCTION wee5_cron.schedule_for_session_user(job_name text, schedule text, command text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  jobid bigint;
BEGIN
  IF wee5_cron.belongs_to_extension(
       'pg_proc', to_regprocedure('cron.schedule_in_database(text,text,text,text,text,boolean)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule_in_database($1, $2, $3, $4, $5, true)'
      INTO jobid USING $1, $2, $3, current_database()::text, session_user::text;
  ELSIF session_user = current_user
        AND wee5_cron.belongs_to_extension('pg_proc', to_regprocedure('cron.schedule(text,text,text)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO jobid USING $1, $2, $3;
  ELSE
    RAISE EXCEPTION 'pg_cron in this database is older than its cron.schedule_in_database(), which makes a job for a user'
      USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION pg_cron UPDATE;';
  END IF;
  -- session_user, and not the role that was SET: a login that does not inherit has less rights than it had just now.
  IF NOT wee5_cron.may_run(session_user, $3) THEN
    RAISE NOTICE 'job "%" belongs to "%", who may not make its call', $1, session_user
      USING HINT = wee5_cron.hint_for_owner(session_user);
  END IF;
  RETURN jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.schedule_for_session_user(text, text, text) IS 'Internal, of register_jobs(): makes one job in pg_cron';

CREATE FUNCTION wee5_cron.register_jobs(force boolean DEFAULT false) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  wanted record;
  taken record;
  known wee5_cron.job;
  new_jobid bigint;
  made bigint := 0;
  its_hint text;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  -- One at a time: pg_cron takes a name that exists for a change of that job.
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  FOR wanted IN SELECT * FROM wee5_cron.jobs_to_register() LOOP
    EXECUTE $query$
      SELECT j.jobid, j.username, j.database, j.database = current_database() AS here
      FROM cron.job j
      WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = session_user)
      ORDER BY here DESC, j.username = session_user DESC, j.jobid
      LIMIT 1
    $query$ INTO taken USING wanted.job_name;
    IF taken.here THEN
      RAISE NOTICE 'job "%" exists already and is left as it is', wanted.job_name
        USING DETAIL = format('It has jobid %s and belongs to "%s".', taken.jobid, taken.username);
      CONTINUE;
    ELSIF NOT taken.here THEN
      -- It would silently become this database's: names are unique for a user, whatever the database.
      RAISE NOTICE 'job "%" is not made: "%" has a job of that name in database "%"',
                   wanted.job_name, session_user, taken.database
        USING HINT = format('Give it a name of its own: SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                            wanted.job_name || '@' || current_database(), wanted.schedule, wanted.command,
                            current_database());
      CONTINUE;
    END IF;
    SELECT * INTO known FROM wee5_cron.job j WHERE j.job_name = wanted.job_name;
    IF known.registered AND force IS NOT TRUE THEN
      RAISE NOTICE 'job "%" was made before and deleted since: it is not brought back', wanted.job_name
        USING HINT = 'SELECT wee5_cron.register_jobs(force => true);';
      CONTINUE;
    END IF;
    BEGIN
      new_jobid := wee5_cron.schedule_for_session_user(wanted.job_name, wanted.schedule, wanted.command);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS its_hint = PG_EXCEPTION_HINT;
      RAISE NOTICE 'pg_cron did not take job "%": %', wanted.job_name, SQLERRM
        USING HINT = CASE its_hint WHEN '' THEN 'When that is settled: ' ELSE its_hint || ' Then: ' END
                     || 'SELECT wee5_cron.register_jobs();';
      CONTINUE;
    END;
    INSERT INTO wee5_cron.job AS j (job_name, jobid, endpoint_path, registered)
    VALUES (wanted.job_name, new_jobid, wanted.endpoint_path, true)
    ON CONFLICT (job_name) DO UPDATE
    SET jobid = excluded.jobid, endpoint_path = excluded.endpoint_path, registered = true;
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;
COMMENT ON FUNCTION wee5_cron.register_jobs(boolean) IS
  'Makes the three jobs in pg_cron for session_user, and where pg_net works without our library being preloaded one that books its answers; returns how many it made. What exists is left as it is; force brings back what was deleted';

-- Jobs change through pg_cron's own functions: cron.job itself is only read.
CREATE FUNCTION wee5_cron.remove_cron_job(jobid bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT wee5_cron.belongs_to_extension('pg_proc', to_regprocedure('cron.unschedule(bigint)'), 'pg_cron') THEN
    RAISE EXCEPTION 'pg_cron has no function cron.unschedule(bigint)'
      USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION pg_cron UPDATE;';
  END IF;
  EXECUTE 'SELECT cron.unschedule($1)' USING $1;
EXCEPTION WHEN internal_error THEN
  -- A session in which pg_cron was dropped and made again since it used this function keeps the old table's oid in it.
  EXECUTE 'DELETE FROM cron.job j WHERE j.jobid = $1' USING $1;
END
$$;
COMMENT ON FUNCTION wee5_cron.remove_cron_job(bigint) IS 'Internal: removes one job from pg_cron';

CREATE FUNCTION wee5_cron.unregister_jobs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  removed bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  FOR job IN EXECUTE $query$
    SELECT c.jobid FROM cron.job c
    WHERE c.database = current_database() AND c.jobname IN (SELECT j.job_name FROM wee5_cron.job j WHERE j.registered)
      AND wee5_cron.is_remembered(c.jobid, c.jobname, c.command)
  $query$ LOOP
    PERFORM wee5_cron.remove_cron_job(job.jobid);
    removed := removed + 1;
  END LOOP;
  DELETE FROM wee5_cron.job j WHERE j.registered;
  RETURN removed;
END
$$;
COMMENT ON FUNCTION wee5_cron.unregister_jobs() IS
  'Removes the jobs that register_jobs() made, no other, and returns how many that were';

CREATE FUNCTION wee5_cron.run_now(job_name text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job record;
  twin text;
BEGIN
  IF $1 IS NOT NULL AND NOT wee5_cron.pg_cron_installed() THEN
    SELECT j.job_name, j.endpoint_path INTO job
    FROM wee5_cron.job j WHERE j.job_name = $1 AND j.endpoint_path IS NOT NULL;
    IF NOT FOUND THEN
      PERFORM wee5_cron.raise_no_pg_cron();
    END IF;
    RETURN wee5_cron.invoke_for_job($1, job.endpoint_path, tick => now());
  END IF;

  SELECT f.jobid, f.username, f.schedule, f.command, wee5_cron.path_of_command(f.command) AS endpoint_path,
         wee5_cron.is_plain_call(f.command) AS is_plain
  INTO job FROM wee5_cron.find_job($1) f;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = job.username) THEN
    RAISE EXCEPTION 'job "%" belongs to "%", and there is no such role', $1, job.username
      USING ERRCODE = 'undefined_object',
            HINT = format('Give the job to a role that may call: SELECT cron.alter_job(%s, username => %L);',
                          job.jobid, session_user);
  END IF;
  -- Whoever may use pg_cron chooses name and path; whoever runs a job by its name lends it his right to call.
  IF wee5_cron.may_run(job.username, job.command) IS NOT TRUE THEN
    RAISE EXCEPTION 'job "%" belongs to "%", who may not call', $1, job.username
      USING ERRCODE = 'insufficient_privilege', HINT = wee5_cron.hint_for_owner(job.username);
  END IF;
  IF NOT job.is_plain THEN
    -- A plain GET of the path would not be the call that the job makes. Its command is not shown: cron.job hides it
    -- from other users than the job's own.
    RAISE EXCEPTION 'job "%" makes more than a plain call of one path', $1
      USING ERRCODE = 'feature_not_supported',
            HINT = format('Run its command yourself: SELECT command FROM cron.job WHERE jobid = %s;', job.jobid);
  END IF;
  EXECUTE $query$
    SELECT coalesce('job "' || c.jobname || '"', 'jobid ' || c.jobid) FROM cron.job c
    WHERE c.command = $1 AND c.username = $2 AND c.database = current_database() AND c.jobid <> $3
    ORDER BY c.jobid LIMIT 1
  $query$ INTO twin USING job.command, job.username, job.jobid;
  IF twin IS NOT NULL THEN
    -- The job's own call would not have them either.
    RAISE NOTICE 'the call carries no job name and no schedule: job "%" has the same command as %', $1, twin
      USING HINT = format('Make the commands differ: SELECT cron.alter_job(%1$s, command => command || '' -- job %1$s'') '
                          'FROM cron.job WHERE jobid = %1$s;', job.jobid);
    RETURN wee5_cron.invoke(job.endpoint_path);
  END IF;
  RETURN wee5_cron.invoke_for_job($1, job.endpoint_path, schedule => job.schedule, tick => now());
END
$$;
COMMENT ON FUNCTION wee5_cron.run_now(text) IS
  'Makes the call of a job now, by hand, with the job''s name and schedule as the job''s own call has them, and returns the id of its row in wee5_cron.invocation';
