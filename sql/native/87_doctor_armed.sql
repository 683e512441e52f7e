-- A copy of the data directory or a point-in-time recovery looks like a failover. Only a person can tell them apart.
CREATE FUNCTION wee5_cron.doctor_physical_clone() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  server constant record := wee5_cron.server_identity();
  mark record;
BEGIN
  SELECT a.armed_at, a.system_identifier, a.timeline INTO mark FROM wee5_cron.armed a
  WHERE a.database = wee5_cron.database_oid() AND wee5_cron.has_mark() LIMIT 1;
  IF pg_is_in_recovery() THEN
    RETURN NEXT ('physical_clone', 'ok', 'does not apply: this is a standby', NULL)::wee5_cron.finding;
  ELSIF mark IS NULL THEN
    RETURN NEXT ('physical_clone', 'ok', 'does not apply: the database makes no calls, see armed', NULL)::wee5_cron.finding;
  ELSIF server.system_identifier IS NULL OR mark.system_identifier IS NULL THEN
    RETURN NEXT ('physical_clone', 'ok', 'not known: the extension''s owner may not call pg_control_system() or pg_walfile_name()',
                 NULL)::wee5_cron.finding;
  ELSIF mark.system_identifier = server.system_identifier AND mark.timeline = server.timeline THEN
    RETURN NEXT ('physical_clone', 'ok', 'this is the server on which the database was armed', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('physical_clone', 'warning',
                 CASE WHEN mark.system_identifier = server.system_identifier
                      THEN format('the server was promoted or is a clone, and it makes calls: its timeline is %s, and was %s when '
                                  'the database was armed', server.timeline, mark.timeline)
                      ELSE format('the server came from pg_upgrade or is a clone, and it makes calls: its system identifier is %s, '
                                  'and was %s when the database was armed', server.system_identifier,
                                  mark.system_identifier) END,
                 E'SELECT wee5_cron.arm();\n-- confirms that this server should make calls. If it is a copy and the original still runs: '
                 'SELECT wee5_cron.disarm(''a copy'');')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_physical_clone() IS
  'Internal, for doctor(): whether this server may be a copy of the one on which the database was armed';

CREATE FUNCTION wee5_cron.doctor_enabled() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.setting('enabled')::boolean THEN
    RETURN NEXT ('enabled', 'ok', 'wee5_cron.enabled is on', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('enabled', 'error', 'wee5_cron.enabled is off: no database of this server makes calls',
                 E'ALTER SYSTEM SET wee5_cron.enabled = on;\nSELECT pg_reload_conf();\n'
                 '-- unless this server is a copy that must not call')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_enabled() IS 'Internal, for doctor(): whether wee5_cron.enabled is on';
