-- A copy of a database must not call the app: its queue and its jobs belong to the original. A database makes calls
-- only if the table wee5_cron.armed holds a valid mark: exactly two rows with this database's oid, each with the id of
-- the transaction that wrote the row in its column xid. No copy by SQL keeps that. A restore and logical replication
-- write the rows in transactions of their own. (One row can be right by coincidence; two whose ids are not neighbours
-- cannot.) CREATE DATABASE ... TEMPLATE gives the copy another oid. Copies of files keep the mark: pg_upgrade, a
-- standby, a base backup. So does VACUUM, which leaves the raw xmin of a frozen row as it was. Anything that rewrites
-- the table with new transaction ids (ALTER TABLE ... TYPE, pg_repack) disarms the database.
--
-- The table has no key, which a replicated row could violate. With REPLICA IDENTITY FULL, publications let DELETE pass.

CREATE TABLE wee5_cron.armed (
  database oid NOT NULL,
  armed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  armed_by name NOT NULL DEFAULT SESSION_USER,
  xid xid NOT NULL DEFAULT '0',
  note text,
  system_identifier bigint,
  timeline int
) USING heap;
ALTER TABLE wee5_cron.armed REPLICA IDENTITY FULL;
COMMENT ON TABLE wee5_cron.armed IS
  'Whether this database makes calls. arm() writes two rows, each with the id of the transaction that writes it. A copy, an update or a rewrite of the table breaks that match, and the database makes no calls';
COMMENT ON COLUMN wee5_cron.armed.database IS 'pg_database.oid';
COMMENT ON COLUMN wee5_cron.armed.armed_at IS 'When CREATE EXTENSION or arm() armed the database, or disarm() disarmed it';
COMMENT ON COLUMN wee5_cron.armed.armed_by IS 'session_user who armed or disarmed it';
COMMENT ON COLUMN wee5_cron.armed.xid IS 'Transaction that wrote this row; 0: the database was disarmed';
COMMENT ON COLUMN wee5_cron.armed.note IS 'Note given to disarm()';
COMMENT ON COLUMN wee5_cron.armed.system_identifier IS
  'System identifier of the server on which the database was armed, as in pg_control_system(); NULL: it is not known, or the database was not armed';
COMMENT ON COLUMN wee5_cron.armed.timeline IS 'Timeline of that server';

-- The secret part of the idempotency keys of jobs' calls: nobody can compute such a key without it. A copy of the files
-- has the same id as the original; any other database has its own. It is valid only together with a valid mark, and is written
-- by the transaction of the mark's first row.
CREATE TABLE wee5_cron.arming (
  database oid NOT NULL,
  xid xid NOT NULL,
  id bytea NOT NULL
) USING heap;
ALTER TABLE wee5_cron.arming REPLICA IDENTITY FULL;
COMMENT ON TABLE wee5_cron.arming IS 'Internal: 16 random bytes that arm() stores. Only the owner may read them';
COMMENT ON COLUMN wee5_cron.arming.database IS 'pg_database.oid';
COMMENT ON COLUMN wee5_cron.arming.xid IS 'Transaction that wrote this row and a row of wee5_cron.armed';
COMMENT ON COLUMN wee5_cron.arming.id IS 'The random bytes';

-- Each call asks. This looks up one row, and a query of pg_database costs three times as much.
CREATE FUNCTION wee5_cron.database_oid() RETURNS oid
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN (pg_get_object_address('database', ARRAY[current_database()::text], '{}')).objid; END $$;
COMMENT ON FUNCTION wee5_cron.database_oid() IS 'Internal: pg_database.oid of this database';

-- A hosting provider may have revoked the functions that these two call. They ask first: a block with EXCEPTION begins a
-- subtransaction, which Postgres refuses in a parallel query. A standby has no timeline of its own.
CREATE FUNCTION wee5_cron.server_timeline() RETURNS int
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT (has_function_privilege('pg_is_in_recovery()', 'EXECUTE') AND has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE')
          AND has_function_privilege('pg_current_wal_insert_lsn()', 'EXECUTE')) THEN
    RETURN NULL;
  END IF;
  RETURN CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END;
END
$$;
COMMENT ON FUNCTION wee5_cron.server_timeline() IS 'Internal: the timeline of the server; NULL if it has none or cannot be known';

CREATE FUNCTION wee5_cron.server_identity(OUT system_identifier bigint, OUT timeline int)
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  timeline := wee5_cron.server_timeline();
  IF NOT has_function_privilege('pg_control_system()', 'EXECUTE') THEN
    timeline := NULL;
  ELSIF timeline IS NOT NULL THEN
    SELECT c.system_identifier INTO system_identifier FROM pg_control_system() c;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.server_identity() IS
  'Internal: what a physical copy has in common with its original until it is promoted; NULL if it cannot be known';

-- Writes each row in a subtransaction of its own: that is what a block with EXCEPTION is. The ids must not be
-- neighbours, because statements that commit one by one, such as a restore by INSERT, have consecutive ids.
CREATE FUNCTION wee5_cron.write_mark(armed_at timestamptz, armed_by name, id bytea) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant oid := wee5_cron.database_oid();
  server constant record := wee5_cron.server_identity();
  first xid;
  second xid;
BEGIN
  -- WHERE true: where safeupdate is loaded, it refuses a statement without WHERE.
  DELETE FROM wee5_cron.armed WHERE true;
  DELETE FROM wee5_cron.arming WHERE true;
  BEGIN
    INSERT INTO wee5_cron.armed (database, armed_at, armed_by, system_identifier, timeline)
    VALUES (here, $1, $2, server.system_identifier, server.timeline);
    UPDATE wee5_cron.armed a SET xid = a.xmin WHERE true RETURNING a.xid INTO first;
    IF first IS NULL THEN
      RETURN;  -- arm() says why
    END IF;
    INSERT INTO wee5_cron.arming (database, xid, id) VALUES (here, first, $3);
  EXCEPTION WHEN SQLSTATE 'W5NB0' THEN
    NULL;
  END;
  LOOP
    BEGIN
      INSERT INTO wee5_cron.armed (database, armed_at, armed_by, system_identifier, timeline)
      VALUES (here, $1, $2, server.system_identifier, server.timeline);
      UPDATE wee5_cron.armed a SET xid = a.xmin WHERE a.xid = '0' RETURNING a.xid INTO second;
      -- The second number, because 3 follows 4294967295.
      IF abs(first::text::bigint - second::text::bigint) IN (1, 4294967292) THEN
        RAISE SQLSTATE 'W5NB0';
      END IF;
      EXIT;
    EXCEPTION WHEN SQLSTATE 'W5NB0' THEN
      -- That id is used up. The next one is not a neighbour.
      NULL;
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.write_mark(timestamptz, name, bytea) IS
  'Internal, for arm(): deletes everything in the table and writes the mark of this database';

CREATE FUNCTION wee5_cron.ledger_subscriptions() RETURNS SETOF name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT DISTINCT s.subname
    FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
    WHERE r.srrelid IN ('wee5_cron.invocation'::regclass, 'wee5_cron.attempt'::regclass)
    ORDER BY 1
  $$;
COMMENT ON FUNCTION wee5_cron.ledger_subscriptions() IS
  'Internal: subscriptions through which this database receives the ledger of another one';

CREATE FUNCTION wee5_cron.discard_queue() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  cancelled bigint := 0;
BEGIN
  FOR call IN
    SELECT i.id, i.endpoint_path,
           i.transport = 'pg_net' AND EXISTS (SELECT FROM wee5_cron.pg_net_request b WHERE b.invocation_id = i.id) AS handed_over
    FROM wee5_cron.invocation i
    -- The predicates of the two indexes of unfinished calls.
    WHERE i.finished_at IS NULL AND (i.next_attempt_at IS NULL OR i.next_attempt_at IS NOT NULL)
    ORDER BY i.id
  LOOP
    cancelled := cancelled + CASE WHEN call.handed_over THEN wee5_cron.cancel_on_pg_net(call.id)
                                  ELSE wee5_cron.end_cancelled(call.id, call.endpoint_path) END::int;
  END LOOP;
  RETURN cancelled;
END
$$;
COMMENT ON FUNCTION wee5_cron.discard_queue() IS 'Internal, for arm(): cancels all calls that have not ended, and returns how many';

CREATE FUNCTION wee5_cron.arm(discard boolean DEFAULT false) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  subscriptions text;
  statements text;
  mark record;
  server record;
  calls bigint;
BEGIN
  SELECT string_agg(format('"%s"', s.name), ', '), string_agg(format('DROP SUBSCRIPTION %I;', s.name), ' ')
  INTO subscriptions, statements FROM wee5_cron.ledger_subscriptions() AS s (name);
  IF subscriptions IS NOT NULL THEN
    RAISE EXCEPTION 'database "%" receives its ledger by subscription % and cannot be armed',
                    current_database(), subscriptions
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('The publisher makes these calls. To let this database call instead: %s SELECT wee5_cron.arm();',
                          statements);
  END IF;
  LOCK TABLE wee5_cron.armed IN SHARE ROW EXCLUSIVE MODE;
  server := wee5_cron.server_identity();
  IF discard THEN
    calls := wee5_cron.discard_queue();
    IF calls > 0 THEN
      RAISE NOTICE 'cancelled calls: %', calls;
    END IF;
  END IF;
  IF NOT wee5_cron.is_armed() THEN
    IF discard IS NOT TRUE THEN
      SELECT count(*) INTO calls FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND (i.next_attempt_at IS NULL OR i.next_attempt_at <= clock_timestamp()) AND i.status <> 'accepted';
      IF calls > 0 THEN
        RAISE NOTICE 'overdue calls to be sent now: %', calls
          USING HINT = 'To cancel them instead, roll back, then: SELECT wee5_cron.arm(discard => true);';
      END IF;
    END IF;
    PERFORM wee5_cron.revoke_restored_grants();
    PERFORM wee5_cron.write_mark(
      now(), session_user,
      substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16));
  ELSE
    SELECT a.armed_at, a.armed_by, a.system_identifier, a.timeline, r.id INTO mark
    FROM wee5_cron.armed a LEFT JOIN wee5_cron.arming r ON r.xid = a.xid AND r.xmin = r.xid
    WHERE a.database = wee5_cron.database_oid() ORDER BY r.id NULLS LAST LIMIT 1;
    -- After a failover or pg_upgrade, this is the server that calls.
    IF (mark.system_identifier, mark.timeline) IS DISTINCT FROM (server.system_identifier, server.timeline) THEN
      PERFORM wee5_cron.write_mark(mark.armed_at, mark.armed_by, mark.id);
    END IF;
  END IF;
  IF NOT wee5_cron.is_armed() THEN
    RAISE EXCEPTION 'database "%" could not be armed: a trigger, rule or policy on wee5_cron.armed changes what is written to it',
                    current_database()
      USING ERRCODE = 'triggered_action_exception', HINT = 'Look at the table: \d wee5_cron.armed';
  END IF;
  PERFORM wee5_cron.wake_worker();
END
$$;
COMMENT ON FUNCTION wee5_cron.arm(boolean) IS
  'Lets this database make calls, after a restore from a dump, a copy, or disarm(). Queued calls are sent, or cancelled with discard => true. In an armed database it confirms that this server is the one that calls, for example after a failover';

CREATE FUNCTION wee5_cron.disarm(note text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant oid := wee5_cron.database_oid();
  armed boolean;
  before wee5_cron.armed;
BEGIN
  LOCK TABLE wee5_cron.armed IN SHARE ROW EXCLUSIVE MODE;
  armed := wee5_cron.is_armed();
  SELECT a.* INTO before FROM wee5_cron.armed a
  WHERE a.database = here AND (armed OR a.xid = '0') ORDER BY a.armed_at LIMIT 1;
  DELETE FROM wee5_cron.armed WHERE true;
  DELETE FROM wee5_cron.arming WHERE true;
  INSERT INTO wee5_cron.armed (database, armed_at, armed_by, note, system_identifier, timeline)
  VALUES (here, CASE WHEN armed OR before.armed_at IS NULL THEN now() ELSE before.armed_at END,
          CASE WHEN armed OR before.armed_by IS NULL THEN session_user ELSE before.armed_by END,
          coalesce($1, before.note), before.system_identifier, before.timeline);
  IF wee5_cron.is_armed() THEN
    RAISE EXCEPTION 'database "%" could not be disarmed: a trigger, rule or policy on wee5_cron.armed changes what is written to it',
                    current_database()
      USING ERRCODE = 'triggered_action_exception', HINT = 'Look at the table: \d wee5_cron.armed';
  END IF;
  PERFORM wee5_cron.wake_worker();
END
$$;
COMMENT ON FUNCTION wee5_cron.disarm(text) IS
  'Stops all calls of this database until arm(). New calls raise an error, queued calls wait, and requests in flight end. doctor() shows the note';

-- The publisher goes on calling. This database must not make the same calls once the subscription has ended.
CREATE FUNCTION wee5_cron.disarm_subscriber() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  subscriptions text;
BEGIN
  SELECT string_agg(format('"%s"', s.name), ', ') INTO subscriptions FROM wee5_cron.ledger_subscriptions() AS s (name);
  IF subscriptions IS NOT NULL AND wee5_cron.has_mark() THEN
    PERFORM wee5_cron.disarm(format('its ledger came from another database by subscription %s', subscriptions));
    -- The open calls are the publisher's, so pg_net has no answers to them here: answers_are_ours().
    UPDATE wee5_cron.armed SET system_identifier = NULL, timeline = NULL WHERE true;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.disarm_subscriber() IS
  'Internal, for the worker and harvest(): disarms the database if its ledger comes from another one by logical replication';

CREATE FUNCTION wee5_cron.answers_are_ours() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT NOT EXISTS (SELECT FROM wee5_cron.ledger_subscriptions())
       AND (wee5_cron.is_armed()
            OR EXISTS (SELECT FROM wee5_cron.armed a CROSS JOIN wee5_cron.server_identity() s
                       WHERE a.database = wee5_cron.database_oid() AND a.xid = '0'
                         AND a.system_identifier = s.system_identifier))
  $$;
COMMENT ON FUNCTION wee5_cron.answers_are_ours() IS
  'Internal, for harvest(): whether this very database handed the open calls to pg_net, even if it was disarmed since';
