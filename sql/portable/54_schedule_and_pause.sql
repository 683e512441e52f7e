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
