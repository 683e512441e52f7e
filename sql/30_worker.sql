-- What the workers are doing, read from shared memory.

CREATE FUNCTION wee5_cron.worker_slots(OUT datid oid, OUT pid int, OUT state text, OUT in_flight int, OUT sent bigint,
                                       OUT succeeded bigint, OUT failed bigint, OUT started_at timestamptz,
                                       OUT last_error text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_worker_slots';
COMMENT ON FUNCTION wee5_cron.worker_slots() IS 'Internal, of the view worker: a row a database that has or wants a worker';

-- Whoever keeps the ledger locked keeps the worker from its work, and must not keep people from being told so.
CREATE FUNCTION wee5_cron.queued_calls() RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
  AS $$
BEGIN
  RETURN (SELECT count(*) FROM wee5_cron.invocation i
          WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL AND i.status <> 'sending');
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.queued_calls() IS
  'Internal, of the view worker: how many calls of this database wait to be sent; NULL while the ledger is locked';

CREATE VIEW wee5_cron.worker AS
  SELECT d.datname, s.pid, s.state, s.in_flight,
         CASE WHEN d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              THEN wee5_cron.queued_calls() END AS queued,
         s.sent, s.succeeded, s.failed, s.started_at, s.last_error
  FROM wee5_cron.worker_slots() s
  JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid;
COMMENT ON VIEW wee5_cron.worker IS
  'A row a database with a worker. state: starting, idle, sending, blocked, incompatible, stopping; sent, succeeded and failed count since started_at; queued is known for the current database only, and not while its ledger is locked';
