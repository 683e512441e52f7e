-- doctor(): whether this database makes calls at all.

CREATE FUNCTION wee5_cron.doctor_armed() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark record;
  waiting bigint;
BEGIN
  IF wee5_cron.is_armed() THEN
    SELECT a.armed_at, a.armed_by INTO mark
    FROM wee5_cron.armed a JOIN pg_database d ON d.oid = a.database WHERE d.datname = current_database();
    RETURN NEXT ('armed', 'ok', format('calls are made, since %s by "%s"', to_char(mark.armed_at, 'YYYY-MM-DD HH24:MI:SS'),
                                       mark.armed_by), NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  SELECT count(*) INTO waiting FROM (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL LIMIT 100000) w;
  RETURN NEXT ('armed', 'error',
               format('the database was restored from a dump or copied, and makes no calls; %s are queued', waiting),
               E'SELECT wee5_cron.arm();\n-- if it is to call the app in place of the one that it was made from; what is '
               'queued is sent then')::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_armed() IS 'Internal, of doctor(): whether this database makes calls';
