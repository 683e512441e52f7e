-- Finding a job by its name, for the functions that take one.

-- The statements that schedule jobs from the database with pg_cron: a server has pg_cron in only one database. You can paste
-- the whole text, because it ends with an SQL comment.
CREATE FUNCTION wee5_cron.schedule_elsewhere(names text[], schedules text[], commands text[]) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('SELECT cron.schedule_in_database(%L, %L, %L, %L);', j.name || '@' || current_database(), j.schedule,
                             j.command, current_database()), E'\n')
           || E'\n-- in the database that has pg_cron'
           || coalesce(' (cron.database_name: ' || wee5_cron.server_setting('cron.database_name') || ')', '')
           || ', or CREATE EXTENSION pg_cron here'
    FROM unnest(names, schedules, commands) AS j (name, schedule, command)
  $$;
COMMENT ON FUNCTION wee5_cron.schedule_elsewhere(text[], text[], text[]) IS
  'Internal: a hint: the statements that schedule jobs of this database, to be run in the database that has pg_cron';

-- Without a job, the hint is about the jobs of register_jobs().
CREATE FUNCTION wee5_cron.raise_no_pg_cron(job_name text DEFAULT NULL, schedule text DEFAULT NULL,
                                           command text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = CASE WHEN $1 IS NULL THEN
                   (SELECT wee5_cron.schedule_elsewhere(array_agg(j.job_name), array_agg(j.schedule), array_agg(j.command))
                    FROM wee5_cron.jobs_to_register() j)
                 ELSE
                   wee5_cron.schedule_elsewhere(array[$1], array[$2], array[$3])
                   -- The ledger cannot look up the name in cron.job.
                   || format(E'\n-- and here, for the name in the ledger: INSERT INTO wee5_cron.job '
                             '(job_name, endpoint_path) VALUES (%L, %L);', $1, wee5_cron.path_of_command($3)) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.raise_no_pg_cron(text, text, text) IS
  'Internal: raises the error of the job functions in a database without pg_cron';

CREATE FUNCTION wee5_cron.find_job(job_name text, OUT jobid bigint, OUT username text, OUT schedule text,
                                   OUT command text, OUT active boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  owners text[];
  names text;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'job_name must not be NULL'
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
    SELECT string_agg(format('%L', j.job_name), ', ' ORDER BY j.job_name) INTO names FROM wee5_cron.calling_jobs() j;
    RAISE EXCEPTION 'there is no job "%" in database "%"', left($1, 255), current_database()
      USING ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('Jobs that call the app: ' || names || '.',
                            'No job of this database calls the app. To create the default jobs: SELECT wee5_cron.register_jobs();');
  ELSIF cardinality(owners) > 1 THEN
    RAISE EXCEPTION 'several users have a job "%": %', $1, array_to_string(owners, ', ')
      USING ERRCODE = 'ambiguous_alias',
            HINT = 'To tell them apart: SELECT jobid, endpoint_path FROM wee5_cron.job_status; To call the path: '
                   'wee5_cron.invoke(). To change a job: cron.alter_job() with its jobid.';
  END IF;
  EXECUTE $query$
    SELECT j.jobid, j.username, j.schedule, j.command, j.active FROM cron.job j
    WHERE j.jobname = $1 AND j.database = current_database()
  $query$ INTO jobid, username, schedule, command, active USING $1;
  IF NOT wee5_cron.calls_us(command) THEN
    RAISE EXCEPTION 'job "%" does not call an endpoint', $1
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Name a job that calls invoke_cron_endpoint(), wee5_cron.invoke() or wee5_cron.run().';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_job(text) IS
  'Internal, for the functions that take a job''s name: the job of this database with that name, or an error that says why there is none';
