-- doctor(): whether this database makes calls, and whether it should.

CREATE FUNCTION wee5_cron.doctor_armed() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark record;
  since text;
  waiting bigint;
  is_copy boolean;
BEGIN
  SELECT a.armed_at, a.armed_by, a.note INTO mark FROM wee5_cron.armed a
  WHERE a.database = wee5_cron.database_oid() AND (a.xid = '0' OR wee5_cron.has_mark()) LIMIT 1;
  since := to_char(mark.armed_at, 'YYYY-MM-DD HH24:MI:SS');
  IF wee5_cron.has_mark() THEN
    RETURN NEXT ('armed', 'ok', format('the database makes calls; "%s" armed it at %s', mark.armed_by, since), NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  is_copy := NOT EXISTS (SELECT FROM wee5_cron.armed a WHERE a.database = wee5_cron.database_oid());
  SELECT count(*) INTO waiting FROM (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL LIMIT 100000) w;
  RETURN NEXT ('armed', 'error',
               CASE WHEN is_copy THEN 'the database was restored from a dump or copied, and makes no calls'
                    WHEN mark IS NULL THEN
                      'wee5_cron.armed was rewritten, changed or copied since arm(), and the database makes no calls'
                    ELSE format('the database was disarmed at %s by "%s"%s, and makes no calls', since, mark.armed_by,
                                coalesce(' (' || wee5_cron.doctor_redact(mark.note) || ')', '')) END
               || format('; queued calls: %s', waiting),
               E'SELECT wee5_cron.arm();\n'
               || CASE WHEN is_copy THEN '-- if this database shall call the app in place of the original. '
                       ELSE '-- ' END
               || 'Queued calls are then sent; arm(discard => true) cancels them')::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_armed() IS 'Internal, for doctor(): whether this database makes calls';

CREATE FUNCTION wee5_cron.doctor_enabled() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.library_preloaded();  -- defines the settings
  IF current_setting('wee5_cron.enabled')::boolean THEN
    RETURN NEXT ('enabled', 'ok', 'wee5_cron.enabled is on', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('enabled', 'error', 'wee5_cron.enabled is off: no database of this server makes calls',
                 E'ALTER SYSTEM SET wee5_cron.enabled = on;\nSELECT pg_reload_conf();\n'
                 '-- unless this server is a copy that must not call')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_enabled() IS 'Internal, for doctor(): whether wee5_cron.enabled is on';

CREATE FUNCTION wee5_cron.doctor_subscription_target() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  names text;
  statements text;
BEGIN
  SELECT string_agg(format('"%s"', s.name), ', '), string_agg(format(E'DROP SUBSCRIPTION %I;\n', s.name), '')
  INTO names, statements FROM wee5_cron.ledger_subscriptions() AS s (name);
  IF names IS NULL THEN
    RETURN NEXT ('subscription_target', 'ok', 'no subscription writes to the ledger', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('subscription_target', 'error',
                 format('the ledger comes from another database by subscription %s: that database makes the calls, and this '
                        'one makes none', names),
                 '-- to let this database call instead:' || E'\n' || statements || 'SELECT wee5_cron.arm();')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_subscription_target() IS
  'Internal, for doctor(): whether the ledger comes from another database by logical replication';

-- A copy of the data directory or a point-in-time recovery looks like a failover. Only people can tell.
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
                      THEN format('the server is on timeline %s, and was on %s when the database was armed. It was promoted or is a '
                                  'clone, and it makes calls', server.timeline, mark.timeline)
                      ELSE format('the server''s system identifier is %s, and was %s when the database was armed. It came from '
                                  'pg_upgrade or is a clone, and it makes calls', server.system_identifier,
                                  mark.system_identifier) END,
                 E'SELECT wee5_cron.arm();\n-- confirms that this server shall call. If it is a copy and the original still runs: '
                 'SELECT wee5_cron.disarm(''a copy'');')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_physical_clone() IS
  'Internal, for doctor(): whether this server may be a copy of the one on which the database was armed';
