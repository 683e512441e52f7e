-- Working with jobs by their names. pg_cron's own functions do the same. These also keep wee5_cron.job up to date,
-- check the path first, and work for every role with the profile operate, not only for the job's owner.

CREATE FUNCTION wee5_cron.schedule(job_name text, schedule text, endpoint_path text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  command constant text := format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(),
                                  wee5_cron.check_endpoint_path($3));
  taken record;
  new_jobid bigint;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE EXCEPTION '% must not be NULL', CASE WHEN $1 IS NULL THEN 'job_name' ELSE 'schedule' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT wee5_cron.schedule(''nightly-report'', ''15 3 * * *'', ''/api/reports/nightly'');';
  -- pg_cron cuts longer names, which may be those of other jobs then.
  ELSIF $1 = '' OR octet_length($1) > 63 THEN
    RAISE EXCEPTION 'invalid job name "%"', left($1, 100)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name of 1 to 63 bytes.';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron($1, $2, command);
  END IF;
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  -- pg_cron changes a job of session_user that has this name, whatever its database.
  EXECUTE $query$
    SELECT j.jobid, j.username, j.database, j.database = current_database() AS here,
           j.username = wee5_cron.job_role() AS mine, wee5_cron.calls_us(j.command) AS calls_us
    FROM cron.job j
    WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = wee5_cron.job_role())
    ORDER BY mine DESC, here DESC LIMIT 1
  $query$ INTO taken USING $1;
  IF taken.jobid IS NOT NULL AND NOT (taken.mine AND taken.here AND taken.calls_us) THEN
    RAISE EXCEPTION 'job "%" already exists: jobid % of "%"%', $1, taken.jobid, taken.username,
                    CASE WHEN NOT taken.here THEN format(' in database "%s"', taken.database)
                         WHEN NOT taken.calls_us THEN ', which does not call the app' ELSE '' END
      USING ERRCODE = 'duplicate_object',
            HINT = format('Choose another name, such as %L.', $1 || '@' || current_database());
  END IF;
  BEGIN
    new_jobid := wee5_cron.schedule_for_job_role($1, $2, command);
  EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'pg_cron does not understand the schedule "%"', left($2, 100)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give five fields: minute, hour, day of month, month, day of week. ''15 3 * * *'' is 3:15 every day, '
                   '''*/30 * * * *'' every half hour.';
  END;
  IF wee5_cron.never_fires($2, now()) THEN
    RAISE NOTICE 'schedule "%" never fires: no day in the next 40 years matches it', $2
      USING HINT = format('Choose days that exist: SELECT wee5_cron.schedule(%L, ''15 3 1 * *'', %L);', $1, $3);
  END IF;
  INSERT INTO wee5_cron.job AS j (job_name, jobid, endpoint_path)
  VALUES ($1, new_jobid, $3)
  ON CONFLICT (job_name) DO UPDATE SET jobid = excluded.jobid, endpoint_path = excluded.endpoint_path;
  RETURN new_jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.schedule(text, text, text) IS
  'Creates a pg_cron job for session_user that calls this path, and returns its jobid. If session_user already has a job of that name that calls the app, it gets the new schedule and path';

-- The row of a registered job stays, so that register_jobs() does not create the job again.
CREATE FUNCTION wee5_cron.remove_job(job_name text, jobid bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.remove_cron_job($2);
  DELETE FROM wee5_cron.job j WHERE j.job_name = $1 AND NOT j.registered;
  UPDATE wee5_cron.job j SET paused_at = NULL, pause_note = NULL, applied = false WHERE j.job_name = $1;
END
$$;
COMMENT ON FUNCTION wee5_cron.remove_job(text, bigint) IS 'Internal, for unschedule() and apply(): removes a job and what wee5_cron stores about it';

-- current_user is the owner of wee5_cron. Unless that is a superuser, it may change only its own jobs: for those of others, pg_cron
-- raises XX000.
CREATE FUNCTION wee5_cron.require_own_job(job_name text, jobid bigint, username text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF username <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
    RAISE EXCEPTION 'job "%" belongs to role "%"', job_name, username
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Only that role may change it: SET ROLE %I; then use cron.alter_job(%s, ...) or cron.unschedule(%s).',
                          username, jobid, jobid);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.require_own_job(text, bigint, text) IS
  'Internal, for unschedule(), pause() and resume(): raises 42501 for a job of another role';

CREATE FUNCTION wee5_cron.unschedule(job_name text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job constant record := wee5_cron.find_job($1);
BEGIN
  PERFORM wee5_cron.require_own_job($1, job.jobid, job.username);
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  PERFORM wee5_cron.remove_job($1, job.jobid);
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.unschedule(text) IS
  'Removes a job that calls the app from pg_cron, whoever created it. Its calls stay in the ledger';

-- NULL leaves a property as it is.
CREATE FUNCTION wee5_cron.alter_cron_job(jobid bigint, schedule text DEFAULT NULL, command text DEFAULT NULL,
                                         active boolean DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- pg_cron before 1.4 has no alter_job(). A trigger on its table tells its launcher.
  by_hand constant text := 'UPDATE cron.job j SET schedule = coalesce($2, j.schedule), command = coalesce($3, j.command), '
                           'active = coalesce($4, j.active) WHERE j.jobid = $1';
BEGIN
  IF wee5_cron.belongs_to_extension(
       'pg_proc', to_regprocedure('cron.alter_job(bigint,text,text,text,text,boolean)'), 'pg_cron') THEN
    BEGIN
      EXECUTE 'SELECT cron.alter_job($1, schedule => $2, command => $3, active => $4)' USING $1, $2, $3, $4;
    EXCEPTION WHEN internal_error THEN
      -- See remove_cron_job().
      EXECUTE by_hand USING $1, $2, $3, $4;
    END;
  ELSE
    EXECUTE by_hand USING $1, $2, $3, $4;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.alter_cron_job(bigint, text, text, boolean) IS 'Internal: changes one job in pg_cron';

CREATE FUNCTION wee5_cron.set_job_active(job_name text, active boolean, note text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job constant record := wee5_cron.find_job($1);
BEGIN
  PERFORM wee5_cron.require_own_job($1, job.jobid, job.username);
  IF job.active <> $2 THEN
    PERFORM wee5_cron.alter_cron_job(job.jobid, active => $2);
  END IF;
  IF $2 THEN
    UPDATE wee5_cron.job j SET paused_at = NULL, pause_note = NULL WHERE j.job_name = $1;
    DELETE FROM wee5_cron.job j
    WHERE j.job_name = $1 AND j.jobid IS NULL AND NOT j.registered AND j.catch_up IS NULL;
  ELSE
    -- Only jobs of ours have a jobid here: DROP EXTENSION removes those.
    INSERT INTO wee5_cron.job AS j (job_name, endpoint_path, paused_at, pause_note)
    VALUES ($1, wee5_cron.path_of_command(job.command), now(), $3)
    ON CONFLICT (job_name) DO UPDATE
    SET paused_at = CASE WHEN job.active THEN excluded.paused_at ELSE coalesce(j.paused_at, excluded.paused_at) END,
        pause_note = coalesce(excluded.pause_note, CASE WHEN NOT job.active THEN j.pause_note END);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.set_job_active(text, boolean, text) IS 'Internal, for pause() and resume()';

CREATE FUNCTION wee5_cron.pause(job_name text, note text DEFAULT NULL) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.set_job_active($1, false, $2) $$;
COMMENT ON FUNCTION wee5_cron.pause(text, text) IS
  'Stops pg_cron from starting a job until resume(). The note is kept in wee5_cron.job. Calls that are already queued are sent';

CREATE FUNCTION wee5_cron.resume(job_name text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.set_job_active($1, true, NULL) $$;
COMMENT ON FUNCTION wee5_cron.resume(text) IS 'Lets pg_cron run a job again. wee5_cron does not catch up on the runs in between';

CREATE FUNCTION wee5_cron.next_runs(job_name text, n int DEFAULT 5) RETURNS SETOF timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job constant record := wee5_cron.find_job($1);
  last_start timestamptz;
BEGIN
  IF n IS NULL OR n < 1 OR n > 10000 THEN
    RAISE EXCEPTION USING
      ERRCODE = CASE WHEN n IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
      MESSAGE = CASE WHEN n IS NULL THEN 'n must not be NULL' ELSE format('invalid number of runs: %s', n) END,
      HINT = 'Give the number of runs to list, 1 to 10000.';
  END IF;
  IF NOT job.active THEN
    RAISE NOTICE 'job "%" is paused', $1 USING HINT = format('SELECT wee5_cron.resume(%L);', $1);
    RETURN;
  END IF;
  SELECT r.at INTO last_start FROM wee5_cron.last_cron_starts() r WHERE r.jobid = job.jobid;
  RETURN QUERY SELECT unnest(wee5_cron.ticks(job.schedule, now(), n, last_start));
END
$$;
COMMENT ON FUNCTION wee5_cron.next_runs(text, int) IS
  'The next n times at which pg_cron starts a job. None while it is paused, or for a schedule such as @reboot';
