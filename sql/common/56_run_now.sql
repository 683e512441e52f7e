-- Running a job by hand.

-- A target's secret goes only where the operator said so: to a path that has a policy, unless the operator calls.
CREATE FUNCTION wee5_cron.may_call_target(role name, endpoint_path text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  IF wee5_cron.target_of($2) IS NULL THEN
    RETURN true;
  END IF;
  RETURN has_function_privilege($1, 'wee5_cron.configure_target(text, text, text, text, text, jsonb, text)', 'EXECUTE')
         OR EXISTS (SELECT FROM wee5_cron.endpoint e WHERE e.endpoint_path IN ($2, split_part($2, '?', 1)));
END
$$;
COMMENT ON FUNCTION wee5_cron.may_call_target(name, text) IS
  'Internal: whether a role may call a path of a target; true for a path of the app';

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
    RAISE EXCEPTION 'job "%" belongs to role "%", which does not exist', $1, job.username
      USING ERRCODE = 'undefined_object',
            HINT = wee5_cron.hint_here(format('Give the job to a role that may call: SELECT cron.alter_job(%s, username => %L);',
                                              job.jobid, session_user));
  END IF;
  -- Any user of pg_cron can choose a job's name and path. run_now() must not lend that user the privilege to call.
  IF wee5_cron.may_run(job.username, job.command) IS NOT TRUE THEN
    RAISE EXCEPTION 'job "%" belongs to role "%", which may not make calls', $1, job.username
      USING ERRCODE = 'insufficient_privilege', HINT = wee5_cron.hint_for_owner(job.username);
  END IF;
  IF NOT wee5_cron.may_call_target(job.username, job.endpoint_path) THEN
    RAISE EXCEPTION 'job "%" belongs to role "%", which may not call %', $1, job.username, quote_literal(job.endpoint_path)
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('To allow this path to all callers: INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES (%L);',
                          split_part(job.endpoint_path, '?', 1));
  END IF;
  IF NOT job.is_plain THEN
    -- A plain GET of the path is not what this job does. The command is not shown: cron.job hides it from other users.
    RAISE EXCEPTION 'the command of job "%" is not a plain call of one path', $1
      USING ERRCODE = 'feature_not_supported',
            HINT = format('Run its command yourself. To see it: SELECT command FROM cron.job WHERE jobid = %s;', job.jobid);
  END IF;
  EXECUTE $query$
    SELECT coalesce('job "' || c.jobname || '"', 'jobid ' || c.jobid) FROM cron.job c
    WHERE c.command = $1 AND c.username = $2 AND c.database = current_database() AND c.jobid <> $3
    ORDER BY c.jobid LIMIT 1
  $query$ INTO twin USING job.command, job.username, job.jobid;
  IF twin IS NOT NULL THEN
    -- The call that the job itself makes has neither name nor schedule.
    RAISE NOTICE 'the call has no job name and no schedule, because job "%" has the same command as %', $1, twin
      USING HINT = format('Make the commands differ: SELECT cron.alter_job(%1$s, command => command || '' -- job %1$s'') '
                          'FROM cron.job WHERE jobid = %1$s;', job.jobid);
    RETURN wee5_cron.invoke(job.endpoint_path);
  END IF;
  RETURN wee5_cron.invoke_for_job($1, job.endpoint_path, schedule => job.schedule, tick => now());
END
$$;
COMMENT ON FUNCTION wee5_cron.run_now(text) IS
  'Makes the call of a job now. The call has the job''s name and schedule, like the job''s own call. Returns the id of its row in wee5_cron.invocation';
