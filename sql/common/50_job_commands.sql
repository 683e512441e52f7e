-- What a job's command calls, and which jobs of pg_cron are ours.

-- CREATE EXTENSION chose the schema.
CREATE FUNCTION wee5_cron.call_schema() RETURNS name
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN coalesce(
    (SELECT n.nspname
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.proname = 'invoke_cron_endpoint' AND wee5_cron.is_ours('pg_proc', p.oid)),
    -- Somebody renamed or dropped the function. The portable edition always creates it in public.
    (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'wee5_cron'),
    'public');
END
$$;
COMMENT ON FUNCTION wee5_cron.call_schema() IS 'Internal: the schema of invoke_cron_endpoint()';

-- pg_cron assigns the same jobids again after it was dropped, and a user can turn a job of ours into another one. So a
-- job is ours only if its jobid, its name and its path are those in wee5_cron.job.
CREATE FUNCTION wee5_cron.is_remembered(jobid bigint, job_name text, command text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (SELECT FROM wee5_cron.job j
                   WHERE j.job_name = $2 AND j.jobid = $1
                     AND CASE WHEN j.endpoint_path IS NULL THEN wee5_cron.harvests(command)
                              ELSE wee5_cron.path_of_command(command) = j.endpoint_path END)
  $$;
COMMENT ON FUNCTION wee5_cron.is_remembered(bigint, text, text) IS
  'Internal: whether register_jobs() or schedule() made this job of cron.job, and it still makes its call';

-- label: how alerts name the job. Dynamic SQL: pg_cron may be created after the extension and dropped before it.
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
           -- wee5_cron identifies the job behind a call by the job's command text.
           count(*) OVER (PARTITION BY j.command, j.username) > 1
    FROM cron.job j
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
  $query$;
END
$$;
COMMENT ON FUNCTION wee5_cron.calling_jobs() IS 'Internal: the jobs of this database that call the app; needs pg_cron here';

CREATE FUNCTION wee5_cron.may_run(owner name, command text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  called constant text[] := wee5_cron.functions_of_command(command);
BEGIN
  RETURN (
    SELECT r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT')
       AND bool_and(has_schema_privilege(r.oid, p.pronamespace, 'USAGE') AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    FROM pg_roles r CROSS JOIN pg_proc p
    WHERE r.rolname = owner
      AND p.proname = ANY (CASE WHEN 'run' = ANY (called) THEN called || array['invoke', 'wait_for', 'commit_is_possible']
                                ELSE called END::name[])
      AND wee5_cron.is_ours('pg_proc', p.oid)
    GROUP BY r.oid, r.rolcanlogin);
END
$$;
COMMENT ON FUNCTION wee5_cron.may_run(name, text) IS
  'Internal: whether a job''s user may make the calls in the job''s command; NULL: the role does not exist';

CREATE FUNCTION wee5_cron.hint_for_owner(owner text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN NOT r.rolcanlogin THEN format('ALTER ROLE %I LOGIN;', owner)
      WHEN NOT has_database_privilege(r.oid, current_database(), 'CONNECT')
        THEN format('GRANT CONNECT ON DATABASE %I TO %I;', current_database(), owner)
      ELSE format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(owner)) END
    FROM pg_roles r WHERE r.rolname = owner
  $$;
COMMENT ON FUNCTION wee5_cron.hint_for_owner(text) IS 'Internal: the statement that lets a job''s user make its call';
