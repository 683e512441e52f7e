-- Whether this database makes calls. See sql/common/12_armed.sql for the mark. A host restores a project as a physical
-- copy, which keeps the mark. So the identity of the server counts as well: a copy begins a new timeline.

-- receives_rows: this database has a subscription, perhaps to the ledger of another one.
CREATE FUNCTION wee5_cron.read_mark(OUT is_valid boolean, OUT timeline int, OUT receives_rows boolean)
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant oid := wee5_cron.database_oid();
  -- Of each row its id and its timeline. Arrays, because to prepare aggregates takes longer than to read the rows.
  mark bigint[];
BEGIN
  SELECT ARRAY(SELECT ARRAY[CASE WHEN a.xmin = a.xid THEN a.xid::text::bigint END, a.timeline]
               FROM wee5_cron.armed a WHERE a.database = here), EXISTS (SELECT FROM pg_subscription_rel)
  INTO mark, receives_rows;
  is_valid := coalesce(array_length(mark, 1) = 2 AND mark[1][1] >= 3 AND mark[2][1] >= 3
                       AND abs(mark[1][1] - mark[2][1]) NOT IN (0, 1, 4294967292), false);
  timeline := greatest(mark[1][2], mark[2][2]);
END
$$;
COMMENT ON FUNCTION wee5_cron.read_mark() IS 'Internal: the mark of this database: whether it is valid, and the timeline on which it was written';

CREATE FUNCTION wee5_cron.has_mark() RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_mark()).is_valid;
END
$$;
COMMENT ON FUNCTION wee5_cron.has_mark() IS 'Internal: whether this database has a valid mark';

-- same: the server on which the database was armed. copied: the same system identifier on another timeline, so a copy or a
-- failover. moved: another system identifier, so pg_upgrade. unknown: the owner of wee5_cron may not read the identity.
CREATE FUNCTION wee5_cron.identity_since_armed() RETURNS text
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN s.system_identifier IS NULL OR a.system_identifier IS NULL THEN 'unknown'
      WHEN s.system_identifier <> a.system_identifier THEN 'moved'
      WHEN s.timeline IS DISTINCT FROM a.timeline THEN 'copied'
      ELSE 'same' END
    FROM wee5_cron.armed a CROSS JOIN wee5_cron.server_identity() s
    WHERE a.xid <> '0' LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.identity_since_armed() IS
  'Internal: whether the server is the one on which this database was armed: same, copied, moved or unknown';

-- Each call asks this. To read the system identifier, Postgres reads a file and computes its checksum, so the timeline comes
-- first: on the timeline on which the database was armed, the server is no copy.
CREATE FUNCTION wee5_cron.call_permit(settings jsonb DEFAULT NULL) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  in_force constant jsonb := coalesce(settings, wee5_cron.settings_in_force());
  mark record;
BEGIN
  IF in_force ->> 'enabled' = 'off' THEN
    RETURN 'disabled';
  END IF;
  mark := wee5_cron.read_mark();
  IF mark.receives_rows AND EXISTS (SELECT FROM wee5_cron.ledger_subscriptions()) THEN
    RETURN 'subscriber';
  ELSIF NOT mark.is_valid THEN
    RETURN 'disarmed';
  ELSIF mark.timeline IS DISTINCT FROM wee5_cron.server_timeline() AND wee5_cron.identity_since_armed() = 'copied'
        AND in_force ->> 'on_physical_copy' <> 'continue' THEN
    RETURN 'copied';
  END IF;
  RETURN 'granted';
END
$$;
COMMENT ON FUNCTION wee5_cron.call_permit(jsonb) IS 'Internal: whether this database makes calls now: granted, or why not';

CREATE FUNCTION wee5_cron.is_armed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.call_permit() IN ('granted', 'disabled') $$;
COMMENT ON FUNCTION wee5_cron.is_armed() IS 'Internal: whether this database has a valid mark, and does not receive its ledger by logical replication';

CREATE FUNCTION wee5_cron.may_call() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.call_permit() = 'granted' $$;
COMMENT ON FUNCTION wee5_cron.may_call() IS 'Internal: whether this database makes calls now: it is armed, and wee5_cron.enabled is on';

CREATE FUNCTION wee5_cron.require_armed(settings jsonb DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  permit constant text := wee5_cron.call_permit(settings);
BEGIN
  IF permit = 'granted' THEN
    RETURN;
  ELSIF permit = 'disabled' THEN
    RAISE EXCEPTION 'wee5_cron.enabled is off: this database makes no calls'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'To switch calls on: SELECT wee5_cron.set(''enabled'', ''on'');';
  ELSIF permit = 'subscriber' THEN
    RAISE EXCEPTION 'database "%" receives its ledger by logical replication and makes no calls', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'The publisher makes them. To let this database call instead, drop the subscription, then: SELECT '
                   'wee5_cron.arm();';
  ELSIF permit = 'copied' THEN
    RAISE EXCEPTION 'database "%" was copied with its files or recovered after it was armed, and makes no calls', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'If this database should make calls instead of the original: SELECT wee5_cron.arm();';
  ELSIF EXISTS (SELECT FROM wee5_cron.armed a WHERE a.database = wee5_cron.database_oid() AND a.xid = '0') THEN
    RAISE EXCEPTION 'database "%" is disarmed and makes no calls', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'To let it make calls again: SELECT wee5_cron.arm();';
  ELSIF NOT EXISTS (SELECT FROM wee5_cron.armed) THEN
    RAISE EXCEPTION 'database "%" has not been armed, and makes no calls yet', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects'');';
  END IF;
  RAISE EXCEPTION 'database "%" was restored from a dump or copied, and makes no calls yet', current_database()
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = 'If this database should make calls instead of the original: SELECT wee5_cron.arm();';
END
$$;
COMMENT ON FUNCTION wee5_cron.require_armed(jsonb) IS 'Internal: raises an error unless this database makes calls';

CREATE FUNCTION wee5_cron.wake_worker() RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT $$;
COMMENT ON FUNCTION wee5_cron.wake_worker() IS 'Internal: makes the worker look at the ledger when this transaction commits';

-- A dump keeps no record of what was revoked from roles with default privileges: its restore grants to them again.
CREATE FUNCTION wee5_cron.revoke_restored_grants() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.revoke_from_api_roles();
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_restored_grants() IS 'Internal, for arm(): revokes what a restore has granted by default privileges';
