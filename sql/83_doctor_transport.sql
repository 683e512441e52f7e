-- doctor(): what carries the calls, our worker, and pg_net.

CREATE FUNCTION wee5_cron.transport_of_a_get() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_transport_of_a_get';
COMMENT ON FUNCTION wee5_cron.transport_of_a_get() IS
  'Internal, of doctor(): what would carry a call of this session, or the error that the call would raise';

CREATE FUNCTION wee5_cron.pg_net_worker_lives() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_pg_net_worker_lives';
COMMENT ON FUNCTION wee5_cron.pg_net_worker_lives() IS
  'Internal, of doctor(): whether pg_net is installed in this database and its worker runs';

CREATE FUNCTION wee5_cron.doctor_transport() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  asked_for text;
  chosen text;
  message text;
  hint text;
BEGIN
  PERFORM wee5_cron.library_preloaded();  -- defines the settings
  asked_for := current_setting('wee5_cron.transport');
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
               format('calls are carried by %s: wee5_cron.transport is %s', chosen, asked_for)
               || CASE WHEN asked_for <> 'auto' THEN ''
                       WHEN chosen = 'pg_net' THEN ', and pg_net is installed here and runs'
                       WHEN wee5_cron.pg_net_installed() THEN ', and pg_net is installed but does not run'
                       ELSE ', and pg_net is not installed in this database' END, NULL)::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_transport() IS 'Internal, of doctor(): what carries the calls, and why';

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
    RETURN NEXT ('worker', 'ok', 'the worker sleeps: databases take turns, and a call wakes it', NULL)::wee5_cron.finding;
  ELSIF worker.state = 'starting' AND worker.last_error LIKE 'waits for its turn%'
        AND EXISTS (SELECT FROM wee5_cron.worker_slots() WHERE pid IS NOT NULL) THEN
    RETURN NEXT ('worker', 'warning',
                 'the worker waits for its turn: other databases have all the background workers at the moment',
                 wee5_cron.doctor_comment('It gets one as soon as another database has nothing to do, and after about '
                                          'ten seconds in any case. For one of its own, see worker_slots.')
                 )::wee5_cron.finding;
  ELSIF worker.pid IS NULL THEN
    RETURN NEXT ('worker', 'error', 'this database has no worker: calls stay queued'
                 || coalesce('. The last one said: ' || wee5_cron.doctor_redact(worker.last_error), ''),
                 wee5_cron.doctor_comment('The server''s log says why. Where max_worker_processes is used up, see '
                                          'worker_slots.'))::wee5_cron.finding;
  ELSIF worker.state IN ('blocked', 'incompatible') THEN
    RETURN NEXT ('worker', 'error',
                 format('the worker (pid %s) is %s', worker.pid, worker.state)
                 || coalesce(': ' || wee5_cron.doctor_redact(worker.last_error), ''),
                 CASE WHEN worker.state = 'incompatible' THEN wee5_cron.doctor_comment('See the line library_version.')
                      WHEN worker.last_error !~ '\mlock' THEN
                        wee5_cron.doctor_comment('Nothing is lost: answers are kept, nothing new is sent, and it goes on '
                                                 'by itself when that is mended. A full disk needs room.')
                      ELSE 'SELECT pid, usename, state, query FROM pg_stat_activity WHERE pid IN (SELECT l.pid FROM '
                           'pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relnamespace = '
                           '''wee5_cron''::regnamespace AND l.granted AND l.mode NOT IN (''AccessShareLock'', '
                           '''RowExclusiveLock'') AND l.database = (SELECT d.oid FROM pg_database d '
                           'WHERE d.datname = current_database()));'
                 END)::wee5_cron.finding;
  ELSIF worker.last_error LIKE '%open files%' THEN
    RETURN NEXT ('worker', 'warning', format('the worker (pid %s) is %s: %s', worker.pid, worker.state, worker.last_error),
                 wee5_cron.doctor_comment('Raise the server''s limit of open files (LimitNOFILE= in its systemd unit, or '
                                          'ulimit -n) and restart the server, or lower wee5_cron.max_in_flight.')
                 )::wee5_cron.finding;
  ELSE
    RETURN NEXT ('worker', 'ok', format('the worker (pid %s) is %s, with %s requests on the wire',
                                        worker.pid, worker.state, worker.in_flight), NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_worker() IS 'Internal, of doctor(): our worker';

CREATE FUNCTION wee5_cron.doctor_queue() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  waiting record;
BEGIN
  -- A look at some of what is open, however much that is.
  SELECT count(*) AS calls, min(o.due) AS since INTO waiting
  FROM (SELECT coalesce(i.next_attempt_at, i.requested_at) AS due, i.status
        FROM wee5_cron.invocation i
        WHERE i.transport = 'builtin' AND i.finished_at IS NULL LIMIT 10000) o
  WHERE o.status <> 'sending' AND o.due < clock_timestamp() - interval '1 minute';
  IF waiting.calls = 0 THEN
    RETURN NEXT ('queue', 'ok', 'no call has been waiting for the builtin worker for more than a minute',
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('queue', 'warning',
                 format('%s%s calls have been due for more than a minute and are not sent, the oldest since %s',
                        waiting.calls, CASE WHEN waiting.calls >= 10000 THEN ' or more' ELSE '' END,
                        to_char(waiting.since, 'YYYY-MM-DD HH24:MI:SS')),
                 E'SELECT * FROM wee5_cron.worker;\n'
                 '-- where in_flight is at wee5_cron.max_in_flight, the app does not keep up')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_queue() IS 'Internal, of doctor(): what waits for our worker';

CREATE FUNCTION wee5_cron.doctor_pg_net() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  here constant name := current_database();
  preloaded constant boolean := wee5_cron.library_preloaded();
  to_builtin constant text := format('ALTER DATABASE %I SET wee5_cron.transport = ''builtin'';', here);
  lives boolean;
  used boolean;
  open record;
  planted text;
  statements text;
  check_name text;
BEGIN
  IF NOT wee5_cron.pg_net_installed() THEN
    FOREACH check_name IN ARRAY '{pg_net_worker,pg_net_harvest,pg_net_queue,pg_net_tampering,pg_net_readers}'::text[] LOOP
      RETURN NEXT (check_name, 'ok', 'does not apply: pg_net is not installed in this database',
                   NULL)::wee5_cron.finding;
    END LOOP;
    RETURN;
  END IF;
  lives := wee5_cron.pg_net_worker_lives();
  used := CASE current_setting('wee5_cron.transport') WHEN 'auto' THEN lives WHEN 'pg_net' THEN true ELSE false END;

  IF lives THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'pg_net''s worker runs', NULL)::wee5_cron.finding;
  ELSIF current_setting('wee5_cron.transport') = 'builtin' THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'pg_net''s worker does not run; it is not used', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_worker', CASE WHEN used OR NOT preloaded THEN 'error' ELSE 'warning' END,
                 'pg_net is installed in this database, and its worker does not run here'
                 || CASE WHEN used THEN ': calls stay queued' WHEN preloaded THEN ': calls are carried by builtin'
                         ELSE ': calls are refused' END,
                 CASE WHEN preloaded THEN to_builtin ELSE wee5_cron.doctor_preload() END
                 || format(E'\n-- or let it run: pg_net in shared_preload_libraries, pg_net.database_name = %L, and a '
                           'restart', here))::wee5_cron.finding;
  END IF;

  -- Who books its answers.
  SELECT count(*) AS calls, min(o.requested_at) AS since INTO open
  FROM (SELECT i.requested_at FROM wee5_cron.invocation i
        WHERE i.transport = 'pg_net' AND i.finished_at IS NULL LIMIT 10000) o
  WHERE o.requested_at < clock_timestamp() - interval '5 minutes';
  IF preloaded THEN
    RETURN NEXT ('pg_net_harvest', 'ok', 'the worker books pg_net''s answers', NULL)::wee5_cron.finding;
  ELSIF NOT used THEN
    RETURN NEXT ('pg_net_harvest', 'ok', 'does not apply: calls are not carried by pg_net', NULL)::wee5_cron.finding;
  ELSIF wee5_cron.pg_cron_installed() AND wee5_cron.doctor_harvest_job() THEN
    RETURN NEXT ('pg_net_harvest', 'ok', 'a job books pg_net''s answers', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_harvest', 'error', 'nobody books pg_net''s answers: wee5_cron is not preloaded, and no job does',
                 CASE WHEN wee5_cron.pg_cron_installed()
                      THEN 'SELECT cron.schedule(''wee5-cron-harvest'', ''* * * * *'', ''SELECT wee5_cron.harvest()'');'
                      ELSE wee5_cron.doctor_preload() END)::wee5_cron.finding;
  END IF;

  IF open.calls = 0 THEN
    RETURN NEXT ('pg_net_queue', 'ok', 'no call has been at pg_net for more than five minutes', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_queue', 'warning',
                 format('%s%s calls have been at pg_net for more than five minutes, the oldest since %s', open.calls,
                        CASE WHEN open.calls >= 10000 THEN ' or more' ELSE '' END,
                        to_char(open.since, 'YYYY-MM-DD HH24:MI:SS')),
                 E'SELECT wee5_cron.harvest();\n-- where its worker is stuck: SELECT net.worker_restart();'
                )::wee5_cron.finding;
  END IF;

  -- What somebody hung onto the queue runs with our rights and sees the bearer.
  SELECT string_agg(p.what, ', ' ORDER BY p.what), string_agg(p.statement, E'\n' ORDER BY p.what)
  INTO planted, statements
  FROM (
    SELECT format('trigger "%s"', t.tgname) AS what,
           format('DROP TRIGGER %I ON net.http_request_queue;', t.tgname) AS statement
    FROM pg_trigger t WHERE t.tgrelid = 'net.http_request_queue'::regclass AND NOT t.tgisinternal
    UNION ALL
    SELECT format('rule "%s"', r.rulename), format('DROP RULE %I ON net.http_request_queue;', r.rulename)
    FROM pg_rewrite r WHERE r.ev_class = 'net.http_request_queue'::regclass
    UNION ALL
    SELECT format('policy "%s"', p.polname), format('DROP POLICY %I ON net.http_request_queue;', p.polname)
    FROM pg_policy p WHERE p.polrelid = 'net.http_request_queue'::regclass
    UNION ALL
    SELECT 'row level security', 'ALTER TABLE net.http_request_queue DISABLE ROW LEVEL SECURITY;'
    FROM pg_class c WHERE c.oid = 'net.http_request_queue'::regclass AND c.relrowsecurity
  ) p;
  IF planted IS NULL THEN
    RETURN NEXT ('pg_net_tampering', 'ok', 'net.http_request_queue has no trigger, rule or policy',
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_tampering', CASE WHEN used THEN 'error' ELSE 'warning' END,
                 format('net.http_request_queue has %s, which would see the bearer secret: calls by pg_net are refused',
                        planted), statements)::wee5_cron.finding;
  END IF;

  IF NOT used THEN
    RETURN NEXT ('pg_net_readers', 'ok', 'does not apply: calls are not carried by pg_net', NULL)::wee5_cron.finding;
  ELSIF EXISTS (
      SELECT FROM pg_class c CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
      WHERE c.oid IN ('net.http_request_queue'::regclass, 'net._http_response'::regclass) AND a.grantee = 0) THEN
    RETURN NEXT ('pg_net_readers', 'warning',
                 'every role may read and change net.http_request_queue, where the bearer secret lies until a call is '
                 'sent, and net._http_response',
                 CASE WHEN preloaded THEN
                   to_builtin || E'\n-- or, where no other role uses pg_net itself: '
                   'REVOKE ALL ON net.http_request_queue, net._http_response FROM PUBLIC;'
                 ELSE
                   E'REVOKE ALL ON net.http_request_queue, net._http_response FROM PUBLIC;\n'
                   '-- roles that call pg_net themselves then need a GRANT; an update of pg_net may bring it back'
                 END)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_readers', 'ok', 'pg_net''s tables are not open to every role', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net() IS 'Internal, of doctor(): pg_net''s worker, its queue, and who can get at it';

CREATE FUNCTION wee5_cron.doctor_harvest_job() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found boolean;
BEGIN
  EXECUTE $query$
    SELECT EXISTS (SELECT FROM cron.job j
                   WHERE j.database = current_database() AND j.active AND wee5_cron.harvests(j.command))
  $query$ INTO found;
  RETURN found;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_harvest_job() IS 'Internal, of doctor(): whether a job runs harvest()';
