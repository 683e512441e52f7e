-- Jobs as a file: plan() compares a document with the database, apply() carries the differences out, export_config() writes
-- the document.

-- LATIN1, for example, has no arrow.
CREATE FUNCTION wee5_cron.change_arrow() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN convert_from('\xe28692', 'UTF8');
EXCEPTION WHEN untranslatable_character OR feature_not_supported THEN
  RETURN '->';
END
$$;
COMMENT ON FUNCTION wee5_cron.change_arrow() IS 'Internal, for plan() and apply(): the arrow between the old value and the new one';

-- key: old -> new; NULL: nothing changes.
CREATE FUNCTION wee5_cron.describe_change(key text, old_value text, new_value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('%s: %s %s %s', key, coalesce(old_value, absent.word), wee5_cron.change_arrow(), coalesce(new_value, absent.word))
    FROM (SELECT CASE WHEN key IN ('path', 'body', 'headers', 'note', 'pause_note') THEN 'none' ELSE 'default' END AS word) absent
    WHERE old_value IS DISTINCT FROM new_value
  $$;
COMMENT ON FUNCTION wee5_cron.describe_change(text, text, text) IS 'Internal, for plan() and apply(): a change in words; NULL: there is none';

-- route: the document's policy for the route of a path with a query. It overrides the one in the table. The parameter has no
-- default, because Postgres refuses to change a column of a table while a default value has the table's row type.
CREATE FUNCTION wee5_cron.describe_policy_changes(wanted wee5_cron.endpoint, route wee5_cron.endpoint) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(wee5_cron.describe_change(d.key, d.old_value, d.new_value), '; ')
    FROM wee5_cron.policy_changes(
      coalesce((SELECT e FROM wee5_cron.endpoint e WHERE e.endpoint_path = wanted.endpoint_path), route,
               wee5_cron.policy_of(wanted.endpoint_path)),
      wanted) d
  $$;
COMMENT ON FUNCTION wee5_cron.describe_policy_changes(wee5_cron.endpoint, wee5_cron.endpoint) IS
  'Internal, for plan() and apply(): what changes in the policy of a path; NULL: nothing';

CREATE FUNCTION wee5_cron.refuse_taken_name(job_name text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  taken record;
BEGIN
  EXECUTE $query$
    SELECT j.jobid, j.username, j.database, j.database = current_database() AS here,
           j.username = wee5_cron.job_role() AS mine, wee5_cron.calls_us(j.command) AS calls_us
    FROM cron.job j
    WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = wee5_cron.job_role())
    ORDER BY mine, here LIMIT 1
  $query$ INTO taken USING $1;
  IF NOT taken.mine THEN
    RAISE EXCEPTION 'job "%" belongs to role "%"', $1, taken.username
      USING ERRCODE = 'ambiguous_alias',
            HINT = format('The jobs of a configuration belong to "%s". Choose another name, or let "%s" apply it. That job has '
                          'jobid %s.', wee5_cron.job_role(), taken.username, taken.jobid);
  ELSIF NOT (taken.here AND taken.calls_us) THEN
    RAISE EXCEPTION 'job "%" already exists: jobid % of "%"%', $1, taken.jobid, taken.username,
                    CASE WHEN taken.here THEN ', which does not call the app' ELSE format(' in database "%s"', taken.database) END
      USING ERRCODE = 'duplicate_object',
            HINT = format('Choose another name, such as %L.', $1 || '@' || current_database());
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_taken_name(text) IS
  'Internal, for plan() and apply(): raises an error if the name belongs to a job that the caller may not change';

-- The job of this name that the caller may change; NULLs: there is none. applied: apply() created or adopted it. Without
-- pg_cron, this reads the name's row in wee5_cron.job.
CREATE FUNCTION wee5_cron.find_own_job(job_name text, with_pg_cron boolean, OUT jobid bigint, OUT schedule text, OUT command text,
                                       OUT active boolean, OUT endpoint_path text, OUT catch_up text, OUT applied boolean,
                                       OUT pause_note text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  known wee5_cron.job;
BEGIN
  IF with_pg_cron THEN
    PERFORM wee5_cron.refuse_taken_name($1);
    EXECUTE $query$
      SELECT j.jobid, j.schedule, j.command, j.active, wee5_cron.path_of_command(j.command) FROM cron.job j
      WHERE j.jobname = $1 AND j.database = current_database() AND j.username = wee5_cron.job_role()
    $query$ INTO jobid, schedule, command, active, endpoint_path USING $1;
  END IF;
  SELECT * INTO known FROM wee5_cron.job k WHERE k.job_name = $1;
  catch_up := known.catch_up;
  applied := coalesce(known.applied AND known.jobid = jobid, false);
  pause_note := known.pause_note;
  IF NOT with_pg_cron THEN
    endpoint_path := known.endpoint_path;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_own_job(text, boolean) IS
  'Internal, for plan() and apply(): the caller''s job of this name';

CREATE FUNCTION wee5_cron.config_command(endpoint_path text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), endpoint_path);
END
$$;
COMMENT ON FUNCTION wee5_cron.config_command(text) IS 'Internal, for plan() and apply(): the command of a job that calls this path';

-- Whether the command differs from config_command() in spelling only.
CREATE FUNCTION wee5_cron.is_config_command(command text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.is_plain_call(command) AND wee5_cron.functions_of_command(command) = '{invoke_cron_endpoint}'
       AND wee5_cron.path_of_command(command) IS NOT NULL
  $$;
COMMENT ON FUNCTION wee5_cron.is_config_command(text) IS
  'Internal, for jobs as a file: whether a job''s command is a plain call of invoke_cron_endpoint()';

-- What apply() has to change for one job of the document. Without pg_cron: its policy and its name in the ledger.
CREATE FUNCTION wee5_cron.plan_job(wanted_name text, wanted_schedule text, wanted_active boolean, wanted_catch_up text,
                                   policy wee5_cron.endpoint, route wee5_cron.endpoint, with_pg_cron boolean,
                                   OUT action text, OUT detail text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 1 SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := policy.endpoint_path;
  found constant record := wee5_cron.find_own_job(wanted_name, with_pg_cron);
BEGIN
  action := CASE WHEN NOT with_pg_cron THEN 'change' WHEN found.jobid IS NULL THEN 'create'
                 WHEN NOT found.applied THEN 'adopt' ELSE 'change' END;
  detail := nullif(concat_ws('; ',
    CASE action WHEN 'create' THEN format('schedule: %s; path: %s', wanted_schedule, path)
                WHEN 'adopt' THEN wee5_cron.describe_change('applied', 'false', 'true') END,
    CASE WHEN action <> 'create' AND with_pg_cron THEN wee5_cron.describe_change('schedule', found.schedule, wanted_schedule) END,
    CASE WHEN action = 'create' THEN NULL
         WHEN with_pg_cron AND NOT wee5_cron.is_config_command(found.command)
           THEN wee5_cron.describe_change('command', found.command, wee5_cron.config_command(path))
         ELSE wee5_cron.describe_change('path', found.endpoint_path, path) END,
    wee5_cron.describe_change('catch_up', found.catch_up, wanted_catch_up),
    wee5_cron.describe_policy_changes(policy, route)), '');
  IF with_pg_cron AND found.schedule IS DISTINCT FROM wanted_schedule AND wee5_cron.never_fires(wanted_schedule, now()) THEN
    RAISE NOTICE 'schedule "%" of job "%" never fires: no day in the next 40 years matches it', wanted_schedule, wanted_name;
  END IF;
  IF detail IS NOT NULL THEN
    RETURN NEXT;
  END IF;
  IF with_pg_cron AND wanted_active <> coalesce(found.active, true) THEN
    action := CASE WHEN wanted_active THEN 'resume' ELSE 'pause' END;
    detail := concat_ws('; ', wee5_cron.describe_change('active', (NOT wanted_active)::text, wanted_active::text),
                        CASE WHEN wanted_active THEN wee5_cron.describe_change('pause_note', found.pause_note, NULL) END);
    RETURN NEXT;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.plan_job(text, text, boolean, text, wee5_cron.endpoint, wee5_cron.endpoint, boolean) IS
  'Internal, for plan() and apply(): what has to happen to one job of the document';

-- Jobs that apply() created or adopted and that the document no longer contains. Jobs of other roles have documents of their own.
-- If a job now calls another path than the one that apply() gave it, somebody else has taken it over.
CREATE FUNCTION wee5_cron.plan_other_jobs(names text[], prune boolean, OUT action text, OUT job_name text, OUT detail text,
                                          OUT jobid bigint) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE $query$
    SELECT CASE WHEN $2 AND j.untouched THEN 'remove' ELSE 'keep' END, j.jobname::text,
           CASE WHEN $2 AND j.untouched THEN format('schedule: %s; path: %s', j.schedule, j.endpoint_path)
                WHEN j.untouched THEN 'not in the configuration: apply(..., prune => true) removes it'
                ELSE 'not in the configuration, and changed by hand: unschedule() removes it. '
                     || coalesce(wee5_cron.describe_change('path', j.endpoint_path, wee5_cron.path_of_command(j.command)),
                                 wee5_cron.describe_change('command', wee5_cron.config_command(j.endpoint_path), j.command)) END,
           j.jobid
    FROM (SELECT c.*, k.endpoint_path, wee5_cron.is_remembered(c.jobid, c.jobname, c.command) AS untouched
          FROM cron.job c JOIN wee5_cron.job k ON k.job_name = c.jobname AND k.jobid = c.jobid
          WHERE k.applied AND c.database = current_database() AND c.username = wee5_cron.job_role()
            AND c.jobname <> ALL ($1) AND wee5_cron.calls_us(c.command)) j
    ORDER BY j.jobname COLLATE "C"
  $query$ USING names, coalesce(prune, false);
END
$$;
COMMENT ON FUNCTION wee5_cron.plan_other_jobs(text[], boolean) IS
  'Internal, for plan() and apply(): what has to happen to jobs that the document does not have any more';

CREATE FUNCTION wee5_cron.planned_changes(config jsonb, prune boolean, with_pg_cron boolean, OUT action text, OUT job_name text,
                                          OUT detail text, OUT jobid bigint, OUT schedule text, OUT catch_up text,
                                          OUT policy wee5_cron.endpoint) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY
    WITH job AS MATERIALIZED (SELECT *, (j.policy).endpoint_path FROM wee5_cron.config_jobs(config) j)
    SELECT p.action, c.job_name, p.detail, NULL::bigint, c.schedule, c.catch_up, c.policy
    FROM job c
    LEFT JOIN (SELECT DISTINCT ON (j.endpoint_path) j.endpoint_path, j.policy FROM job j) route
      ON c.endpoint_path LIKE '%?%' AND route.endpoint_path = split_part(c.endpoint_path, '?', 1) COLLATE "C"
    CROSS JOIN LATERAL wee5_cron.plan_job(c.job_name, c.schedule, c.active, c.catch_up, c.policy, route.policy, with_pg_cron) p
    ORDER BY c.job_name COLLATE "C", p.action IN ('pause', 'resume');
  IF with_pg_cron THEN
    RETURN QUERY
      SELECT o.action, o.job_name, o.detail, o.jobid, NULL::text, NULL::text, NULL::wee5_cron.endpoint
      FROM wee5_cron.plan_other_jobs(ARRAY(SELECT jsonb_object_keys(config->'jobs')), prune) o;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.planned_changes(jsonb, boolean, boolean) IS
  'Internal, for plan() and apply(): what has to happen, with what apply() needs for it';

-- Stores a policy, even one of nothing but defaults if the path would otherwise have the policy of its route.
CREATE FUNCTION wee5_cron.store_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.describe_policy_changes(policy, NULL) IS NOT NULL THEN
    EXECUTE (
      SELECT format('INSERT INTO wee5_cron.endpoint SELECT ($1).* ON CONFLICT (endpoint_path) DO UPDATE SET (%s) = ROW(%s)',
                    string_agg(quote_ident(k.key), ', '), string_agg('excluded.' || quote_ident(k.key), ', '))
      FROM wee5_cron.policy_keys() k) USING policy;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.store_policy(wee5_cron.endpoint) IS 'Internal, for apply(): writes the policy of a path, if it changes';

CREATE FUNCTION wee5_cron.apply_job(job_name text, schedule text, catch_up text, path text, with_pg_cron boolean)
  RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  found constant record := wee5_cron.find_own_job($1, with_pg_cron);
  command text := wee5_cron.config_command(path);
  jobid bigint := found.jobid;
BEGIN
  IF jobid IS NOT NULL AND found.endpoint_path = path AND wee5_cron.is_config_command(found.command) THEN
    command := found.command;
  END IF;
  IF with_pg_cron AND jobid IS NULL THEN
    jobid := wee5_cron.schedule_for_job_role($1, $2, command);
  ELSIF with_pg_cron AND (found.schedule, found.command) <> ($2, command) THEN
    PERFORM wee5_cron.alter_cron_job(jobid, schedule => $2, command => command);
  END IF;
  INSERT INTO wee5_cron.job AS k (job_name, jobid, endpoint_path, catch_up, applied)
  VALUES ($1, jobid, path, $3, with_pg_cron)
  ON CONFLICT (job_name) DO UPDATE
  SET jobid = excluded.jobid, endpoint_path = excluded.endpoint_path, catch_up = excluded.catch_up, applied = excluded.applied,
      paused_at = CASE WHEN found.jobid IS NOT NULL THEN k.paused_at END,
      pause_note = CASE WHEN found.jobid IS NOT NULL THEN k.pause_note END;
END
$$;
COMMENT ON FUNCTION wee5_cron.apply_job(text, text, text, text, boolean) IS 'Internal, for apply(): makes or changes one job of the document';

CREATE FUNCTION wee5_cron.config_elsewhere(config jsonb) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(wee5_cron.schedule_elsewhere(array_agg(c.job_name), array_agg(c.schedule),
                                                 array_agg(wee5_cron.config_command((c.policy).endpoint_path))),
                    'The configuration has no jobs.')
    FROM wee5_cron.config_jobs(config) c
  $$;
COMMENT ON FUNCTION wee5_cron.config_elsewhere(jsonb) IS
  'Internal, for plan() and apply(): a hint: the statements that schedule the jobs of the document, to be run in the database that has pg_cron';

-- Checks the whole document. True if pg_cron is in this database.
CREATE FUNCTION wee5_cron.check_config(config jsonb, without_pg_cron text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF without_pg_cron IS NULL OR without_pg_cron NOT IN ('error', 'notice') THEN
    PERFORM wee5_cron.refuse_config(format('invalid without_pg_cron "%s"', left(without_pg_cron, 100)),
      'error: raises an error in a database without pg_cron. notice: applies the policies there, and only says that it made no jobs.');
  END IF;
  PERFORM wee5_cron.check_shared_paths(config);
  IF wee5_cron.pg_cron_installed() THEN
    RETURN true;
  ELSIF without_pg_cron = 'error' THEN
    RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = wee5_cron.config_elsewhere(config)
                   || E'\n-- and here, for the policies: SELECT * FROM wee5_cron.apply(..., without_pg_cron => ''notice'');';
  END IF;
  RAISE NOTICE 'pg_cron is not installed in database "%": policies are applied, jobs are not', current_database()
    USING HINT = wee5_cron.config_elsewhere(config);
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_config(jsonb, text) IS
  'Internal, for plan() and apply(): checks the document, and whether pg_cron is here';

CREATE FUNCTION wee5_cron.plan(config jsonb) RETURNS TABLE (action text, job_name text, detail text)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
  AS $$
BEGIN
  PERFORM wee5_cron.check_config(config, 'error');
  RETURN QUERY SELECT c.action, c.job_name, c.detail FROM wee5_cron.planned_changes(config, false, true) c;
END
$$;
COMMENT ON FUNCTION wee5_cron.plan(jsonb) IS
  'What apply() would change to make jobs and policies as the configuration says, a row for each change. No row: there is nothing to do';

CREATE FUNCTION wee5_cron.apply(config jsonb, prune boolean DEFAULT false, without_pg_cron text DEFAULT 'error')
  RETURNS TABLE (action text, job_name text, detail text)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
  AS $$
DECLARE
  with_pg_cron constant boolean := wee5_cron.check_config(config, without_pg_cron);
  policies wee5_cron.endpoint[];
  change record;
BEGIN
  -- One session at a time. Nobody changes a policy between the comparison and the change.
  LOCK TABLE wee5_cron.job, wee5_cron.endpoint IN SHARE ROW EXCLUSIVE MODE;
  FOR change IN SELECT * FROM wee5_cron.planned_changes(config, prune, with_pg_cron) LOOP
    IF change.action IN ('create', 'change', 'adopt') THEN
      PERFORM wee5_cron.apply_job(change.job_name, change.schedule, change.catch_up, (change.policy).endpoint_path, with_pg_cron);
      policies := policies || change.policy;
    ELSIF change.action IN ('pause', 'resume') THEN
      PERFORM wee5_cron.set_job_active(change.job_name, change.action = 'resume', 'by apply()');
    ELSIF change.action = 'remove' THEN
      PERFORM wee5_cron.remove_job(change.job_name, change.jobid);
    END IF;
    action := change.action;
    job_name := change.job_name;
    detail := change.detail;
    RETURN NEXT;
  END LOOP;
  -- Policies of routes come first: what a path with a query needs depends on them.
  PERFORM wee5_cron.store_policy(p) FROM (SELECT * FROM unnest(policies) u ORDER BY u.endpoint_path LIKE '%?%') p;
END
$$;
COMMENT ON FUNCTION wee5_cron.apply(jsonb, boolean, text) IS
  'Makes jobs and policies as the configuration says, and returns a row for each change. prune: also removes jobs that apply() made or adopted and the configuration does not have any more. without_pg_cron: error, or notice in a database without pg_cron, where apply() stores the policies alone';

-- As short as possible: keys whose value is the default are left out.
CREATE FUNCTION wee5_cron.export_job(schedule text, active boolean, endpoint_path text, catch_up text) RETURNS jsonb
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT jsonb_build_object('schedule', schedule, 'path', endpoint_path)
           || CASE WHEN active THEN '{}' ELSE '{"active": false}'::jsonb END
           || CASE WHEN catch_up IS NULL THEN '{}' ELSE jsonb_build_object('catch_up', catch_up) END
           || coalesce((SELECT jsonb_object_agg(p.key, p.value)
                        FROM jsonb_each(to_jsonb(wee5_cron.policy_of($3)) - 'endpoint_path') p WHERE p.value <> 'null'), '{}')
  $$;
COMMENT ON FUNCTION wee5_cron.export_job(text, boolean, text, text) IS 'Internal, for export_config(): a job as it stands in a configuration';

CREATE FUNCTION wee5_cron.export_config() RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
  AS $$
DECLARE
  jobs jsonb := '{}';
  job record;
  exported jsonb;
  obstacle text;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  FOR job IN
    SELECT c.*, k.catch_up FROM wee5_cron.calling_jobs() c LEFT JOIN wee5_cron.job k ON k.job_name = c.job_name
    ORDER BY c.label COLLATE "C"
  LOOP
    obstacle := CASE WHEN coalesce(job.job_name, '') = '' THEN 'it has no name'
                     WHEN job.username <> wee5_cron.job_role() THEN format('it belongs to role "%s"', job.username)
                     WHEN job.name_shared THEN 'another role has a job of that name'
                     WHEN NOT wee5_cron.is_config_command(job.command) THEN 'its command does more than call invoke_cron_endpoint()' END;
    IF obstacle IS NULL THEN
      exported := wee5_cron.export_job(job.schedule, job.active, job.endpoint_path, job.catch_up);
      -- pg_cron and the table take some values that a document does not.
      BEGIN
        SELECT format('a configuration cannot hold the %s of its path', d.key) INTO obstacle
        FROM wee5_cron.config_job(job.job_name, exported) c
        CROSS JOIN LATERAL wee5_cron.policy_changes(wee5_cron.policy_of(job.endpoint_path), c.policy) d LIMIT 1;
      EXCEPTION WHEN data_exception OR feature_not_supported OR program_limit_exceeded THEN
        obstacle := SQLERRM;
      END;
    END IF;
    IF obstacle IS NULL THEN
      jobs := jobs || jsonb_build_object(job.job_name, exported);
    ELSE
      RAISE NOTICE 'job "%" is left out: %', job.label, obstacle USING DETAIL = format('Its command is: %s', left(job.command, 200));
    END IF;
  END LOOP;
  RETURN jsonb_build_object('jobs', jobs);
END
$$;
COMMENT ON FUNCTION wee5_cron.export_config() IS
  'The configuration, for plan() and apply(), of your jobs in this database and of the policies of their paths';
