-- doctor(): policies that the table would refuse today, and that came with a restore or by logical replication.

CREATE FUNCTION wee5_cron.doctor_policies() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  policy wee5_cron.endpoint;
  lines bigint := 0;
  message text;
  advice text;
BEGIN
  FOR policy IN SELECT * FROM wee5_cron.endpoint e ORDER BY e.endpoint_path LIMIT 10000 LOOP
    BEGIN
      PERFORM wee5_cron.check_policy(policy);
    EXCEPTION WHEN invalid_parameter_value THEN
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
      lines := lines + 1;
      RETURN NEXT ('policies', 'warning', format('policy of %s: %s', left(policy.endpoint_path, 200), message),
                   format(E'SELECT * FROM wee5_cron.endpoint WHERE endpoint_path = %L;\n%s', policy.endpoint_path,
                          wee5_cron.doctor_comment('Correct the column, or set it to NULL for the default. ' || advice))
                  )::wee5_cron.finding;
      EXIT WHEN lines = 50;
    END;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('policies', 'ok', 'every policy in wee5_cron.endpoint is valid', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_policies() IS 'Internal, for doctor(): rows of wee5_cron.endpoint that the table would refuse today';
