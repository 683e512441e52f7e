-- The view worker: what the workers are doing, from shared memory.

-- A lock on the ledger stops the worker, and must not stop the view that says so.
CREATE FUNCTION wee5_cron.queued_calls() RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
  AS $$
BEGIN
  RETURN (SELECT count(*) FROM wee5_cron.invocation i
          WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL AND i.status <> 'sending')
         + (SELECT count(*) FROM wee5_cron.invocation i
            WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at <= now() AND i.status = 'queued');
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.queued_calls() IS
  'Internal, for the view worker: how many calls of this database wait to be sent; NULL while the ledger is locked';

CREATE VIEW wee5_cron.worker AS
  SELECT d.datname, s.pid, s.state, s.in_flight,
         CASE WHEN d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              THEN wee5_cron.queued_calls() END AS queued,
         s.sent, s.succeeded, s.failed, s.started_at, s.last_error
  FROM wee5_cron.worker_slots() s
  JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid;
COMMENT ON VIEW wee5_cron.worker IS 'One row per database that has a worker, or whose worker sleeps or is about to start. Empty if the library is not preloaded';
COMMENT ON COLUMN wee5_cron.worker.datname IS 'Database';
COMMENT ON COLUMN wee5_cron.worker.pid IS 'Process id of the worker; NULL: it has no process at the moment';
COMMENT ON COLUMN wee5_cron.worker.state IS
  'starting, idle, sending, blocked (last_error says why; no call is lost), incompatible (the library and the SQL have different versions), stopping, asleep (databases take turns, and this one has nothing to do at the moment; a call wakes it)';
COMMENT ON COLUMN wee5_cron.worker.in_flight IS 'Requests in flight';
COMMENT ON COLUMN wee5_cron.worker.queued IS 'Calls that are due and not sent. NULL for other databases, and while the ledger is locked';
COMMENT ON COLUMN wee5_cron.worker.sent IS 'Requests sent since the server started';
COMMENT ON COLUMN wee5_cron.worker.succeeded IS 'Calls that succeeded since the server started';
COMMENT ON COLUMN wee5_cron.worker.failed IS 'Calls that failed since the server started';
COMMENT ON COLUMN wee5_cron.worker.started_at IS 'When the worker started; while it is asleep: when the last one started';
COMMENT ON COLUMN wee5_cron.worker.last_error IS 'What stops the worker from working or starting. Of other databases, only their owner and pg_read_all_stats see it';
