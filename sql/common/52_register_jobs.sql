-- The jobs that the extension registers in pg_cron.

-- If the library is not preloaded, there is no worker that records pg_net's answers: a job does it.
CREATE FUNCTION wee5_cron.jobs_to_register(OUT job_name text, OUT schedule text, OUT command text, OUT endpoint_path text)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT j.name, j.schedule, format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), j.path), j.path
    FROM (VALUES ('poll-activities', '*/30 * * * *', '/api/cron/poll-activities'),
                 ('welcome-emails', '0 * * * *', '/api/cron/welcome-emails'),
                 ('daily-analytics', '0 0 * * *', '/api/analytics/cron')) AS j (name, schedule, path)
    WHERE NOT wee5_cron.configure_registers_jobs() OR wee5_cron.setting('default_jobs') = 'on'
    UNION ALL
    SELECT 'wee5-cron-harvest', '* * * * *', 'SELECT wee5_cron.harvest()', NULL
    WHERE NOT wee5_cron.library_preloaded() AND wee5_cron.pg_net_installed()
  $$;
COMMENT ON FUNCTION wee5_cron.jobs_to_register() IS 'Internal: the jobs that register_jobs() makes';

-- Only cron.schedule_in_database() takes a user's name, and only from a superuser. cron.schedule() makes the job for the
-- current user, who is the owner of a SECURITY DEFINER function.
CREATE FUNCTION wee5_cron.schedule_for_job_role(job_name text, schedule text, command text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- Not the role of SET ROLE: a login role with NOINHERIT could have fewer privileges than that role.
  owner constant name := wee5_cron.job_role();
  is_superuser constant boolean := (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user);
  jobid bigint;
BEGIN
  IF (is_superuser OR owner <> current_user) AND wee5_cron.belongs_to_extension(
       'pg_proc', to_regprocedure('cron.schedule_in_database(text,text,text,text,text,boolean)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule_in_database($1, $2, $3, $4, $5, true)'
      INTO jobid USING $1, $2, $3, current_database()::text, owner::text;
  ELSIF owner = current_user
        AND wee5_cron.belongs_to_extension('pg_proc', to_regprocedure('cron.schedule(text,text,text)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO jobid USING $1, $2, $3;
  ELSE
    RAISE EXCEPTION 'pg_cron in this database is too old: it has no cron.schedule_in_database(), which schedules a job for a user'
      USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION pg_cron UPDATE;';
  END IF;
  IF NOT wee5_cron.may_run(owner, $3) THEN
    RAISE NOTICE 'job "%" belongs to role "%", which may not make calls', $1, owner
      USING HINT = wee5_cron.hint_for_owner(owner);
  END IF;
  RETURN jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.schedule_for_job_role(text, text, text) IS 'Internal, for register_jobs() and schedule(): makes one job in pg_cron';

CREATE FUNCTION wee5_cron.name_is_taken(job_name text, schedule text, command text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  taken record;
BEGIN
  EXECUTE $query$
    SELECT j.jobid, j.username, j.database, j.database = current_database() AS here
    FROM cron.job j
    WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = wee5_cron.job_role())
    ORDER BY here DESC, j.username = wee5_cron.job_role() DESC, j.jobid
    LIMIT 1
  $query$ INTO taken USING job_name;
  IF taken.here THEN
    RAISE NOTICE 'job "%" already exists and stays as it is', job_name
      USING DETAIL = format('It has jobid %s and belongs to "%s".', taken.jobid, taken.username);
  ELSIF NOT taken.here THEN
    -- pg_cron would silently move that job to this database: a user's job names are unique across databases.
    RAISE NOTICE 'job "%" was not created: "%" has a job of that name in database "%"',
                 job_name, wee5_cron.job_role(), taken.database
      USING HINT = format('Choose another name: SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                          job_name || '@' || current_database(), schedule, command, current_database());
  END IF;
  RETURN taken.jobid IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.name_is_taken(text, text, text) IS
  'Internal, for register_jobs(): whether pg_cron has a job of this name, with a NOTICE about it';

CREATE FUNCTION wee5_cron.register_jobs(force boolean DEFAULT false) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  wanted record;
  known wee5_cron.job;
  new_jobid bigint;
  made bigint := 0;
  its_hint text;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  -- One session at a time: pg_cron changes a job if its name exists.
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  FOR wanted IN SELECT * FROM wee5_cron.jobs_to_register() LOOP
    CONTINUE WHEN wee5_cron.name_is_taken(wanted.job_name, wanted.schedule, wanted.command);
    SELECT * INTO known FROM wee5_cron.job j WHERE j.job_name = wanted.job_name;
    IF known.registered AND force IS NOT TRUE THEN
      RAISE NOTICE 'job "%" was deleted after it was registered, so it is not created again', wanted.job_name
        USING HINT = 'SELECT wee5_cron.register_jobs(force => true);';
      CONTINUE;
    END IF;
    BEGIN
      new_jobid := wee5_cron.schedule_for_job_role(wanted.job_name, wanted.schedule, wanted.command);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS its_hint = PG_EXCEPTION_HINT;
      RAISE NOTICE 'pg_cron did not accept job "%": %', wanted.job_name, SQLERRM
        USING HINT = CASE its_hint WHEN '' THEN 'When that is fixed: ' ELSE its_hint || ' Then: ' END
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
  'Creates the three default jobs in pg_cron for session_user; also a job that records pg_net''s answers, if pg_net is installed and the library is not preloaded. Returns how many it created. Jobs that exist stay as they are; force creates deleted jobs again';

-- Jobs change through pg_cron's own functions. cron.job itself is only read.
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
  -- If pg_cron was dropped and created again since this session first used the function, pg_cron still looks for the
  -- old table.
  EXECUTE 'DELETE FROM cron.job j WHERE j.jobid = $1' USING $1;
END
$$;
COMMENT ON FUNCTION wee5_cron.remove_cron_job(bigint) IS 'Internal: removes one job from pg_cron';

CREATE FUNCTION wee5_cron.unregister_jobs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  made_by_configure constant boolean := wee5_cron.configure_registers_jobs();
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
      -- Without that job, nothing records the answers to the calls of other jobs.
      AND NOT ($1 AND wee5_cron.harvests(c.command))
  $query$ USING made_by_configure LOOP
    PERFORM wee5_cron.remove_cron_job(job.jobid);
    removed := removed + 1;
  END LOOP;
  -- The next configure() would create again what is not remembered.
  DELETE FROM wee5_cron.job j WHERE j.registered AND NOT made_by_configure;
  RETURN removed;
END
$$;
COMMENT ON FUNCTION wee5_cron.unregister_jobs() IS
  'Removes the jobs that register_jobs() created, and no others. Returns how many it removed';
