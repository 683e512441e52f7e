CREATE FUNCTION wee5_cron.check_endpoint_path(endpoint_path text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  fault record;
BEGIN
  IF endpoint_path IS NULL THEN
    RAISE EXCEPTION 'endpoint_path must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the path of the route, e.g. ''/api/cron/poll-activities''.';
  END IF;
  SELECT f.rule, f.hint INTO fault FROM wee5_cron.fault_of_path(endpoint_path) f;
  IF fault.rule IS NOT NULL THEN
    RAISE EXCEPTION 'invalid endpoint path "%": %', wee5_cron.printable(endpoint_path), fault.rule
      USING ERRCODE = 'invalid_parameter_value', HINT = fault.hint;
  END IF;
  RETURN endpoint_path;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_endpoint_path(text) IS
  'Internal: returns the path as it is, or raises the error of a call with this path';

-- Without superuser, a role may change only its own jobs: for those of others, pg_cron raises XX000. cron.job is read-only.
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
