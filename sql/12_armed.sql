-- A restored copy of a database must not call the app: its queue and its jobs are the original's. So calls are made only
-- where this table has a row for the database. No dump carries it: CREATE EXTENSION writes it, but not in a restore, and
-- arm() does. A database that CREATE DATABASE ... TEMPLATE copied has the row, and an oid of its own. pg_upgrade, a
-- standby that is promoted, a new name and a copy of the data directory keep both.

CREATE TABLE wee5_cron.armed (
  database oid PRIMARY KEY,
  armed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  armed_by name NOT NULL DEFAULT SESSION_USER
);
COMMENT ON TABLE wee5_cron.armed IS 'Calls are made where this names the database itself: not in a restored dump or a copy, until arm()';
COMMENT ON COLUMN wee5_cron.armed.database IS 'pg_database.oid';
COMMENT ON COLUMN wee5_cron.armed.armed_at IS 'CREATE EXTENSION, or arm()';
COMMENT ON COLUMN wee5_cron.armed.armed_by IS 'session_user';

CREATE FUNCTION wee5_cron.is_armed() RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_is_armed';
COMMENT ON FUNCTION wee5_cron.is_armed() IS 'Internal: whether this database makes calls';

CREATE FUNCTION wee5_cron.wake_worker() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_wake_worker';
COMMENT ON FUNCTION wee5_cron.wake_worker() IS 'Internal: has the worker look at the ledger when this transaction commits';

CREATE FUNCTION wee5_cron.arm() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
BEGIN
  -- What a copied database brought along.
  DELETE FROM wee5_cron.armed a WHERE a.database <> here;
  INSERT INTO wee5_cron.armed (database) VALUES (here) ON CONFLICT DO NOTHING;
  PERFORM wee5_cron.wake_worker();
END
$$;
COMMENT ON FUNCTION wee5_cron.arm() IS
  'Lets a database that was restored from a dump, or copied, make calls: what is queued in it is sent, and its jobs call';
