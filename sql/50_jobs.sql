-- The jobs that this extension makes in pg_cron, and running one by hand.

CREATE FUNCTION wee5_cron.library_preloaded() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_preloaded';
COMMENT ON FUNCTION wee5_cron.library_preloaded() IS
  'Internal: whether wee5_cron is in shared_preload_libraries. After this call the settings wee5_cron.* can be read';

-- No backslash in these patterns: the session that makes the plan may have standard_conforming_strings off.
CREATE FUNCTION wee5_cron.calls_us(command text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT command ~ '(invoke_cron_endpoint|wee5_cron[.](invoke|run))[[:space:]]*[(]' $$;
COMMENT ON FUNCTION wee5_cron.calls_us(text) IS 'Internal: whether a job with this command makes a call through this extension';

CREATE FUNCTION wee5_cron.path_of_command(command text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT replace((regexp_match(command, '''((?:[^'']|'''')*)'''))[1], '''''', '''') $$;
COMMENT ON FUNCTION wee5_cron.path_of_command(text) IS 'Internal: the first string literal of a job''s command, NULL without one';

CREATE FUNCTION wee5_cron.is_plain_call(command text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.calls_us(command)
       AND command ~* ('^[[:space:]]*(select|select[[:space:]]+[*][[:space:]]+from|call)[[:space:]]+'
                       '(([[:alnum:]_]+|"([^"]|"")+")[[:space:]]*[.][[:space:]]*)?(invoke_cron_endpoint|invoke|run)'
                       '[[:space:]]*[(][[:space:]]*(endpoint_path[[:space:]]*(=>|:=)[[:space:]]*)?''([^'']|'''')*'''
                       '([[:space:]]*::[[:space:]]*text)?[[:space:]]*[)]([[:space:]]+as[[:space:]]+[[:alnum:]_]+)?'
                       '[[:space:]]*;?[[:space:]]*$')
  $$;
COMMENT ON FUNCTION wee5_cron.is_plain_call(text) IS
  'Internal: whether a job''s command makes the call of one path, with no choices of its own, and nothing else';

-- Where invoke_cron_endpoint is: CREATE EXTENSION chose the schema.
CREATE FUNCTION wee5_cron.call_schema() RETURNS name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = 'invoke_cron_endpoint' AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.call_schema() IS 'Internal: the schema of invoke_cron_endpoint';

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
                         || coalesce(' (cron.database_name: ' || current_setting('cron.database_name', true) || ')', '')
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
      RAISE NOTICE 'pg_cron did not take job "%": %', wanted.job_name, SQLERRM
        USING HINT = 'When that is settled: SELECT wee5_cron.register_jobs();';
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

CREATE FUNCTION wee5_cron.unregister_jobs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  removed bigint;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  -- A jobid may be somebody else's by now, if pg_cron was dropped and made again.
  EXECUTE $query$
    DELETE FROM cron.job c
    WHERE c.jobid IN (SELECT j.jobid FROM wee5_cron.job j WHERE j.registered)
      AND c.database = current_database()
      AND (wee5_cron.calls_us(c.command) OR c.command ~ 'wee5_cron[.]harvest[[:space:]]*[(]')
  $query$;
  GET DIAGNOSTICS removed = ROW_COUNT;
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
BEGIN
  IF $1 IS NOT NULL AND NOT wee5_cron.pg_cron_installed() THEN
    SELECT j.job_name, j.endpoint_path INTO job
    FROM wee5_cron.job j WHERE j.job_name = $1 AND j.endpoint_path IS NOT NULL;
    IF NOT FOUND THEN
      PERFORM wee5_cron.raise_no_pg_cron();
    END IF;
    RETURN wee5_cron.invoke_for_job($1, job.endpoint_path);
  END IF;

  SELECT f.jobid, f.username, f.command, wee5_cron.path_of_command(f.command) AS endpoint_path,
         wee5_cron.is_plain_call(f.command) AS is_plain
  INTO job FROM wee5_cron.find_job($1) f;
  -- Whoever may use pg_cron chooses name and path; whoever runs a job by its name lends it his right to call.
  IF wee5_cron.may_run(job.username, job.command) IS NOT TRUE THEN
    RAISE EXCEPTION 'job "%" belongs to "%", who may not call', $1, job.username
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('If it is to call: SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(job.username));
  END IF;
  IF NOT job.is_plain THEN
    -- A plain GET of the path would not be the call that the job makes. Its command is not shown: cron.job hides it
    -- from other users than the job's own.
    RAISE EXCEPTION 'job "%" makes more than a plain call of one path', $1
      USING ERRCODE = 'feature_not_supported',
            HINT = format('Run its command yourself: SELECT command FROM cron.job WHERE jobid = %s;', job.jobid);
  END IF;
  RETURN wee5_cron.invoke_for_job($1, job.endpoint_path);
END
$$;
COMMENT ON FUNCTION wee5_cron.run_now(text) IS
  'Makes the call of a job now, by hand and in its name, and returns the id of its row in wee5_cron.invocation';
