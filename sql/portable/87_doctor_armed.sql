CREATE FUNCTION wee5_cron.doctor_physical_clone() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  since_armed constant text := wee5_cron.identity_since_armed();
BEGIN
  IF since_armed IS NULL THEN
    RETURN NEXT ('physical_clone', 'ok', 'does not apply: the database makes no calls, see armed', NULL)::wee5_cron.finding;
  ELSIF since_armed = 'unknown' THEN
    RETURN NEXT ('physical_clone', 'warning',
                 'not known: the owner of wee5_cron may not call pg_control_system() or pg_walfile_name(), so a copy of the files '
                 'would make calls',
                 wee5_cron.doctor_comment('After a restore into another project, run there: SELECT wee5_cron.disarm(''a copy'');'))::wee5_cron.finding;
  ELSIF since_armed = 'copied' AND wee5_cron.setting('on_physical_copy') <> 'continue' THEN
    RETURN NEXT ('physical_clone', 'error',
                 'the database was copied with its files, recovered or failed over since it was armed, and makes no calls',
                 E'SELECT wee5_cron.arm();\n-- if this database is to call the app, and not the one that it was made from')::wee5_cron.finding;
  ELSE
    RETURN NEXT ('physical_clone', 'ok', 'this is the server on which the database was armed', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_physical_clone() IS
  'Internal, for doctor(): whether this server may be a copy of the one on which the database was armed';

-- Each database has this setting for itself.
CREATE FUNCTION wee5_cron.doctor_enabled() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  off constant boolean := NOT wee5_cron.setting('enabled')::boolean;
BEGIN
  RETURN NEXT ('enabled', CASE WHEN off THEN 'error' ELSE 'ok' END,
               CASE WHEN off THEN 'wee5_cron.enabled is off: this database makes no calls' ELSE 'wee5_cron.enabled is on' END,
               CASE WHEN off THEN E'SELECT wee5_cron.set(''enabled'', ''on'');\n-- unless this project is a copy that must not call' END)::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_enabled() IS 'Internal, for doctor(): whether wee5_cron.enabled is on';
