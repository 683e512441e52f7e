CREATE FUNCTION wee5_cron.has_mark() RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_has_mark';
COMMENT ON FUNCTION wee5_cron.has_mark() IS 'Internal: whether this database has a valid mark';

CREATE FUNCTION wee5_cron.is_armed() RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_is_armed';
COMMENT ON FUNCTION wee5_cron.is_armed() IS 'Internal: whether this database has a valid mark, and does not receive its ledger by logical replication';

CREATE FUNCTION wee5_cron.may_call() RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_may_call';
COMMENT ON FUNCTION wee5_cron.may_call() IS 'Internal: whether this database makes calls now: it is armed, and wee5_cron.enabled is on';

CREATE FUNCTION wee5_cron.wake_worker() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_wake_worker';
COMMENT ON FUNCTION wee5_cron.wake_worker() IS 'Internal: makes the worker look at the ledger when this transaction commits';

-- Nothing to do: the script of the extension revokes what default privileges grant, and a restore runs that script.
CREATE FUNCTION wee5_cron.revoke_restored_grants() RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT $$;
COMMENT ON FUNCTION wee5_cron.revoke_restored_grants() IS 'Internal, for arm(): revokes what a restore has granted by default privileges';
