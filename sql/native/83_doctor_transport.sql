CREATE FUNCTION wee5_cron.transport_of_a_get() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_transport_of_a_get';
COMMENT ON FUNCTION wee5_cron.transport_of_a_get() IS
  'Internal, for doctor(): the transport of a call of this session, or the error that the call would raise';

CREATE FUNCTION wee5_cron.pg_net_worker_lives() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_pg_net_worker_lives';
COMMENT ON FUNCTION wee5_cron.pg_net_worker_lives() IS
  'Internal, for doctor(): whether pg_net is installed in this database and its worker runs';

CREATE FUNCTION wee5_cron.doctor_uses_pg_net() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE wee5_cron.setting('transport') WHEN 'auto' THEN wee5_cron.pg_net_worker_lives()
                                                             WHEN 'pg_net' THEN true ELSE false END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_uses_pg_net() IS 'Internal, for doctor(): whether calls of this session use pg_net';

CREATE FUNCTION wee5_cron.doctor_use_builtin() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT format('ALTER DATABASE %I SET wee5_cron.transport = ''builtin'';', current_database()) $$;
COMMENT ON FUNCTION wee5_cron.doctor_use_builtin() IS
  'Internal, for doctor(): the statement that makes this database use the builtin transport';

CREATE FUNCTION wee5_cron.doctor_transport() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  asked_for text;
  chosen text;
  message text;
  hint text;
BEGIN
  asked_for := wee5_cron.setting('transport');
  BEGIN
    chosen := wee5_cron.transport_of_a_get();
  EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN NEXT ('transport', 'error', message,
                 CASE WHEN asked_for = 'pg_net' AND wee5_cron.library_preloaded()
                      THEN format('ALTER DATABASE %I SET wee5_cron.transport = ''auto'';', current_database())
                      WHEN asked_for = 'pg_net' THEN 'CREATE EXTENSION pg_net;'
                      WHEN NOT wee5_cron.library_preloaded() THEN wee5_cron.doctor_preload()
                      ELSE wee5_cron.doctor_comment(hint) END)::wee5_cron.finding;
    RETURN;
  END;
  RETURN NEXT ('transport', 'ok',
               format('calls use %s: wee5_cron.transport is %s', chosen, asked_for)
               || CASE WHEN asked_for <> 'auto' THEN ''
                       WHEN chosen = 'pg_net' THEN ', and pg_net is installed here and running'
                       WHEN wee5_cron.pg_net_installed() THEN ', and pg_net is installed here but not running'
                       ELSE ', and pg_net is not installed in this database' END, NULL)::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_transport() IS 'Internal, for doctor(): which transport calls use, and why';

CREATE FUNCTION wee5_cron.doctor_stopped_worker(state text, last_error text, pid int, database oid) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN $1 = 'incompatible' THEN wee5_cron.doctor_comment('See the line library_version.')
                -- The server's messages may be in any language: so see also whether anybody holds a lock.
                WHEN $2 !~ '\mlock'
                     AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                                     WHERE c.relnamespace = 'wee5_cron'::regnamespace AND l.granted AND l.pid <> $3
                                       AND l.mode NOT IN ('AccessShareLock', 'RowExclusiveLock', 'RowShareLock')
                                       AND l.database = $4) THEN
                  wee5_cron.doctor_comment('Nothing is lost: the worker keeps its answers, sends nothing new, and '
                                           'continues on its own once this is fixed. If the disk is full, free space.')
                ELSE 'SELECT pid, usename, state, query FROM pg_stat_activity WHERE pid IN (SELECT l.pid FROM '
                     'pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relnamespace = '
                     '''wee5_cron''::regnamespace AND l.granted AND l.mode NOT IN (''AccessShareLock'', '
                     '''RowExclusiveLock'') AND l.database = (SELECT d.oid FROM pg_database d '
                     'WHERE d.datname = current_database()));'
           END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_stopped_worker(text, text, int, oid) IS
  'Internal, for doctor(): what to do about a worker that cannot use the ledger';

CREATE FUNCTION wee5_cron.doctor_worker() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  worker record;
BEGIN
  SELECT s.* INTO worker FROM wee5_cron.worker_slots() s
  WHERE s.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  IF NOT wee5_cron.library_preloaded() THEN
    RETURN NEXT ('worker', 'ok', 'does not apply: wee5_cron is not preloaded', NULL)::wee5_cron.finding;
  ELSIF pg_is_in_recovery() THEN
    RETURN NEXT ('worker', 'ok', 'does not apply: this is a standby', NULL)::wee5_cron.finding;
  ELSIF worker.state = 'asleep' AND worker.last_error IS NULL THEN
    RETURN NEXT ('worker', 'ok', 'the worker sleeps until a call wakes it, because databases take turns', NULL)::wee5_cron.finding;
  ELSIF worker.state = 'starting' AND worker.last_error LIKE 'waits for its turn%'
        AND EXISTS (SELECT FROM wee5_cron.worker_slots() WHERE pid IS NOT NULL) THEN
    RETURN NEXT ('worker', 'warning',
                 'the worker waits for its turn: other databases use all background workers at the moment',
                 wee5_cron.doctor_comment('It starts as soon as another database has nothing to do, or after about ten '
                                          'seconds. If it should not have to wait, see worker_slots.')
                 )::wee5_cron.finding;
  ELSIF worker.pid IS NULL AND NOT (SELECT d.datallowconn FROM pg_database d WHERE d.datname = current_database()) THEN
    RETURN NEXT ('worker', 'error', 'this database accepts no connections, so it has no worker: calls of open sessions stay queued',
                 format('ALTER DATABASE %I ALLOW_CONNECTIONS true;', current_database()))::wee5_cron.finding;
  ELSIF worker.pid IS NULL THEN
    RETURN NEXT ('worker', 'error', 'this database has no worker: calls stay queued'
                 || coalesce('. The last worker said: ' || wee5_cron.doctor_redact(worker.last_error), ''),
                 wee5_cron.doctor_comment('The server''s log says why. If max_worker_processes is used up, see '
                                          'worker_slots.'))::wee5_cron.finding;
  ELSIF worker.state IN ('blocked', 'incompatible') THEN
    RETURN NEXT ('worker', 'error',
                 format('the worker (pid %s) is %s', worker.pid, worker.state)
                 || coalesce(': ' || wee5_cron.doctor_redact(worker.last_error), ''),
                 wee5_cron.doctor_stopped_worker(worker.state, worker.last_error, worker.pid, worker.datid))::wee5_cron.finding;
  ELSIF worker.last_error LIKE '%open files%' THEN
    RETURN NEXT ('worker', 'warning', format('the worker (pid %s) is %s: %s', worker.pid, worker.state, worker.last_error),
                 wee5_cron.doctor_comment('Raise the server''s limit of open files (LimitNOFILE= in its systemd unit, or '
                                          'ulimit -n) and restart the server, or lower wee5_cron.max_in_flight.')
                 )::wee5_cron.finding;
  ELSIF worker.last_error IS NOT NULL THEN
    RETURN NEXT ('worker', 'warning',
                 format('the worker (pid %s) makes calls, but another of its tasks fails: %s', worker.pid,
                        wee5_cron.doctor_redact(worker.last_error)),
                 wee5_cron.doctor_comment('The server''s log names the task. The worker tries again until it works.')
                 )::wee5_cron.finding;
  ELSE
    RETURN NEXT ('worker', 'ok', format('the worker (pid %s) is %s, requests in flight: %s',
                                        worker.pid, worker.state, worker.in_flight), NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_worker() IS 'Internal, for doctor(): the worker of this database';

CREATE FUNCTION wee5_cron.doctor_queue() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  waiting record;
BEGIN
  -- Reads a part of the open calls, however many there are.
  SELECT count(*) AS calls, min(o.due) AS since INTO waiting
  FROM ((SELECT coalesce(i.due_at, i.requested_at) AS due, i.status
         FROM wee5_cron.invocation i
         WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL LIMIT 10000)
        UNION ALL
        (SELECT i.next_attempt_at, i.status
         FROM wee5_cron.invocation i
         WHERE i.transport = 'builtin' AND i.finished_at IS NULL AND i.next_attempt_at < now() LIMIT 10000)) o
  WHERE o.status <> 'sending' AND o.due < clock_timestamp() - interval '1 minute';
  IF waiting.calls = 0 THEN
    RETURN NEXT ('queue', 'ok', 'no due call has waited for more than a minute',
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('queue', 'warning',
                 format('due calls that have waited for more than a minute: %s%s, the oldest since %s',
                        waiting.calls, CASE WHEN waiting.calls >= 10000 THEN ' or more' ELSE '' END,
                        to_char(waiting.since, 'YYYY-MM-DD HH24:MI:SS')),
                 E'SELECT * FROM wee5_cron.worker;\n'
                 '-- if in_flight has reached wee5_cron.max_in_flight, the app is too slow')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_queue() IS 'Internal, for doctor(): calls that wait for the worker';

CREATE FUNCTION wee5_cron.doctor_pg_net_worker() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  preloaded constant boolean := wee5_cron.library_preloaded();
  used constant boolean := wee5_cron.doctor_uses_pg_net();
BEGIN
  IF wee5_cron.pg_net_worker_lives() THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'pg_net''s worker runs', NULL)::wee5_cron.finding;
  ELSIF wee5_cron.setting('transport') = 'builtin' THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'pg_net''s worker does not run, and is not used', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_worker', CASE WHEN used OR NOT preloaded THEN 'error' ELSE 'warning' END,
                 'pg_net is installed in this database, but its worker does not run here'
                 || CASE WHEN used THEN ': calls stay queued'
                         WHEN preloaded THEN ': calls use the builtin transport'
                         ELSE ': calls are refused' END,
                 CASE WHEN preloaded THEN wee5_cron.doctor_use_builtin() ELSE wee5_cron.doctor_preload() END
                 || format(E'\n-- or let it run: pg_net in shared_preload_libraries, pg_net.database_name = %L, and a '
                           'restart', current_database()))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_worker() IS 'Internal, for doctor(): whether pg_net''s worker runs';

CREATE FUNCTION wee5_cron.doctor_pg_net_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  take_back constant text := 'REVOKE ALL ON net.http_request_queue, net._http_response FROM PUBLIC;';
BEGIN
  IF NOT wee5_cron.doctor_uses_pg_net() THEN
    RETURN NEXT ('pg_net_readers', 'ok', 'does not apply: calls do not use pg_net', NULL)::wee5_cron.finding;
  ELSIF EXISTS (
      SELECT FROM pg_class c CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
      WHERE c.oid IN ('net.http_request_queue'::regclass, 'net._http_response'::regclass) AND a.grantee = 0) THEN
    RETURN NEXT ('pg_net_readers', 'warning',
                 'every role may read and change net.http_request_queue, which holds the bearer secret until a call is '
                 'sent, and net._http_response',
                 CASE WHEN wee5_cron.library_preloaded() THEN
                   wee5_cron.doctor_use_builtin() || E'\n-- or, if no other role uses pg_net itself: ' || take_back
                 ELSE
                   take_back || E'\n-- roles that use pg_net themselves then need a GRANT; an update of pg_net may undo it'
                 END)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_readers', 'ok', 'pg_net''s tables are not open to every role', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_readers() IS 'Internal, for doctor(): whether every role can read pg_net''s tables';
