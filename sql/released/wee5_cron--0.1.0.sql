-- wee5_cron 0.1.0: HTTP cron that lives in the database.
-- Joined from the topic files in sql/ by Makefile.pgxs, in the order of their numbers.
\echo Use "CREATE EXTENSION wee5_cron" to load this file. \quit

-- invoke_cron_endpoint goes to the schema that CREATE EXTENSION names; everything else to the schema wee5_cron, which
-- is the extension's own and must not exist before: objects that somebody planted there would be run as the owner.
DO $$
BEGIN
  IF '@extschema@' = 'wee5_cron' THEN
    RAISE EXCEPTION 'wee5_cron cannot be installed with SCHEMA wee5_cron'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'That schema is made by the extension itself. Name the one in which invoke_cron_endpoint shall stand: '
                   'CREATE EXTENSION wee5_cron SCHEMA public;';
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'wee5_cron') THEN
    RAISE EXCEPTION 'a schema named wee5_cron exists already'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'The extension makes that schema itself. Look at what it holds (\dn+ wee5_cron), then '
                   'ALTER SCHEMA wee5_cron RENAME TO ... or DROP SCHEMA wee5_cron.';
  END IF;
END
$$;

CREATE SCHEMA wee5_cron;
COMMENT ON SCHEMA wee5_cron IS 'HTTP cron: the ledger of calls, its jobs and its functions';

-- Functions, not ours, that a call with one string can reach: invoke_cron_endpoint(text) itself, other string types, more
-- arguments with defaults. The hand-written function that this extension takes the place of would go on answering, from
-- another schema to every job whose search_path finds it first. One that takes a number, say, is another matter.
CREATE FUNCTION wee5_cron.other_endpoint_functions(OUT schema name, OUT name text, OUT way_out text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname, f.name,
           -- A member of an extension cannot be dropped by itself.
           CASE WHEN EXISTS (SELECT FROM pg_depend d
                             WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
                THEN format('ALTER ROUTINE %s RENAME TO invoke_cron_endpoint_before;', f.name)
                ELSE format('DROP %s %s;', CASE p.prokind WHEN 'f' THEN 'FUNCTION' ELSE 'ROUTINE' END, f.name) END
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_type t ON t.oid = CASE WHEN p.provariadic <> 0 AND p.pronargs = 1 THEN p.provariadic ELSE p.proargtypes[0] END
    CROSS JOIN LATERAL format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) AS f (name)
    WHERE p.proname = 'invoke_cron_endpoint' AND t.typcategory = 'S' AND p.pronargs - p.pronargdefaults <= 1
      AND n.nspname !~ '^pg_temp_'  -- found by its full name only
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'wee5_cron')
    ORDER BY n.nspname, f.name
  $$;
COMMENT ON FUNCTION wee5_cron.other_endpoint_functions() IS
  'Internal: functions of other makers that answer a call invoke_cron_endpoint(''...''), and the statement that ends it';

DO $$
DECLARE
  target CONSTANT text := '@extschema@';  -- as an identifier, so quoted where it has to be
  others text;
  ways_out text;
  elsewhere text;
BEGIN
  SELECT pg_catalog.string_agg(o.name, ', '), pg_catalog.string_agg(o.way_out, ' '),
         pg_catalog.min(pg_catalog.quote_ident(o.schema)) FILTER (WHERE pg_catalog.quote_ident(o.schema) OPERATOR(pg_catalog.<>) target)
  INTO others, ways_out, elsewhere
  FROM wee5_cron.other_endpoint_functions() o;
  IF others IS NULL THEN
    RETURN;
  END IF;
  -- Pasted, the hint has to lead to the schema that was asked for, by name or as the first of the search_path.
  RAISE EXCEPTION 'there is a function already that answers calls of invoke_cron_endpoint: %', others
    USING ERRCODE = 'duplicate_function',
          HINT = pg_catalog.concat(
            'Replace it in one transaction, so that no job finds none: BEGIN; ', ways_out, ' CREATE EXTENSION wee5_cron',
            CASE WHEN target OPERATOR(pg_catalog.<>) 'public' OR (SELECT s.reset_val OPERATOR(pg_catalog.<>) s.boot_val
                   FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path')
                 THEN ' SCHEMA ' OPERATOR(pg_catalog.||) target END,
            '; COMMIT;',
            E'\n-- where calls say ' OPERATOR(pg_catalog.||) elsewhere OPERATOR(pg_catalog.||)
            '.invoke_cron_endpoint(...), with SCHEMA ' OPERATOR(pg_catalog.||) elsewhere);
END
$$;
-- The ledger: one row a call, one row an attempt. The invocation row is the queue as well: the worker of the database
-- reads what is not finished, sends it, and records what came of it.

-- A sequence of our own, logged: no crash gives an id out again.
CREATE SEQUENCE wee5_cron.invocation_id_seq;

CREATE TABLE wee5_cron.invocation (
  id bigint PRIMARY KEY DEFAULT pg_catalog.nextval('wee5_cron.invocation_id_seq'),
  job_name text,
  endpoint_path text NOT NULL,
  method text NOT NULL DEFAULT 'GET',
  body jsonb,
  headers jsonb NOT NULL DEFAULT '{}',
  url text,
  transport text NOT NULL CHECK (transport IN ('builtin', 'pg_net')),
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'sending', 'retrying', 'succeeded', 'failed', 'skipped', 'cancelled')),
  reason text CHECK (reason IN ('config', 'dns', 'connect', 'tls', 'timeout', 'http', 'redirect', 'response', 'lost',
                                'overlap', 'paused', 'cancelled')),
  error text,
  hint text,
  http_status int,
  attempts int NOT NULL DEFAULT 0,
  requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  requested_by name NOT NULL DEFAULT SESSION_USER,
  scheduled_at timestamptz,
  first_sent_at timestamptz,
  next_attempt_at timestamptz,
  finished_at timestamptz,
  duration interval,
  cron_run_id bigint,
  idempotency_key uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
  response_content_type text,
  response_body text,
  response_truncated boolean NOT NULL DEFAULT false,
  timeout interval,
  exclusive text CHECK (exclusive IN ('path', 'route'))
);
ALTER SEQUENCE wee5_cron.invocation_id_seq OWNED BY wee5_cron.invocation.id;
COMMENT ON SEQUENCE wee5_cron.invocation_id_seq IS 'Ids of calls; logged, so that no crash gives one out again';

-- What is to be sent now, or is on the wire: a route's calls in the order of their ids. In the predicate stands
-- finished_at and not status, so that queued -> sending stays a heap-only update.
CREATE INDEX invocation_open ON wee5_cron.invocation (transport, (pg_catalog.split_part(endpoint_path, '?', 1)) COLLATE "C", id)
  WHERE finished_at IS NULL AND next_attempt_at IS NULL;
-- What waits for its time. When that has come, next_attempt_at becomes NULL, and the call takes its turn above.
CREATE INDEX invocation_retry ON wee5_cron.invocation (next_attempt_at) WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL;
-- Whether a call of a path has not ended yet: overlap.
CREATE INDEX invocation_unfinished ON wee5_cron.invocation (endpoint_path COLLATE "C") WHERE finished_at IS NULL;
-- A job's runs, newest last: job_status.
CREATE INDEX invocation_job ON wee5_cron.invocation (job_name, id) WHERE job_name IS NOT NULL;
-- Those that succeeded, which have no reason: a job that fails has its last success far behind. Again without status.
CREATE INDEX invocation_job_success ON wee5_cron.invocation (job_name, id)
  WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NULL;

COMMENT ON TABLE wee5_cron.invocation IS
  'One row a call. status: queued -> sending -> (retrying -> sending)* -> succeeded | failed; besides skipped, cancelled. succeeded means that the app answered 2xx, nothing else does';
COMMENT ON COLUMN wee5_cron.invocation.id IS 'what invoke_cron_endpoint() returns, and X-Wee5-Cron-Invocation';
COMMENT ON COLUMN wee5_cron.invocation.job_name IS 'cron.job.jobname of the job that made the call, NULL for a call by hand';
COMMENT ON COLUMN wee5_cron.invocation.endpoint_path IS 'as the caller gave it';
COMMENT ON COLUMN wee5_cron.invocation.method IS 'GET, POST, PUT, PATCH, DELETE or HEAD';
COMMENT ON COLUMN wee5_cron.invocation.body IS 'of the request; NULL: none';
COMMENT ON COLUMN wee5_cron.invocation.headers IS 'beyond the ones that every call has; for a job also x-vercel-cron-schedule';
COMMENT ON COLUMN wee5_cron.invocation.url IS 'the URL that was called; on the builtin transport known when it is sent';
COMMENT ON COLUMN wee5_cron.invocation.transport IS 'builtin: our own worker; pg_net: that extension';
COMMENT ON COLUMN wee5_cron.invocation.status IS
  'queued: waits to be sent. sending: on the wire for more than a quarter of a second, or sent at most once. retrying: failed, and is made again at next_attempt_at. succeeded, failed, skipped (not made) and cancelled are final';
COMMENT ON COLUMN wee5_cron.invocation.reason IS
  'why it did not succeed: config (no usable address or secret), dns, connect, tls, timeout, http (the status), redirect, response (no complete answer), lost (cut off by a crash), overlap, paused, cancelled; while retrying: why the last attempt did not';
COMMENT ON COLUMN wee5_cron.invocation.error IS 'what happened, one plain sentence';
COMMENT ON COLUMN wee5_cron.invocation.hint IS 'what to do about it';
COMMENT ON COLUMN wee5_cron.invocation.http_status IS 'of the last answer; NULL: there was none';
COMMENT ON COLUMN wee5_cron.invocation.attempts IS 'attempts begun';
COMMENT ON COLUMN wee5_cron.invocation.requested_at IS 'begin of the transaction that made the call';
COMMENT ON COLUMN wee5_cron.invocation.requested_by IS 'session_user of the caller; app.settings.* are looked up for this role';
COMMENT ON COLUMN wee5_cron.invocation.scheduled_at IS 'the tick that a job''s call is for';
COMMENT ON COLUMN wee5_cron.invocation.first_sent_at IS 'NULL on pg_net, which does not tell';
COMMENT ON COLUMN wee5_cron.invocation.next_attempt_at IS 'when a call that failed is made again; NULL as soon as that time has come';
COMMENT ON COLUMN wee5_cron.invocation.finished_at IS 'NULL: the call has not ended';
COMMENT ON COLUMN wee5_cron.invocation.duration IS 'finished_at - first_sent_at; NULL on pg_net';
COMMENT ON COLUMN wee5_cron.invocation.cron_run_id IS 'cron.job_run_details.runid of the run that made the call';
COMMENT ON COLUMN wee5_cron.invocation.idempotency_key IS 'sent as Idempotency-Key, the same on every attempt and by retry()';
COMMENT ON COLUMN wee5_cron.invocation.response_content_type IS 'of the last answer';
COMMENT ON COLUMN wee5_cron.invocation.response_body IS
  'the first wee5_cron.max_response_bytes of the answer, as text: bad bytes and NUL replaced';
COMMENT ON COLUMN wee5_cron.invocation.response_truncated IS 'response_body is not all of it';
COMMENT ON COLUMN wee5_cron.invocation.timeout IS 'of each attempt; NULL: wee5_cron.request_timeout when it is sent';
COMMENT ON COLUMN wee5_cron.invocation.exclusive IS
  'the call is skipped while another one of its path (path), or of its path with whatever query (route), has not ended; NULL: it may overlap';

-- No foreign key: it would cost every call a row lock.
CREATE TABLE wee5_cron.attempt (
  invocation_id bigint NOT NULL,
  attempt int NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  http_status int,
  reason text,
  error text,
  dns_ms real,
  connect_ms real,
  tls_ms real,
  first_byte_ms real,
  total_ms real,
  PRIMARY KEY (invocation_id, attempt)
);
COMMENT ON TABLE wee5_cron.attempt IS
  'One row an attempt that ended. dns_ms ... total_ms are lengths of phases in milliseconds; NULL: not reached, or not needed on a reused connection, or on pg_net, which does not tell';
COMMENT ON COLUMN wee5_cron.attempt.invocation_id IS 'wee5_cron.invocation.id';
COMMENT ON COLUMN wee5_cron.attempt.attempt IS '1, 2, ...: X-Wee5-Cron-Attempt';
COMMENT ON COLUMN wee5_cron.attempt.started_at IS 'on pg_net when it was handed over; of the first attempt when the call was requested';
COMMENT ON COLUMN wee5_cron.attempt.finished_at IS 'on pg_net when its answer was booked';
COMMENT ON COLUMN wee5_cron.attempt.http_status IS 'NULL: there was no answer';
COMMENT ON COLUMN wee5_cron.attempt.reason IS 'as in wee5_cron.invocation; NULL: it succeeded';
COMMENT ON COLUMN wee5_cron.attempt.error IS 'what happened, one plain sentence; NULL: it succeeded';
COMMENT ON COLUMN wee5_cron.attempt.dns_ms IS 'looking up the name';
COMMENT ON COLUMN wee5_cron.attempt.connect_ms IS 'the TCP connection';
COMMENT ON COLUMN wee5_cron.attempt.tls_ms IS 'the TLS handshake';
COMMENT ON COLUMN wee5_cron.attempt.first_byte_ms IS 'from the request to the first byte of the answer';
COMMENT ON COLUMN wee5_cron.attempt.total_ms IS 'all of it';

-- Ours beside cron.job.
CREATE TABLE wee5_cron.job (
  job_name text PRIMARY KEY,
  jobid bigint,
  endpoint_path text,
  catch_up text CHECK (catch_up IN ('once', 'none')),
  registered boolean NOT NULL DEFAULT false,
  paused_at timestamptz,
  pause_note text
);
COMMENT ON TABLE wee5_cron.job IS
  'What is known of jobs beside cron.job: those that register_jobs() and schedule() made, and of others what was said of them (pause(), catch_up). Where pg_cron is in another database, which job calls which path';
COMMENT ON COLUMN wee5_cron.job.job_name IS 'cron.job.jobname';
COMMENT ON COLUMN wee5_cron.job.jobid IS 'cron.job.jobid of a job that we made, which DROP EXTENSION removes; NULL: not ours';
COMMENT ON COLUMN wee5_cron.job.endpoint_path IS 'the path that it calls. Where pg_cron is in another database, its calls are known by it';
COMMENT ON COLUMN wee5_cron.job.catch_up IS
  'once (the default): the newest run that was missed is made up for within an hour; none: it is only counted';
COMMENT ON COLUMN wee5_cron.job.registered IS
  'made by register_jobs(), which does not bring it back once it was deleted; unregister_jobs() removes it';
COMMENT ON COLUMN wee5_cron.job.paused_at IS 'when pause() was called; NULL: it is not paused by it';
COMMENT ON COLUMN wee5_cron.job.pause_note IS 'what pause() was told';

-- Which pg_net request carries which call. UNLOGGED like pg_net's own tables: the crash that empties those and restarts
-- their ids empties this one too, so a stranger's answer is never taken for ours.
CREATE UNLOGGED TABLE wee5_cron.pg_net_request (
  invocation_id bigint PRIMARY KEY,
  request_id bigint NOT NULL,
  handed_over_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  queue oid DEFAULT pg_catalog.to_regclass('net.http_request_queue')
);
COMMENT ON COLUMN wee5_cron.pg_net_request.queue IS 'pg_net''s queue table: one that was dropped and made again counts anew';
COMMENT ON TABLE wee5_cron.pg_net_request IS 'Calls handed to pg_net whose answer is not booked yet';

-- The backend of a pg_cron run that made a call: pg_cron may commit its own row later than the call, so the run's id is
-- looked up when the call is booked. UNLOGGED: after a crash those pids mean nothing.
CREATE UNLOGGED TABLE wee5_cron.cron_caller (
  invocation_id bigint PRIMARY KEY,
  pid int NOT NULL
);
COMMENT ON TABLE wee5_cron.cron_caller IS 'Calls by pg_cron whose cron_run_id is not known yet';

SELECT pg_catalog.pg_extension_config_dump('wee5_cron.invocation', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.invocation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.attempt', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.job', '');
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
-- The delivery policy of a path. A call's path is looked up whole, then without its query; a path without a row, and a
-- column that is NULL, have the defaults.

CREATE TABLE wee5_cron.endpoint (
  endpoint_path text COLLATE "C" PRIMARY KEY,
  method text,
  body jsonb,
  headers jsonb,
  timeout interval,
  max_attempts int,
  retry_on text,
  retry_delays interval[],
  retry_window interval,
  overlap text,
  alert_after int,
  note text
);
COMMENT ON TABLE wee5_cron.endpoint IS
  'Delivery policy of a path. A call''s path is looked up whole, then without its query; NULL: the default. What a call says itself counts more';
COMMENT ON COLUMN wee5_cron.endpoint.endpoint_path IS
  'with a query: for calls of exactly this path; without: also for calls with any query that has no row of its own';
COMMENT ON COLUMN wee5_cron.endpoint.method IS 'GET (the default), POST, PUT, PATCH, DELETE or HEAD';
COMMENT ON COLUMN wee5_cron.endpoint.body IS 'goes with the method: a call that names another method does not carry it';
COMMENT ON COLUMN wee5_cron.endpoint.headers IS 'a call''s own headers are added to these, and count more where both name the same';
COMMENT ON COLUMN wee5_cron.endpoint.timeout IS 'of an attempt; the default is wee5_cron.request_timeout';
COMMENT ON COLUMN wee5_cron.endpoint.max_attempts IS 'the first one included; the default is 4';
COMMENT ON COLUMN wee5_cron.endpoint.retry_on IS
  'unprocessed (the default): DNS, connection or TLS failed, or the app answered 429 or 503. transient: also timeouts, broken connections, 408, 425, 5xx. never: sent at most once, crashes included';
COMMENT ON COLUMN wee5_cron.endpoint.retry_delays IS
  'after the first attempt, the second ...; the last repeats; each is spread by 20 %. The default is {10s,1min,5min}';
COMMENT ON COLUMN wee5_cron.endpoint.retry_window IS 'no attempt begins later than this after the first; the default is 1 hour';
COMMENT ON COLUMN wee5_cron.endpoint.overlap IS
  'allow, or skip: a call is skipped while an earlier one has not ended. By default calls by a job skip, calls by hand are allowed';
COMMENT ON COLUMN wee5_cron.endpoint.alert_after IS 'failures in a row until somebody is told; the default is 3';
COMMENT ON COLUMN wee5_cron.endpoint.note IS 'for people';

-- Says what is wrong with a row, in words, before it is written; and tells every session and the worker, which keep what
-- they know of this table, that it has changed. Hence for DELETE, and also where session_replication_role is replica.
CREATE FUNCTION wee5_cron.check_endpoint() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_endpoint';
COMMENT ON FUNCTION wee5_cron.check_endpoint() IS 'Internal, of the table endpoint: checks a row and announces the change';

CREATE TRIGGER check_endpoint BEFORE INSERT OR UPDATE OR DELETE ON wee5_cron.endpoint
  FOR EACH ROW EXECUTE FUNCTION wee5_cron.check_endpoint();
ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;

SELECT pg_catalog.pg_extension_config_dump('wee5_cron.endpoint', '');
-- Making a call, and waiting for it. SECURITY DEFINER: EXECUTE on the function is the only right that a caller needs.
-- What is left out is as wee5_cron.endpoint says: NULL, since no other default could be told from a choice.
-- Not STRICT: a NULL path must be an error, not a call that silently does not happen.

CREATE FUNCTION @extschema@.invoke_cron_endpoint(endpoint_path text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_endpoint';
COMMENT ON FUNCTION @extschema@.invoke_cron_endpoint(text) IS
  'Queues GET <api_url><endpoint_path> with the bearer secret and returns the id of its row in wee5_cron.invocation. Sent when the transaction commits, discarded when it rolls back';

CREATE FUNCTION wee5_cron.invoke(endpoint_path text, method text DEFAULT NULL, body jsonb DEFAULT NULL,
                                 headers jsonb DEFAULT NULL, timeout interval DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke';
COMMENT ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval) IS
  'invoke_cron_endpoint with choices: method GET, POST, PUT, PATCH, DELETE or HEAD, a JSON body, more headers, a timeout. What is left out or NULL is as wee5_cron.endpoint says for the path, else GET, no body, no more headers, wee5_cron.request_timeout';

-- For run_now(), and for runs that are made up for, which are their owner's calls.
CREATE FUNCTION wee5_cron.invoke_for_job(job_name text, endpoint_path text, role name DEFAULT NULL,
                                         schedule text DEFAULT NULL, tick timestamptz DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_for_job';
COMMENT ON FUNCTION wee5_cron.invoke_for_job(text, text, name, text, timestamptz) IS
  'Internal: a call in the name of a job, with the settings of a role, NULL: of session_user; by hand, or, with a tick, as the job would have made it then';

CREATE FUNCTION wee5_cron.wait_for(id bigint, timeout interval DEFAULT '1 minute') RETURNS wee5_cron.invocation
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_wait_for';
COMMENT ON FUNCTION wee5_cron.wait_for(bigint, interval) IS
  'Waits until the call has ended and returns its row; at the timeout the row as it stands. 55000 for a call of the current transaction, which is not sent before that commits; 02000 for an unknown id. Of a call of another login role headers, body and response_body are NULL, unless the ledger may be read';
-- A call and its outcome in one statement. As a job's command it makes pg_cron's own history tell what the app answered.

-- run() has to commit in its middle, so it is a procedure, runs with its caller's rights and pins no search_path: Postgres
-- forbids COMMIT otherwise. Hence every name in it carries its schema, types and operators too: what the caller's
-- search_path leads to is never looked at.

CREATE FUNCTION wee5_cron.commit_is_possible() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_commit_is_possible';
COMMENT ON FUNCTION wee5_cron.commit_is_possible() IS
  'Internal, of run(): whether the procedure that asks may COMMIT; not in a transaction block, a function or a block with EXCEPTION';

CREATE PROCEDURE wee5_cron.run(endpoint_path text)
  LANGUAGE plpgsql
  AS $$
DECLARE
  call_id pg_catalog.int8;
  outcome wee5_cron.invocation;
  hint pg_catalog.text;
BEGIN
  -- COMMIT itself would say "invalid transaction termination".
  IF NOT wee5_cron.commit_is_possible() THEN
    RAISE EXCEPTION 'wee5_cron.run() cannot work in a transaction block or a function: its call is sent when that commits'
      USING ERRCODE = 'invalid_transaction_termination',
            HINT = pg_catalog.format('CALL wee5_cron.run(%1$L) alone, also as the only statement of a job; or in two '
                                     'transactions SELECT wee5_cron.invoke(%1$L), then SELECT wee5_cron.wait_for(id).',
                                     endpoint_path);
  END IF;
  call_id := wee5_cron.invoke(endpoint_path);
  COMMIT;
  LOOP
    outcome := wee5_cron.wait_for(call_id, '1 second'::pg_catalog.interval);
    -- Lets go of the snapshot, which would keep VACUUM from its work while a slow route is waited for; and keeps the
    -- answer where wait_for() booked it.
    COMMIT;
    EXIT WHEN outcome.finished_at IS NOT NULL;
  END LOOP;

  IF outcome.status OPERATOR(pg_catalog.=) 'succeeded' THEN
    RETURN;
  END IF;
  hint := COALESCE(outcome.hint, pg_catalog.format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call_id));
  IF outcome.status OPERATOR(pg_catalog.=) 'skipped'
        AND outcome.reason OPERATOR(pg_catalog.=) ANY ('{overlap,paused}'::pg_catalog.text[]) THEN
    RAISE NOTICE USING
      MESSAGE = pg_catalog.format('call %s of %s was skipped: %s', call_id, endpoint_path,
                                  COALESCE(outcome.error, outcome.reason)),
      HINT = hint;
    RETURN;
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'external_routine_exception',
    MESSAGE = pg_catalog.format(CASE WHEN outcome.status OPERATOR(pg_catalog.=) 'failed' THEN 'call %s of %s failed: %s'
                                     ELSE 'call %s of %s was not made: %s' END,
                                call_id, endpoint_path, COALESCE(outcome.error, outcome.reason, outcome.status)),
    HINT = hint;
END
$$;
COMMENT ON PROCEDURE wee5_cron.run(text) IS
  'Makes one call, waits for its end however long that takes, and raises 38000 unless it succeeded: a job CALL wee5_cron.run(...) is failed in cron.job_run_details when the app did not answer 2xx. A call skipped because the one before has not ended is a notice; one skipped for want of settings is a failure. Holds a pg_cron slot while it waits';
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
COMMENT ON VIEW wee5_cron.worker IS 'A row a database that has a worker, or waits for one; none where the library is not preloaded';
COMMENT ON COLUMN wee5_cron.worker.datname IS 'the database';
COMMENT ON COLUMN wee5_cron.worker.pid IS 'of the worker; NULL: there is none at the moment';
COMMENT ON COLUMN wee5_cron.worker.state IS
  'starting, idle, sending, blocked (last_error says by what; nothing is lost), incompatible (the library is of another version than the SQL), stopping';
COMMENT ON COLUMN wee5_cron.worker.in_flight IS 'requests on the wire';
COMMENT ON COLUMN wee5_cron.worker.queued IS 'calls that are due and not sent; known for the current database only, and not while the ledger is locked';
COMMENT ON COLUMN wee5_cron.worker.sent IS 'requests since started_at';
COMMENT ON COLUMN wee5_cron.worker.succeeded IS 'since started_at';
COMMENT ON COLUMN wee5_cron.worker.failed IS 'since started_at';
COMMENT ON COLUMN wee5_cron.worker.started_at IS 'when the worker began';
COMMENT ON COLUMN wee5_cron.worker.last_error IS 'what keeps the worker from its work, or from running';
-- What people do with calls that were made, and overlap as harvest() asks for it. The rules are in C, where calls are
-- made and sent.

CREATE FUNCTION wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_call_beside';
COMMENT ON FUNCTION wee5_cron.call_beside(bigint, text, text, name) IS
  'Internal, of harvest(): a call that has not ended and that this one would overlap with; NULL: it may be sent';

CREATE FUNCTION wee5_cron.lock_path(endpoint_path text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_lock_path';
COMMENT ON FUNCTION wee5_cron.lock_path(text) IS
  'Internal, of harvest(): false, without waiting, while another transaction is queueing a call of this path on pg_net';

CREATE FUNCTION wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_overlap';
COMMENT ON FUNCTION wee5_cron.explain_overlap(text, bigint) IS 'Internal, of harvest(): what is said about a call that is skipped';

-- Calls that the worker shall give up. It is the one who sends them, so it alone can say whether a call is given up in
-- time; and whoever writes here holds no row of the ledger that the worker would have to wait for. No key: two sessions
-- that cancel the same calls must not wait for each other.
CREATE TABLE wee5_cron.cancellation (
  invocation_id bigint NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  requested_by name NOT NULL DEFAULT SESSION_USER
);
COMMENT ON TABLE wee5_cron.cancellation IS 'Calls that cancel() asks the worker to give up; a row goes when its call has ended';

CREATE FUNCTION wee5_cron.refuse_tampered_queue() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_refuse_tampered_queue';
COMMENT ON FUNCTION wee5_cron.refuse_tampered_queue() IS
  'Internal, of cancel(): an error where pg_net''s queue has a trigger, rule or policy, which would run with our rights';

-- pg_net's own worker works through batches, whose rows it holds locked: what it has taken up is not to be had back.
CREATE FUNCTION wee5_cron.cancel_on_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  taken_back bigint := 0;
BEGIN
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_id AND i.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF call.next_attempt_at IS NULL AND wee5_cron.pg_net_installed() THEN
    PERFORM wee5_cron.refuse_tampered_queue();
    EXECUTE $query$
      DELETE FROM net.http_request_queue d WHERE d.id IN (
        SELECT q.id FROM net.http_request_queue q JOIN wee5_cron.pg_net_request b ON b.request_id = q.id
        WHERE b.invocation_id = $1 AND b.queue = 'net.http_request_queue'::regclass FOR UPDATE OF q SKIP LOCKED)
    $query$ USING call_id;
    GET DIAGNOSTICS taken_back = ROW_COUNT;
    IF taken_back = 0 THEN
      RAISE NOTICE 'call % cannot be taken back: pg_net is sending it, or has sent it', call_id
        USING HINT = format('SELECT wee5_cron.wait_for(%s);', call_id);
      RETURN false;
    END IF;
  END IF;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id;
  UPDATE wee5_cron.invocation i
  SET status = 'cancelled', reason = 'cancelled', error = format('The call of %L was cancelled.', call.endpoint_path),
      hint = NULL, next_attempt_at = NULL, finished_at = clock_timestamp()
  WHERE i.id = call_id;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel_on_pg_net(bigint) IS
  'Internal, of cancel(): takes a request back that pg_net has not begun to send';

CREATE FUNCTION wee5_cron.cancel(id bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'id must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id that invoke_cron_endpoint() returned.';
  END IF;
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no call % in wee5_cron.invocation', $1
      USING ERRCODE = '02000',
            HINT = 'SELECT id, endpoint_path, status FROM wee5_cron.invocation WHERE finished_at IS NULL;';
  END IF;
  IF call.finished_at IS NOT NULL THEN
    RETURN false;
  END IF;
  IF call.transport = 'pg_net' THEN
    RETURN wee5_cron.cancel_on_pg_net($1);
  END IF;
  IF NOT wee5_cron.library_preloaded() THEN
    -- No worker sends it, nor would give it up.
    UPDATE wee5_cron.invocation i
    SET status = 'cancelled', reason = 'cancelled', error = format('The call of %L was cancelled.', i.endpoint_path),
        hint = NULL, next_attempt_at = NULL, finished_at = clock_timestamp(), duration = clock_timestamp() - i.first_sent_at
    WHERE i.id = $1 AND i.finished_at IS NULL;
    RETURN FOUND;
  END IF;
  INSERT INTO wee5_cron.cancellation (invocation_id) VALUES ($1);
  PERFORM wee5_cron.wake_worker();
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.cancel(bigint) IS
  'Gives up a call that is queued, waits for its next attempt or is on the wire: the worker does when this transaction commits, and the row ends cancelled. False where the call has ended already, or pg_net has taken it up';

CREATE FUNCTION wee5_cron.retry(id bigint) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_retry';
COMMENT ON FUNCTION wee5_cron.retry(bigint) IS
  'Makes a call that has ended once more, as it was and with the same idempotency key, and returns the id of the new row';
-- Where the app is, and the secret that it expects.

-- In C, because a statement with the secret in it would stand in logs and statistics.
CREATE FUNCTION wee5_cron.configure(api_url text, cron_secret text, store text DEFAULT 'database') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_configure';
COMMENT ON FUNCTION wee5_cron.configure(text, text, text) IS
  'Checks and stores the app''s address and the bearer secret: for this database (store = database, as ALTER DATABASE does) or in Supabase Vault (store = vault). Says neither back; the next call has them';

CREATE FUNCTION wee5_cron.setting_sources(role name DEFAULT SESSION_USER, OUT name text, OUT source text,
                                          OUT is_set boolean, OUT length int, OUT value text, OUT error text,
                                          OUT hint text)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_setting_sources';
COMMENT ON FUNCTION wee5_cron.setting_sources(name) IS
  'Internal, of doctor(): for calls of this role, where app.settings.* come from (session, role in database, role, database, all, vault, none), how many bytes they have, the address, what is wrong with them and what to do. An address with an error is valid but for plain http. Never the secret';
-- Booking what pg_net made of our calls, and which pg_cron run made which call.

-- Objects of other extensions are touched only where pg_depend ties them to that extension: a schema or table of the
-- same name that somebody else made would be run, or read, with the rights of the owner of these functions.
CREATE FUNCTION wee5_cron.belongs_to_extension(catalog regclass, object oid, extension name) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
      WHERE d.classid = catalog AND d.objid = object AND d.objsubid = 0
        AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = extension)
  $$;
COMMENT ON FUNCTION wee5_cron.belongs_to_extension(regclass, oid, name) IS
  'Internal: whether CREATE EXTENSION made this object';

CREATE FUNCTION wee5_cron.pg_net_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('net.http_request_queue'), 'pg_net')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('net._http_response'), 'pg_net')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_installed() IS 'Internal: whether the tables of the extension pg_net are in this database';

CREATE FUNCTION wee5_cron.pg_cron_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job'), 'pg_cron')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job_run_details'), 'pg_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_installed() IS 'Internal: whether the tables of the extension pg_cron are in this database';

-- The ledger's words for what pg_net tells; reason, error and hint are NULL where there is nothing to say.
CREATE FUNCTION wee5_cron.explain_pg_net(endpoint_path text, url text, http_status int, content_type text, error_msg text,
                                         timed_out boolean, lost boolean, timeout interval, header_lines text,
                                         OUT succeeded boolean, OUT reason text, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_pg_net';
COMMENT ON FUNCTION wee5_cron.explain_pg_net(text, text, int, text, text, boolean, boolean, interval, text) IS
  'Internal, of harvest(): status, reason, error and hint for an answer that pg_net got';

-- When the policy of the path makes such a call again; NULL: the failure is final.
CREATE FUNCTION wee5_cron.next_attempt(endpoint_path text, attempt int, reason text, http_status int, retry_after text,
                                       first_begun timestamptz, ended timestamptz, random float8) RETURNS timestamptz
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_next_attempt';
COMMENT ON FUNCTION wee5_cron.next_attempt(text, int, text, int, text, timestamptz, timestamptz, float8) IS
  'Internal, of harvest(): when a call that failed so is made again by its path''s policy, NULL if it is not; random from 0 to 1 spreads the delay';

CREATE FUNCTION wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_may_still_begin';
COMMENT ON FUNCTION wee5_cron.may_still_begin(text, int, timestamptz) IS
  'Internal, of harvest(): whether the policy that the path has by now still allows an attempt that is due';

CREATE FUNCTION wee5_cron.send_by_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_send_by_pg_net';
COMMENT ON FUNCTION wee5_cron.send_by_pg_net(bigint) IS
  'Internal, of harvest(): hands a call to pg_net again, with the address and the secret that its role has now';

CREATE FUNCTION wee5_cron.redact_for(role name, value text) RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_redact_for';
COMMENT ON FUNCTION wee5_cron.redact_for(name, text) IS
  'Internal, of harvest(): text from the network without the secret that this role''s calls carry';

-- Without a SET of its own: what it sets is put back when the function ends that calls it.
CREATE FUNCTION wee5_cron.silence_statements() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'wee5_cron_silence_statements';
COMMENT ON FUNCTION wee5_cron.silence_statements() IS
  'Internal, of harvest(): answers as they came would be in the plans that auto_explain and debug_print_plan show';

-- pg_net stores the bytes of an answer as they came, so its column may hold what is no text in this database and would
-- break a later dump. Where all of it is text, left() and convert_to() say so; else it is looked at as bytes.
CREATE FUNCTION wee5_cron.valid_text(value text, max_bytes int) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
  AS $$
DECLARE
  result text;
  hex text;
BEGIN
  BEGIN
    result := left(value, max_bytes);
    PERFORM convert_to(result, getdatabaseencoding());
  EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    -- With its backslashes doubled a text reads as bytea, byte by byte and without a look at the encoding. Every
    -- alternative of the pattern takes whole bytes, so the matches stay aligned.
    hex := encode(substring(replace(value, '\', '\\')::bytea FROM 1 FOR max_bytes), 'hex');
    IF getdatabaseencoding() = 'UTF8' THEN
      SELECT convert_from(decode(string_agg(coalesce(m[1], 'efbfbd'), '' ORDER BY n), 'hex'), 'UTF8') INTO result
      FROM regexp_matches(hex,
        '((?:0[1-9a-f]|[1-7][0-9a-f]|c[2-9a-f][89ab][0-9a-f]|d[0-9a-f][89ab][0-9a-f]'
        '|e0[ab][0-9a-f][89ab][0-9a-f]|e[1-9a-cef](?:[89ab][0-9a-f]){2}|ed[89][0-9a-f][89ab][0-9a-f]'
        '|f0[9ab][0-9a-f](?:[89ab][0-9a-f]){2}|f[1-3](?:[89ab][0-9a-f]){3}|f48[0-9a-f](?:[89ab][0-9a-f]){2})+)|..',
        'g') WITH ORDINALITY AS r (m, n);
    ELSE
      SELECT convert_from(decode(string_agg(coalesce(m[1], '3f'), '' ORDER BY n), 'hex'), 'SQL_ASCII') INTO result
      FROM regexp_matches(hex, '((?:0[1-9a-f]|[1-7][0-9a-f])+)|..', 'g') WITH ORDINALITY AS r (m, n);
    END IF;
  END;
  -- Characters have up to four bytes.
  WHILE octet_length(result) > max_bytes LOOP
    result := left(result, - greatest(1, (octet_length(result) - max_bytes) / 4));
  END LOOP;
  RETURN result;
END
$$;
COMMENT ON FUNCTION wee5_cron.valid_text(text, int) IS
  'Internal, of harvest(): the first max_bytes bytes, cut between characters, bad bytes replaced';

-- Sets invocation.cron_run_id. pg_cron may commit its row later than the call it made, so this happens when a call is
-- booked, and is tried again until the run shows up. cron.job_run_details has one index, on runid: only the newest
-- runs are looked at. A pid comes back after a while, so the run's time has to fit as well; start_time is pg_cron's
-- clock, which can be read a moment after the job's transaction began.
CREATE FUNCTION wee5_cron.bind_cron_runs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bound bigint := 0;
BEGIN
  IF NOT EXISTS (SELECT FROM wee5_cron.cron_caller) THEN
    RETURN 0;
  END IF;
  IF wee5_cron.pg_cron_installed() THEN
    EXECUTE $query$
      WITH run AS MATERIALIZED (
        SELECT runid, job_pid, username, start_time, end_time
        FROM cron.job_run_details
        ORDER BY runid DESC
        LIMIT 1000
      ), hit AS MATERIALIZED (
        SELECT c.invocation_id, max(run.runid) AS runid
        FROM wee5_cron.cron_caller c
        JOIN wee5_cron.invocation i ON i.id = c.invocation_id AND i.finished_at IS NOT NULL
        JOIN run ON run.job_pid = c.pid AND run.username = i.requested_by
          AND run.start_time <= i.requested_at + interval '1 minute'
          AND (run.end_time IS NULL OR run.end_time >= i.requested_at - interval '1 minute')
        GROUP BY c.invocation_id
      ), locked AS MATERIALIZED (
        SELECT i.id, hit.runid
        FROM hit
        JOIN wee5_cron.cron_caller c ON c.invocation_id = hit.invocation_id
        JOIN wee5_cron.invocation i ON i.id = hit.invocation_id
        FOR UPDATE OF c, i SKIP LOCKED
      ), done AS (
        DELETE FROM wee5_cron.cron_caller c USING locked WHERE c.invocation_id = locked.id
      )
      UPDATE wee5_cron.invocation i SET cron_run_id = locked.runid FROM locked WHERE i.id = locked.id
    $query$;
    GET DIAGNOSTICS bound = ROW_COUNT;
  END IF;
  -- No run came to light: pg_cron does not log its runs (cron.log_run), or its history was purged.
  DELETE FROM wee5_cron.cron_caller c
  WHERE c.invocation_id IN (
    SELECT o.invocation_id
    FROM wee5_cron.cron_caller o
    LEFT JOIN wee5_cron.invocation i ON i.id = o.invocation_id
    WHERE i.id IS NULL OR i.finished_at < clock_timestamp() - interval '1 minute'
    FOR UPDATE OF o SKIP LOCKED);
  RETURN bound;
END
$$;
COMMENT ON FUNCTION wee5_cron.bind_cron_runs() IS
  'Internal, of the worker and harvest(): sets invocation.cron_run_id where pg_cron''s row of the run is there by now';

-- Books one call. The caller holds the row's lock.
CREATE FUNCTION wee5_cron.record_pg_net_answer(call_id bigint, is_lost boolean, status_code int, media_type text,
                                               content text, has_timed_out boolean, error_msg text,
                                               answer_headers jsonb, may_retry boolean DEFAULT true) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
  AS $$
DECLARE
  -- More than the secret that might stand across the cut.
  margin constant int := 8192;
  booked_at constant timestamptz := clock_timestamp();
  headers constant jsonb := CASE jsonb_typeof(answer_headers) WHEN 'object' THEN answer_headers END;
  call wee5_cron.invocation;
  said record;
  max_bytes int;
  answer text;
  this_attempt int;
  begun_at timestamptz;
  next_at timestamptz;
BEGIN
  PERFORM wee5_cron.silence_statements();
  -- By the primary key alone: with finished_at beside it, an index of all that is open may seem the smaller one.
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_id;
  IF NOT FOUND OR call.finished_at IS NOT NULL THEN
    RETURN false;
  END IF;
  -- This session may not have loaded the library yet, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  -- A number of bytes is shown as "100B", which pg_size_bytes does not read before version 16.
  max_bytes := pg_size_bytes(regexp_replace(current_setting('wee5_cron.max_response_bytes'), '(\d)B$', '\1'));

  media_type := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(media_type, 1024));
  error_msg := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(error_msg, 4096));
  answer := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(content, max_bytes + margin));
  SELECT * INTO said FROM wee5_cron.explain_pg_net(
    call.endpoint_path, call.url, status_code, media_type, error_msg, has_timed_out, is_lost,
    coalesce(call.timeout, current_setting('wee5_cron.request_timeout')::interval),
    (SELECT string_agg(h.key || ': ' || h.value, E'\n') FROM jsonb_each_text(headers) h));

  this_attempt := call.attempts + 1;
  begun_at := CASE WHEN this_attempt = 1 THEN call.requested_at
                   ELSE (SELECT b.handed_over_at FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id) END;
  IF NOT said.succeeded AND may_retry THEN
    next_at := wee5_cron.next_attempt(
      call.endpoint_path, this_attempt, said.reason, status_code,
      -- Not by the database's locale, which raises an error at a name that is no text in its encoding.
      (SELECT h.value FROM jsonb_each_text(headers) h WHERE lower(h.key COLLATE "C") = 'retry-after' LIMIT 1),
      call.requested_at, booked_at, random());
  END IF;

  UPDATE wee5_cron.invocation i
  SET status = CASE WHEN said.succeeded THEN 'succeeded' WHEN next_at IS NULL THEN 'failed' ELSE 'retrying' END,
      reason = said.reason, error = said.error, hint = said.hint, http_status = status_code, attempts = this_attempt,
      next_attempt_at = next_at, finished_at = CASE WHEN next_at IS NULL THEN booked_at END,
      response_content_type = media_type,
      response_body = wee5_cron.valid_text(answer, max_bytes),
      response_truncated = coalesce(octet_length(answer) > max_bytes OR octet_length(content) > max_bytes + margin, false)
  WHERE i.id = call_id;
  INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status, reason, error)
  VALUES (call_id, this_attempt, begun_at, booked_at, status_code, said.reason, said.error);
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id;
  PERFORM wee5_cron.note_outcomes(array[call_id]);
  RETURN next_at IS NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.record_pg_net_answer(bigint, boolean, int, text, text, boolean, text, jsonb, boolean) IS
  'Internal, of harvest(): writes what became of one attempt into the ledger; true where the call has ended with it';

-- Of a call that is outstanding the request that pg_net has; NULL: none that is known.
CREATE FUNCTION wee5_cron.pg_net_request_of(call_id bigint) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT b.request_id FROM wee5_cron.pg_net_request b
    WHERE b.invocation_id = call_id AND b.queue = to_regclass('net.http_request_queue')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_request_of(bigint) IS 'Internal, of harvest(): the request of a call at this moment';

-- only_id: that call alone, for wait_for() where no worker harvests; NULL for all.
CREATE FUNCTION wee5_cron.book_pg_net_answers(only_id bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  outstanding constant text := 'i.transport = ''pg_net'' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL'
    || CASE WHEN only_id IS NULL THEN '' ELSE ' AND i.id = $2' END;
  oldest timestamptz;
  suspects boolean;
  answer record;
  perhaps_pages bigint[] := '{}';
  booked bigint := 0;
BEGIN
  -- Restored calls lie still. Here, where pg_net never had them, they would all be lost.
  IF NOT wee5_cron.is_armed() THEN
    RETURN 0;
  END IF;
  SELECT min(i.requested_at) INTO oldest
  FROM wee5_cron.invocation i
  WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
    AND (only_id IS NULL OR i.id = only_id);
  IF oldest IS NULL THEN
    RETURN 0;
  END IF;

  IF NOT wee5_cron.pg_net_installed() THEN
    FOR answer IN EXECUTE format($query$
      SELECT i.id, $1 FROM wee5_cron.invocation i WHERE %s FOR UPDATE SKIP LOCKED
    $query$, outstanding) USING oldest, only_id
    LOOP
      booked := booked + wee5_cron.record_pg_net_answer(answer.id, true, NULL, NULL, NULL, NULL, NULL, NULL, false)::int;
    END LOOP;
    RETURN booked;
  END IF;

  -- net._http_response has an index on `created` only. That is the start of pg_net's transaction, which can be older
  -- than the request: an answer dated earlier than a minute before is found further down.
  FOR answer IN EXECUTE format($query$
    SELECT i.id, b.request_id, r.status_code, r.content_type, r.content, r.timed_out, r.error_msg, r.headers
    FROM wee5_cron.invocation i
    JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
    JOIN net._http_response r ON r.id = b.request_id
    WHERE %s AND r.created >= $1 - interval '1 minute'
    FOR UPDATE OF i SKIP LOCKED
  $query$, outstanding) USING oldest, only_id
  LOOP
    -- Somebody may have booked it, and handed the call over again, since this query began.
    CONTINUE WHEN answer.request_id IS DISTINCT FROM wee5_cron.pg_net_request_of(answer.id);
    booked := booked + wee5_cron.record_pg_net_answer(answer.id, false, answer.status_code, answer.content_type,
                                                      answer.content, answer.timed_out, answer.error_msg,
                                                      answer.headers)::int;
    IF answer.status_code BETWEEN 200 AND 299 THEN
      perhaps_pages := perhaps_pages || answer.id;
    END IF;
  END LOOP;

  -- Lost is what in one snapshot, so in one statement, is in neither of pg_net's tables: it moves a request from the
  -- one to the other in a single transaction. The query that reads every answer runs only where there is reason to.
  EXECUTE format($query$
    SELECT EXISTS (
      SELECT $1 FROM wee5_cron.invocation i
      LEFT JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
      WHERE %s AND NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = b.request_id))
  $query$, outstanding) INTO suspects USING oldest, only_id;
  IF suspects THEN
    FOR answer IN EXECUTE format($query$
      SELECT i.id, b.request_id, r.id IS NULL AS lost, r.status_code, r.content_type, r.content, r.timed_out, r.error_msg,
             r.headers, $1
      FROM wee5_cron.invocation i
      LEFT JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
      LEFT JOIN net._http_response r ON r.id = b.request_id
      WHERE %s AND NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = b.request_id)
      FOR UPDATE OF i SKIP LOCKED
    $query$, outstanding) USING oldest, only_id
    LOOP
      CONTINUE WHEN answer.request_id IS DISTINCT FROM wee5_cron.pg_net_request_of(answer.id);
      booked := booked + wee5_cron.record_pg_net_answer(answer.id, answer.lost, answer.status_code, answer.content_type,
                                                        answer.content, answer.timed_out, answer.error_msg,
                                                        answer.headers)::int;
      IF answer.status_code BETWEEN 200 AND 299 THEN
        perhaps_pages := perhaps_pages || answer.id;
      END IF;
    END LOOP;
  END IF;
  -- What an answer's content type is, its row tells: before that it need not be text in this database.
  IF perhaps_pages <> '{}' THEN
    PERFORM wee5_cron.note_html_pages(perhaps_pages);
  END IF;
  RETURN booked;
END
$$;
COMMENT ON FUNCTION wee5_cron.book_pg_net_answers(bigint) IS
  'Internal, of harvest() and wait_for(): books the answers of all outstanding calls, or of one';

-- Hands over what waits: calls whose next attempt is due, and calls of which it could not be said when they were made
-- whether they overlap with another one. only_id: that call alone; NULL for all.
CREATE FUNCTION wee5_cron.send_due_by_pg_net(only_id bigint DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  beside bigint;
  message text;
  advice text;
BEGIN
  IF NOT wee5_cron.is_armed() THEN
    RETURN;
  END IF;
  FOR call IN
    SELECT i.id, i.endpoint_path, i.exclusive, i.attempts, i.requested_by, i.requested_at
    FROM wee5_cron.invocation i
    WHERE i.finished_at IS NULL AND i.next_attempt_at <= clock_timestamp() AND i.transport = 'pg_net'
      AND (only_id IS NULL OR i.id = only_id)
    ORDER BY i.id
    FOR UPDATE SKIP LOCKED
  LOOP
    IF call.attempts > 0 AND NOT wee5_cron.may_still_begin(call.endpoint_path, call.attempts + 1, call.requested_at) THEN
      -- It ends with what its last attempt came to.
      UPDATE wee5_cron.invocation i SET status = 'failed', next_attempt_at = NULL, finished_at = clock_timestamp()
      WHERE i.id = call.id;
      PERFORM wee5_cron.note_outcomes(array[call.id]);
      CONTINUE;
    END IF;
    IF call.exclusive IS NOT NULL AND call.attempts = 0 THEN
      CONTINUE WHEN NOT wee5_cron.lock_path(call.endpoint_path);
      beside := wee5_cron.call_beside(call.id, call.endpoint_path, call.exclusive, call.requested_by);
      IF beside IS NOT NULL THEN
        UPDATE wee5_cron.invocation i
        SET status = 'skipped', reason = 'overlap', error = said.error, hint = said.hint, next_attempt_at = NULL,
            finished_at = clock_timestamp()
        FROM wee5_cron.explain_overlap(call.endpoint_path, beside) said
        WHERE i.id = call.id;
        CONTINUE;
      END IF;
    END IF;
    BEGIN
      IF NOT wee5_cron.pg_net_installed() THEN
        RAISE EXCEPTION 'pg_net is not installed any more'
          USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = format('Make the call again by the builtin transport: SELECT wee5_cron.retry(%s);', call.id);
      END IF;
      PERFORM wee5_cron.send_by_pg_net(call.id);
    EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
      -- What the caller would be told; nobody is there to be told now.
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
      UPDATE wee5_cron.invocation i
      SET status = 'failed', reason = 'config', error = message, hint = nullif(advice, ''), next_attempt_at = NULL,
          finished_at = clock_timestamp()
      WHERE i.id = call.id;
      PERFORM wee5_cron.note_outcomes(array[call.id]);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_due_by_pg_net(bigint) IS
  'Internal, of harvest() and wait_for(): hands calls to pg_net whose next attempt is due';

CREATE FUNCTION wee5_cron.harvest() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  booked constant bigint := wee5_cron.book_pg_net_answers();
BEGIN
  PERFORM wee5_cron.send_due_by_pg_net();
  PERFORM wee5_cron.bind_cron_runs();
  -- Where there is a worker it tells, and calls the webhook.
  IF wee5_cron.is_armed() AND NOT wee5_cron.library_preloaded() THEN
    PERFORM wee5_cron.tell_alerts(by_webhook => false);
  END IF;
  RETURN booked;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvest() IS
  'Books the answers that pg_net got into the ledger and returns how many calls ended so; what failed, or was lost, is handed to pg_net again by its path''s policy';
-- An HTML page where the route spoke JSON before. Every page that comes with 2xx has a hint already; here it says more
-- where more is known. Only pages are looked at: a call that answers JSON costs nothing.

-- Of these calls, which have just been booked, the pages. There is no index by route and time, since it would cost
-- every call: looked at are the calls made shortly before, the newest ones of the same job, and the newest success that
-- prune() knows of. A page passes on what was found for it, so that a route that goes on answering pages is not
-- forgotten.
CREATE FUNCTION wee5_cron.note_html_pages(ids bigint[]) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = on
  AS $$
DECLARE
  -- As core::is_html() has it.
  html constant text[] := array['text/html%', 'application/xhtml%'];
BEGIN
  WITH page AS MATERIALIZED (
    SELECT i.id, i.job_name, split_part(i.endpoint_path, '?', 1) COLLATE "C" AS route
    FROM wee5_cron.invocation i
    -- An alert's own call has no path.
    WHERE i.id = ANY (ids) AND i.status = 'succeeded' AND lower(i.response_content_type COLLATE "C") LIKE ANY (html)
      AND starts_with(i.endpoint_path, '/') AND i.hint !~ 'spoke JSON'
    FOR NO KEY UPDATE SKIP LOCKED
  ), span AS MATERIALIZED (
    SELECT min(p.id) AS first, max(p.id) AS last FROM page p
  ), looked_at (id) AS (
    SELECT b.id FROM span CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i WHERE i.id < span.first ORDER BY i.id DESC LIMIT 500) b
    UNION ALL
    SELECT b.id FROM span CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i WHERE i.id > span.first AND i.id < span.last
      ORDER BY i.id DESC LIMIT 500) b
    UNION ALL
    SELECT b.id
    FROM (SELECT p.job_name, max(p.id) AS last FROM page p WHERE p.job_name IS NOT NULL GROUP BY p.job_name) job
    CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i
      -- A range and not an equality: with that the planner may walk the primary key instead, through all other rows.
      WHERE i.job_name >= job.job_name AND i.job_name <= job.job_name AND i.id < job.last
      ORDER BY i.job_name DESC, i.id DESC LIMIT 100) b
    UNION ALL
    SELECT n.success_id FROM wee5_cron.newest_call n WHERE n.route IN (SELECT p.route FROM page p)
  ), success AS MATERIALIZED (
    SELECT i.id, i.finished_at, i.hint, split_part(i.endpoint_path, '?', 1) COLLATE "C" AS route,
           lower(coalesce(i.response_content_type, '') COLLATE "C") AS content_type
    FROM looked_at l
    JOIN wee5_cron.invocation i ON i.id = l.id
    WHERE i.status = 'succeeded'
  ), newest AS (
    SELECT DISTINCT ON (s.route) s.* FROM success s
    WHERE s.content_type NOT LIKE ALL (html) OR s.hint ~ 'spoke JSON'
    ORDER BY s.route, s.id DESC
  ), known AS MATERIALIZED (
    SELECT n.route,
           CASE WHEN n.content_type LIKE ANY (html)
                THEN substring(n.hint FROM ' The last success of this route that was no page, .* spoke JSON: .*$')
                WHEN n.content_type ~ '^(application|text)/([^;,]+\+)?json\s*([;,]|$)'
                THEN format(' The last success of this route that was no page, call %s of %s, spoke JSON: something '
                            'else answers in its place since.', n.id, to_char(n.finished_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
                END AS words
    FROM newest n
  )
  UPDATE wee5_cron.invocation i
  SET hint = i.hint || known.words
  FROM page p
  JOIN known ON known.route = p.route
  WHERE i.id = p.id AND known.words IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_html_pages(bigint[]) IS
  'Internal, of the worker and harvest(): a page''s hint says so where its route spoke JSON before';
-- Telling somebody: when calls of a path fail in a row, when a job is late, and when that is over; once each. What was
-- told is remembered in the transaction that books a result. The telling is a transaction of its own, so that trouble
-- with it (a full NOTIFY queue, say) keeps no result from being booked.

-- What is amiss now. For a path whose calls succeed there is nothing here, and nothing to be done.
CREATE TABLE wee5_cron.trouble (
  kind text CHECK (kind IN ('failing', 'late')),
  name text COLLATE "C",
  failures int NOT NULL DEFAULT 0,
  since timestamptz NOT NULL,
  told boolean NOT NULL DEFAULT false,
  PRIMARY KEY (kind, name)
);
COMMENT ON TABLE wee5_cron.trouble IS 'Paths whose last calls failed, jobs that are late, and whether somebody was told';
COMMENT ON COLUMN wee5_cron.trouble.kind IS 'failing: a path; late: a job';
COMMENT ON COLUMN wee5_cron.trouble.name IS 'failing: the path as in wee5_cron.endpoint, else without its query; late: the job';
COMMENT ON COLUMN wee5_cron.trouble.failures IS 'in a row';
COMMENT ON COLUMN wee5_cron.trouble.since IS 'failing: the end of the first of them; late: the run that did not begin';
COMMENT ON COLUMN wee5_cron.trouble.told IS 'whether somebody was told';

CREATE TABLE wee5_cron.pending_alert (
  id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  content jsonb NOT NULL
);
COMMENT ON TABLE wee5_cron.pending_alert IS 'Alerts that are to be told yet';

-- NOTIFY takes less than 8000 bytes.
CREATE FUNCTION wee5_cron.add_alert(event text, job_name text, endpoint_path text, invocation_id bigint, status text,
                                    reason text, http_status int, error text, failures int, text text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH short AS (
      SELECT jsonb_build_object(
        'event', event, 'job_name', left(job_name, 255), 'endpoint_path', left(endpoint_path, 2048 / c.width),
        'invocation_id', invocation_id, 'status', status, 'reason', reason, 'http_status', http_status,
        'error', left(error, 1200 / c.width), 'failures', failures, 'at', clock_timestamp(), 'database', current_database(),
        'text', left(text, 1600 / c.width)) AS content
      FROM (VALUES (1), (4), (16)) AS c (width)
    )
    INSERT INTO wee5_cron.pending_alert (content)
    SELECT s.content FROM short s WHERE octet_length(s.content::text) < 7900 ORDER BY octet_length(s.content::text) DESC LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.add_alert(text, text, text, bigint, text, text, int, text, int, text) IS
  'Internal: has somebody told of an event: failing, late or recovered';

-- Of these calls, which have just ended. True where somebody is to be told.
CREATE FUNCTION wee5_cron.note_outcomes(ids bigint[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  call record;
  path text;
  known wee5_cron.trouble;
  was_known boolean;
  alerts boolean := false;
BEGIN
  FOR call IN
    SELECT * FROM (
      SELECT i.id, i.job_name, i.endpoint_path, i.status, i.reason, i.http_status, i.error, i.finished_at,
             coalesce(whole.endpoint_path, split_part(i.endpoint_path, '?', 1)) AS path,
             coalesce(CASE WHEN whole.endpoint_path IS NULL THEN route.alert_after ELSE whole.alert_after END, 3) AS alert_after
      FROM wee5_cron.invocation i
      LEFT JOIN wee5_cron.endpoint whole ON whole.endpoint_path = i.endpoint_path
      LEFT JOIN wee5_cron.endpoint route ON route.endpoint_path = split_part(i.endpoint_path, '?', 1)
      -- An alert's own call has no path; it alerts nobody.
      WHERE i.id = ANY (ids) AND i.status IN ('succeeded', 'failed') AND i.finished_at IS NOT NULL
        AND starts_with(i.endpoint_path, '/')) c
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL  -- the end
    ORDER BY path NULLS LAST, finished_at, id
  LOOP
    IF call.path IS DISTINCT FROM path THEN
      IF path IS NOT NULL THEN
        IF known.failures > 0 THEN
          INSERT INTO wee5_cron.trouble AS t (kind, name, failures, since, told)
          VALUES ('failing', path, known.failures, known.since, known.told)
          ON CONFLICT (kind, name) DO UPDATE SET failures = excluded.failures, since = excluded.since, told = excluded.told;
        ELSIF was_known THEN
          DELETE FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = path;
        END IF;
      END IF;
      EXIT WHEN call.path IS NULL;
      path := call.path;
      SELECT * INTO known FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = path FOR UPDATE NOWAIT;
      was_known := FOUND;
      known.failures := coalesce(known.failures, 0);
      known.told := coalesce(known.told, false);
    END IF;
    IF call.status = 'failed' THEN
      known.since := CASE WHEN known.failures = 0 THEN call.finished_at ELSE known.since END;
      known.failures := known.failures + 1;
      IF NOT known.told AND known.failures >= call.alert_after THEN
        known.told := true;
        alerts := true;
        PERFORM wee5_cron.add_alert('failing', call.job_name, call.endpoint_path, call.id, call.status, call.reason,
          call.http_status, call.error, known.failures,
          format('%s in database "%s" %s: %s', wee5_cron.whom(call.job_name, call.endpoint_path), current_database(),
                 CASE known.failures WHEN 1 THEN 'failed' ELSE format('failed %s times in a row', known.failures) END,
                 call.error));
      END IF;
    ELSE
      IF known.told THEN
        alerts := true;
        PERFORM wee5_cron.add_alert('recovered', call.job_name, call.endpoint_path, call.id, call.status, NULL,
          call.http_status, NULL, known.failures,
          format('%s in database "%s" works again, after %s failed since %s', wee5_cron.whom(call.job_name, call.endpoint_path),
                 current_database(), CASE known.failures WHEN 1 THEN 'a call' ELSE known.failures || ' calls' END,
                 to_char(known.since, 'YYYY-MM-DD HH24:MI:SS TZ')));
      END IF;
      known.failures := 0;
      known.told := false;
    END IF;
  END LOOP;
  RETURN alerts;
EXCEPTION WHEN lock_not_available THEN
  -- Somebody's harvest() counts the same path and has not committed. The results are worth more than their count.
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_outcomes(bigint[]) IS
  'Internal, of the worker and harvest(): counts failures in a row, and says whether somebody is to be told';

-- Runs of a job that failed before they made a call: a row less, and a failure like any other.
CREATE FUNCTION wee5_cron.note_failures(job_name text, endpoint_path text, failed int, error text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  route constant text := split_part($2, '?', 1);
  policy wee5_cron.endpoint;
  known wee5_cron.trouble;
BEGIN
  SELECT * INTO policy FROM wee5_cron.endpoint e WHERE e.endpoint_path IN ($2, route) ORDER BY e.endpoint_path = $2 DESC LIMIT 1;
  INSERT INTO wee5_cron.trouble AS t (kind, name, failures, since)
  VALUES ('failing', coalesce(policy.endpoint_path, route), failed, clock_timestamp())
  ON CONFLICT (kind, name) DO UPDATE SET failures = t.failures + excluded.failures
  RETURNING * INTO known;
  IF NOT known.told AND known.failures >= coalesce(policy.alert_after, 3) THEN
    UPDATE wee5_cron.trouble t SET told = true WHERE t.kind = 'failing' AND t.name = known.name;
    PERFORM wee5_cron.add_alert('failing', $1, $2, NULL, 'failed', NULL, NULL, $4, known.failures,
      format('%s in database "%s" %s: %s', wee5_cron.whom($1, $2), current_database(),
             CASE known.failures WHEN 1 THEN 'failed' ELSE format('failed %s times in a row', known.failures) END,
             coalesce($4, 'pg_cron does not say why')));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failures(text, text, int, text) IS
  'Internal, of watch_jobs(): counts runs of a job that failed before they made a call';

CREATE FUNCTION wee5_cron.whom(job_name text, endpoint_path text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT CASE WHEN job_name IS NULL THEN coalesce(left(endpoint_path, 200), 'a job')
                    ELSE format('job "%s"%s', job_name, coalesce(' (' || left(endpoint_path, 200) || ')', '')) END $$;
COMMENT ON FUNCTION wee5_cron.whom(text, text) IS 'Internal: what an alert is about, in words';

-- missed: a tick that nobody ran, and no later one either; NULL: the job's newest tick was run.
CREATE FUNCTION wee5_cron.note_lateness(job_name text, endpoint_path text, missed timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  late_since timestamptz;
BEGIN
  IF missed IS NOT NULL THEN
    INSERT INTO wee5_cron.trouble (kind, name, since, told) VALUES ('late', job_name, missed, true) ON CONFLICT DO NOTHING;
    IF FOUND THEN
      PERFORM wee5_cron.add_alert('late', job_name, endpoint_path, NULL, NULL, NULL, NULL, NULL, NULL,
        format('%s in database "%s" is late: its run of %s did not begin', wee5_cron.whom(job_name, endpoint_path),
               current_database(), to_char(missed, 'YYYY-MM-DD HH24:MI TZ')));
    END IF;
  ELSE
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = job_name RETURNING t.since INTO late_since;
    IF FOUND THEN
      PERFORM wee5_cron.add_alert('recovered', job_name, endpoint_path, NULL, NULL, NULL, NULL, NULL, NULL,
        format('%s in database "%s" runs again, after it missed %s', wee5_cron.whom(job_name, endpoint_path),
               current_database(), to_char(late_since, 'YYYY-MM-DD HH24:MI TZ')));
    END IF;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_lateness(text, text, timestamptz) IS
  'Internal, of watch_jobs(): whether a job is late, and whether somebody is to be told';

-- by_webhook: also with a call to wee5_cron.alert_url. Its row in the ledger has a word in place of a path, which no
-- caller can choose: the worker knows by it where to go, and that the bearer is not for there. The URL is a secret itself.
CREATE FUNCTION wee5_cron.tell_alerts(by_webhook boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  alert record;
  told bigint := 0;
BEGIN
  FOR alert IN SELECT * FROM wee5_cron.pending_alert p ORDER BY p.at FOR UPDATE SKIP LOCKED LOOP
    PERFORM pg_notify('wee5_cron', alert.content::text);
    IF by_webhook THEN
      INSERT INTO wee5_cron.invocation (endpoint_path, method, body, transport) VALUES ('wee5_cron.alert', 'POST', alert.content, 'builtin');
      PERFORM wee5_cron.wake_worker();
    END IF;
    DELETE FROM wee5_cron.pending_alert p WHERE p.id = alert.id;
    told := told + 1;
  END LOOP;
  RETURN told;
END
$$;
COMMENT ON FUNCTION wee5_cron.tell_alerts(boolean) IS 'Internal, of the worker and harvest(): NOTIFY wee5_cron, and the webhook';
-- When pg_cron starts a job: the schedule as the installed version reads it, in the time zone that it thinks in.

CREATE FUNCTION wee5_cron.ticks(schedule text, after timestamptz, count int, last_start timestamptz DEFAULT NULL,
                                until timestamptz DEFAULT NULL)
  RETURNS timestamptz[]
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_ticks';
COMMENT ON FUNCTION wee5_cron.ticks(text, timestamptz, int, timestamptz, timestamptz) IS
  'Internal: the next times, at most count, at which pg_cron starts a job of this schedule; NULL where it does not understand it. ''N seconds'' counts from last_start; the last one told is the first after until';

CREATE FUNCTION wee5_cron.newest_tick(schedule text, at timestamptz) RETURNS timestamptz
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_newest_tick';
COMMENT ON FUNCTION wee5_cron.newest_tick(text, timestamptz) IS
  'Internal: the newest minute, that one included, at which pg_cron starts a job of this schedule; NULL without one';
-- How much of the past is kept. Calls that succeeded stay for wee5_cron.keep_succeeded, all others that have ended for
-- wee5_cron.keep_failed; besides, of each route the newest run and the newest success, for each job and for calls by hand.
-- The worker prunes by itself, a few hundred rows a transaction, whenever the time of the oldest row is over.
--
-- There is no index for it: it would cost every call. Ids ascend about as time does, so the ledger is walked from its
-- beginning to where its rows are too young; only what stays longer is met again by the next walk.

-- Which rows stay although their time is over. Up to the highest run_id this was learnt by reading each call once; one
-- that ended after it was passed is added when its time is over. UNLOGGED: after a crash it is learnt anew.
CREATE UNLOGGED TABLE wee5_cron.newest_call (
  route text COLLATE "C",
  job_name text COLLATE "C",
  run_id bigint NOT NULL,
  success_id bigint,
  PRIMARY KEY (route, job_name)
);
COMMENT ON TABLE wee5_cron.newest_call IS 'The newest run and the newest success of each route, which prune() leaves; job_name is empty for calls by hand';

-- Learns from the next page of calls; left: there are more behind it.
CREATE FUNCTION wee5_cron.note_newest_calls(page_size int, INOUT looked_to bigint, OUT left_over boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  page record;
BEGIN
  -- Where somebody has deleted what was the newest, or emptied the ledger, it is learnt anew what is. Of very many routes
  -- this is asked of some.
  IF looked_to IS NULL AND EXISTS (
       SELECT FROM (SELECT * FROM wee5_cron.newest_call LIMIT 5000) n
       WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = n.run_id)
          OR n.success_id IS NOT NULL AND NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = n.success_id)) THEN
    DELETE FROM wee5_cron.newest_call;
  END IF;
  looked_to := coalesce(looked_to, (SELECT max(n.run_id) FROM wee5_cron.newest_call n), 0);
  SELECT count(*) AS calls, max(p.id) AS last INTO page
  FROM (SELECT i.id FROM wee5_cron.invocation i WHERE i.id > looked_to ORDER BY i.id LIMIT page_size) p;
  left_over := page.calls = page_size;
  IF page.calls > 0 THEN
    INSERT INTO wee5_cron.newest_call AS n (route, job_name, run_id, success_id)
    SELECT split_part(i.endpoint_path, '?', 1), coalesce(i.job_name, ''), max(i.id),
           max(i.id) FILTER (WHERE i.status = 'succeeded')
    FROM wee5_cron.invocation i
    WHERE i.id > looked_to AND i.id <= page.last AND i.finished_at IS NOT NULL
    GROUP BY 1, 2
    ON CONFLICT (route, job_name) DO UPDATE
    SET run_id = greatest(n.run_id, excluded.run_id), success_id = greatest(n.success_id, excluded.success_id);
    looked_to := page.last;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_newest_calls(int, bigint) IS 'Internal, of prune() and the worker: learns which rows stay';

-- Deletes what is over in the next page of calls. A NULL time to keep: for ever. left_over: what follows may be over, too;
-- next_due: when the first of the page's other rows will be.
CREATE FUNCTION wee5_cron.prune_page(page_size int, keep_succeeded interval, keep_failed interval, INOUT walked_to bigint,
                                     OUT left_over boolean, OUT pruned bigint, OUT next_due timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  shortest constant interval := least(keep_succeeded, keep_failed);
  page record;
BEGIN
  pruned := 0;
  SELECT count(*) AS calls, max(p.id) AS last, coalesce(bool_or(p.over <= now()), false) AS some_over,
         -- A call ends after it was made: none of those that were made since can be over.
         coalesce(bool_or(p.requested_at <= now() - shortest), false) AS some_old,
         least(min(p.over) FILTER (WHERE p.over > now()),
               min(p.requested_at + shortest) FILTER (WHERE p.over IS NULL AND p.requested_at > now() - shortest)) AS next_due
  INTO page
  FROM (SELECT i.id, i.requested_at,
               i.finished_at + CASE i.status WHEN 'succeeded' THEN keep_succeeded ELSE keep_failed END AS over
        FROM wee5_cron.invocation i WHERE i.id > walked_to ORDER BY i.id LIMIT page_size) p;
  left_over := page.calls = page_size AND (page.some_old OR page.some_over);
  next_due := page.next_due;
  IF page.some_over THEN
    INSERT INTO wee5_cron.newest_call AS n (route, job_name, run_id, success_id)
    SELECT split_part(i.endpoint_path, '?', 1), coalesce(i.job_name, ''), max(i.id),
           max(i.id) FILTER (WHERE i.status = 'succeeded')
    FROM wee5_cron.invocation i
    WHERE i.id > walked_to AND i.id <= page.last
      AND i.finished_at + CASE i.status WHEN 'succeeded' THEN keep_succeeded ELSE keep_failed END <= now()
    GROUP BY 1, 2
    ON CONFLICT (route, job_name) DO UPDATE
    SET run_id = greatest(n.run_id, excluded.run_id), success_id = greatest(n.success_id, excluded.success_id)
    WHERE excluded.run_id > n.run_id OR excluded.success_id > coalesce(n.success_id, 0);

    WITH free AS MATERIALIZED (
      SELECT i.id FROM wee5_cron.invocation i
      WHERE i.id > walked_to AND i.id <= page.last
        AND i.finished_at + CASE i.status WHEN 'succeeded' THEN keep_succeeded ELSE keep_failed END <= now()
        AND NOT EXISTS (
          SELECT FROM wee5_cron.newest_call n
          WHERE n.route = split_part(i.endpoint_path, '?', 1) COLLATE "C" AND n.job_name = coalesce(i.job_name, '') COLLATE "C"
            AND i.id IN (n.run_id, n.success_id))
      FOR UPDATE SKIP LOCKED
    ), attempts AS (
      DELETE FROM wee5_cron.attempt a USING free WHERE a.invocation_id = free.id
    ), calls AS (
      DELETE FROM wee5_cron.invocation i USING free WHERE i.id = free.id RETURNING i.id
    )
    SELECT count(*) INTO pruned FROM calls;
  END IF;
  walked_to := coalesce(page.last, walked_to);
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_page(int, interval, interval, bigint) IS
  'Internal, of prune() and the worker: deletes what is over in a part of the ledger';

-- One at a time: two would wait for each other's rows of newest_call. The worker does not wait.
CREATE FUNCTION wee5_cron.may_prune() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  LOCK TABLE wee5_cron.newest_call IN SHARE ROW EXCLUSIVE MODE NOWAIT;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.may_prune() IS 'Internal, of the worker: whether nobody else prunes the ledger at this moment';

-- -1: for ever. This session may not have loaded the library yet, which defines the settings.
CREATE FUNCTION wee5_cron.kept_for(setting text) RETURNS interval
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  minutes int;
BEGIN
  PERFORM wee5_cron.library_preloaded();
  SELECT s.setting::int INTO minutes FROM pg_settings s WHERE s.name = kept_for.setting;
  RETURN CASE WHEN minutes >= 0 THEN make_interval(mins => minutes) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.kept_for(text) IS 'Internal: what wee5_cron.keep_succeeded or keep_failed says, NULL for ever';

CREATE FUNCTION wee5_cron.prune() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  keep_succeeded constant interval := wee5_cron.kept_for('wee5_cron.keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('wee5_cron.keep_failed');
  looked record;
  walked record;
  looked_to bigint;
  walked_to bigint := 0;
  pruned bigint := 0;
BEGIN
  LOCK TABLE wee5_cron.newest_call IN SHARE ROW EXCLUSIVE MODE;
  LOOP
    looked := wee5_cron.note_newest_calls(1000, looked_to);
    looked_to := looked.looked_to;
    EXIT WHEN NOT looked.left_over;
  END LOOP;
  LOOP
    walked := wee5_cron.prune_page(1000, keep_succeeded, keep_failed, walked_to);
    walked_to := walked.walked_to;
    pruned := pruned + walked.pruned;
    EXIT WHEN NOT walked.left_over;
  END LOOP;
  RETURN pruned;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune() IS
  'Deletes calls whose time is over (wee5_cron.keep_succeeded, wee5_cron.keep_failed) with their attempts, and returns how many; the newest run and the newest success of each route stay. The worker does it by itself';

-- pg_cron's history has one index, on runid. A run whose connection failed has no time: it is as old as what follows it.
CREATE FUNCTION wee5_cron.prune_cron_history(older_than interval) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  pruned bigint;
BEGIN
  IF older_than IS NULL THEN
    RAISE EXCEPTION 'older_than is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT wee5_cron.prune_cron_history(''30 days'');';
  ELSIF older_than < interval '0' THEN
    RAISE EXCEPTION 'older_than is %', older_than
      USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT wee5_cron.prune_cron_history(''30 days'');';
  ELSIF older_than > interval '5000 years' THEN
    RETURN 0;  -- the calendar does not go back that far
  ELSIF NOT wee5_cron.pg_cron_installed() THEN
    RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Its history stands in the database that cron.database_name says: run this there.';
  END IF;
  EXECUTE $query$
    WITH edge AS MATERIALIZED (
      SELECT max(d.runid) AS runid FROM cron.job_run_details d WHERE coalesce(d.end_time, d.start_time) < now() - $1
    ), newest AS MATERIALIZED (
      SELECT max(d.runid) AS runid FROM cron.job_run_details d JOIN cron.job j ON j.jobid = d.jobid GROUP BY d.jobid
    )
    DELETE FROM cron.job_run_details d
    WHERE d.runid <= (SELECT runid FROM edge) AND d.status IN ('succeeded', 'failed')
      AND coalesce(d.end_time, d.start_time, '-infinity') < now() - $1
      AND NOT EXISTS (SELECT FROM newest n WHERE n.runid = d.runid)
  $query$ USING older_than;
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_cron_history(interval) IS
  'Deletes from pg_cron''s own history (cron.job_run_details) the runs of all databases that ended longer ago, and returns how many; the newest run of each job stays';
-- The jobs that this extension makes in pg_cron, and running one by hand.

CREATE FUNCTION wee5_cron.library_preloaded() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_preloaded';
COMMENT ON FUNCTION wee5_cron.library_preloaded() IS
  'Internal: whether wee5_cron is in shared_preload_libraries. After this call the settings wee5_cron.* can be read';

-- No backslash in these patterns: the session that makes the plan may have standard_conforming_strings off.
CREATE FUNCTION wee5_cron.calls_us(command text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT command ~ '(invoke_cron_endpoint|wee5_cron[.](invoke|run))[[:space:]]*[(]' $$;
COMMENT ON FUNCTION wee5_cron.calls_us(text) IS 'Internal: whether a job with this command makes a call through this extension';

CREATE FUNCTION wee5_cron.path_of_command(command text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT replace((regexp_match(command, '''((?:[^'']|'''')*)'''))[1], '''''', '''') $$;
COMMENT ON FUNCTION wee5_cron.path_of_command(text) IS 'Internal: the first string literal of a job''s command, NULL without one';

CREATE FUNCTION wee5_cron.is_plain_call(command text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.calls_us(command)
       AND command ~* ('^[[:space:]]*(select|select[[:space:]]+[*][[:space:]]+from|call)[[:space:]]+'
                       '(([[:alnum:]_]+|"([^"]|"")+")[[:space:]]*[.][[:space:]]*)?(invoke_cron_endpoint|invoke|run)'
                       '[[:space:]]*[(][[:space:]]*(endpoint_path[[:space:]]*(=>|:=)[[:space:]]*)?''([^'']|'''')*'''
                       '([[:space:]]*::[[:space:]]*text)?[[:space:]]*[)]([[:space:]]+as[[:space:]]+[[:alnum:]_]+)?'
                       '[[:space:]]*;?[[:space:]]*$')
  $$;
COMMENT ON FUNCTION wee5_cron.is_plain_call(text) IS
  'Internal: whether a job''s command makes the call of one path, with no choices of its own, and nothing else';

-- Where invoke_cron_endpoint is: CREATE EXTENSION chose the schema.
CREATE FUNCTION wee5_cron.call_schema() RETURNS name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = 'invoke_cron_endpoint' AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.call_schema() IS 'Internal: the schema of invoke_cron_endpoint';

-- What register_jobs() makes. Where the library is not preloaded there is no worker to book pg_net's answers.
CREATE FUNCTION wee5_cron.jobs_to_register(OUT job_name text, OUT schedule text, OUT command text, OUT endpoint_path text)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT j.name, j.schedule, format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), j.path), j.path
    FROM (VALUES ('poll-activities', '*/30 * * * *', '/api/cron/poll-activities'),
                 ('welcome-emails', '0 * * * *', '/api/cron/welcome-emails'),
                 ('daily-analytics', '0 0 * * *', '/api/analytics/cron')) AS j (name, schedule, path)
    UNION ALL
    SELECT 'wee5-cron-harvest', '* * * * *', 'SELECT wee5_cron.harvest()', NULL
    WHERE NOT wee5_cron.library_preloaded() AND wee5_cron.pg_net_installed()
  $$;
COMMENT ON FUNCTION wee5_cron.jobs_to_register() IS 'Internal: the jobs of register_jobs()';

-- pg_cron can be in one database of a server only, and makes jobs for the others: of a job that is asked for, the line
-- that makes it there; without one, those of register_jobs().
CREATE FUNCTION wee5_cron.raise_no_pg_cron(job_name text DEFAULT NULL, schedule text DEFAULT NULL,
                                           command text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  RAISE EXCEPTION 'pg_cron is not installed in database "%"', current_database()
    USING ERRCODE = 'object_not_in_prerequisite_state',
          -- SQL to the last line, so that it can be pasted.
          HINT = (SELECT string_agg(format('SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                                           w.job_name || '@' || current_database(), w.schedule, w.command,
                                           current_database()), E'\n')
                         || E'\n-- in the database that has pg_cron'
                         || coalesce(' (cron.database_name: ' || current_setting('cron.database_name', true) || ')', '')
                         || ', or CREATE EXTENSION pg_cron here'
                         -- The ledger cannot look the name up in cron.job.
                         || CASE WHEN $1 IS NULL THEN '' ELSE
                              format(E'\n-- and here, for the name in the ledger: INSERT INTO wee5_cron.job '
                                     '(job_name, endpoint_path) VALUES (%L, %L);', $1, wee5_cron.path_of_command($3)) END
                  FROM (SELECT $1, $2, $3 WHERE $1 IS NOT NULL
                        UNION ALL
                        SELECT j.job_name, j.schedule, j.command FROM wee5_cron.jobs_to_register() j
                        WHERE $1 IS NULL) AS w (job_name, schedule, command));
END
$$;
COMMENT ON FUNCTION wee5_cron.raise_no_pg_cron(text, text, text) IS
  'Internal: the error of the job functions in a database without pg_cron';

CREATE FUNCTION wee5_cron.find_job(job_name text, OUT jobid bigint, OUT username text, OUT schedule text,
                                   OUT command text, OUT active boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  owners text[];
  names text;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'job_name is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT job_name FROM wee5_cron.job_status;';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  EXECUTE $query$
    SELECT array_agg(j.username ORDER BY j.username) FROM cron.job j
    WHERE j.jobname = $1 AND j.database = current_database()
  $query$ INTO owners USING $1;
  IF owners IS NULL THEN
    EXECUTE $query$
      SELECT string_agg(format('%L', j.jobname), ', ' ORDER BY j.jobname) FROM cron.job j
      WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    $query$ INTO names;
    RAISE EXCEPTION 'there is no job "%" in database "%"', $1, current_database()
      USING ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('The jobs that make calls: ' || names || '.',
                            'No job here makes calls. SELECT wee5_cron.register_jobs();');
  ELSIF cardinality(owners) > 1 THEN
    RAISE EXCEPTION 'several users have a job "%": %', $1, array_to_string(owners, ', ')
      USING ERRCODE = 'ambiguous_alias',
            HINT = 'SELECT jobid, endpoint_path FROM wee5_cron.job_status; tells them apart. Call the path with '
                   'wee5_cron.invoke(), and change the job by its jobid with pg_cron''s cron.alter_job().';
  END IF;
  EXECUTE $query$
    SELECT j.jobid, j.username, j.schedule, j.command, j.active FROM cron.job j
    WHERE j.jobname = $1 AND j.database = current_database()
  $query$ INTO jobid, username, schedule, command, active USING $1;
  IF NOT wee5_cron.calls_us(command) THEN
    RAISE EXCEPTION 'job "%" does not call an endpoint', $1
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'This works with jobs that call invoke_cron_endpoint(), wee5_cron.invoke() or wee5_cron.run().';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_job(text) IS
  'Internal, of the functions that take a job''s name: the one job of this database with that name, or an error that says why not';

-- Hands one job to pg_cron. New jobs belong to session_user, but pg_cron looks at the current user, which in a
-- SECURITY DEFINER function is its owner: only schedule_in_database() takes a user's name.
CREATE FUNCTION wee5_cron.schedule_for_session_user(job_name text, schedule text, command text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  jobid bigint;
BEGIN
  IF wee5_cron.belongs_to_extension(
       'pg_proc', to_regprocedure('cron.schedule_in_database(text,text,text,text,text,boolean)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule_in_database($1, $2, $3, $4, $5, true)'
      INTO jobid USING $1, $2, $3, current_database()::text, session_user::text;
  ELSIF session_user = current_user
        AND wee5_cron.belongs_to_extension('pg_proc', to_regprocedure('cron.schedule(text,text,text)'), 'pg_cron') THEN
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO jobid USING $1, $2, $3;
  ELSE
    RAISE EXCEPTION 'pg_cron in this database is older than its cron.schedule_in_database(), which makes a job for a user'
      USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION pg_cron UPDATE;';
  END IF;
  RETURN jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.schedule_for_session_user(text, text, text) IS 'Internal, of register_jobs(): makes one job in pg_cron';

CREATE FUNCTION wee5_cron.register_jobs(force boolean DEFAULT false) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  wanted record;
  taken record;
  known wee5_cron.job;
  new_jobid bigint;
  made bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  -- One at a time: pg_cron takes a name that exists for a change of that job.
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  FOR wanted IN SELECT * FROM wee5_cron.jobs_to_register() LOOP
    EXECUTE $query$
      SELECT j.jobid, j.username, j.database, j.database = current_database() AS here
      FROM cron.job j
      WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = session_user)
      ORDER BY here DESC, j.username = session_user DESC, j.jobid
      LIMIT 1
    $query$ INTO taken USING wanted.job_name;
    IF taken.here THEN
      RAISE NOTICE 'job "%" exists already and is left as it is', wanted.job_name
        USING DETAIL = format('It has jobid %s and belongs to "%s".', taken.jobid, taken.username);
      CONTINUE;
    ELSIF NOT taken.here THEN
      -- It would silently become this database's: names are unique for a user, whatever the database.
      RAISE NOTICE 'job "%" is not made: "%" has a job of that name in database "%"',
                   wanted.job_name, session_user, taken.database
        USING HINT = format('Give it a name of its own: SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                            wanted.job_name || '@' || current_database(), wanted.schedule, wanted.command,
                            current_database());
      CONTINUE;
    END IF;
    SELECT * INTO known FROM wee5_cron.job j WHERE j.job_name = wanted.job_name;
    IF known.registered AND force IS NOT TRUE THEN
      RAISE NOTICE 'job "%" was made before and deleted since: it is not brought back', wanted.job_name
        USING HINT = 'SELECT wee5_cron.register_jobs(force => true);';
      CONTINUE;
    END IF;
    BEGIN
      new_jobid := wee5_cron.schedule_for_session_user(wanted.job_name, wanted.schedule, wanted.command);
    EXCEPTION WHEN OTHERS THEN
      RAISE NOTICE 'pg_cron did not take job "%": %', wanted.job_name, SQLERRM
        USING HINT = 'When that is settled: SELECT wee5_cron.register_jobs();';
      CONTINUE;
    END;
    INSERT INTO wee5_cron.job AS j (job_name, jobid, endpoint_path, registered)
    VALUES (wanted.job_name, new_jobid, wanted.endpoint_path, true)
    ON CONFLICT (job_name) DO UPDATE
    SET jobid = excluded.jobid, endpoint_path = excluded.endpoint_path, registered = true;
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;
COMMENT ON FUNCTION wee5_cron.register_jobs(boolean) IS
  'Makes the three jobs in pg_cron for session_user, and where pg_net works without our library being preloaded one that books its answers; returns how many it made. What exists is left as it is; force brings back what was deleted';

CREATE FUNCTION wee5_cron.unregister_jobs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  removed bigint;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron();
  END IF;
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  -- A jobid may be somebody else's by now, if pg_cron was dropped and made again.
  EXECUTE $query$
    DELETE FROM cron.job c
    WHERE c.jobid IN (SELECT j.jobid FROM wee5_cron.job j WHERE j.registered)
      AND c.database = current_database()
      AND (wee5_cron.calls_us(c.command) OR c.command ~ 'wee5_cron[.]harvest[[:space:]]*[(]')
  $query$;
  GET DIAGNOSTICS removed = ROW_COUNT;
  DELETE FROM wee5_cron.job j WHERE j.registered;
  RETURN removed;
END
$$;
COMMENT ON FUNCTION wee5_cron.unregister_jobs() IS
  'Removes the jobs that register_jobs() made, no other, and returns how many that were';

CREATE FUNCTION wee5_cron.run_now(job_name text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job record;
BEGIN
  IF $1 IS NOT NULL AND NOT wee5_cron.pg_cron_installed() THEN
    SELECT j.job_name, j.endpoint_path INTO job
    FROM wee5_cron.job j WHERE j.job_name = $1 AND j.endpoint_path IS NOT NULL;
    IF NOT FOUND THEN
      PERFORM wee5_cron.raise_no_pg_cron();
    END IF;
    RETURN wee5_cron.invoke_for_job($1, job.endpoint_path);
  END IF;

  SELECT f.jobid, f.username, f.command, wee5_cron.path_of_command(f.command) AS endpoint_path,
         wee5_cron.is_plain_call(f.command) AS is_plain
  INTO job FROM wee5_cron.find_job($1) f;
  -- Whoever may use pg_cron chooses name and path; whoever runs a job by its name lends it his right to call.
  IF wee5_cron.may_run(job.username, job.command) IS NOT TRUE THEN
    RAISE EXCEPTION 'job "%" belongs to "%", who may not call', $1, job.username
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('If it is to call: SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(job.username));
  END IF;
  IF NOT job.is_plain THEN
    -- A plain GET of the path would not be the call that the job makes. Its command is not shown: cron.job hides it
    -- from other users than the job's own.
    RAISE EXCEPTION 'job "%" makes more than a plain call of one path', $1
      USING ERRCODE = 'feature_not_supported',
            HINT = format('Run its command yourself: SELECT command FROM cron.job WHERE jobid = %s;', job.jobid);
  END IF;
  RETURN wee5_cron.invoke_for_job($1, job.endpoint_path);
END
$$;
COMMENT ON FUNCTION wee5_cron.run_now(text) IS
  'Makes the call of a job now, by hand and in its name, and returns the id of its row in wee5_cron.invocation';
-- Working with jobs by their names. All of it can be done with pg_cron's own functions; these keep what this extension
-- remembers of a job in step, check the path first, and work for whoever may operate, not only for the job's owner.

CREATE FUNCTION wee5_cron.check_endpoint_path(endpoint_path text) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_endpoint_path';
COMMENT ON FUNCTION wee5_cron.check_endpoint_path(text) IS
  'Internal: the path as it came, or the error that a call with it would raise';

CREATE FUNCTION wee5_cron.schedule(job_name text, schedule text, endpoint_path text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  command constant text := format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(),
                                  wee5_cron.check_endpoint_path($3));
  taken record;
  new_jobid bigint;
BEGIN
  IF $1 IS NULL OR $2 IS NULL THEN
    RAISE EXCEPTION '% is NULL', CASE WHEN $1 IS NULL THEN 'job_name' ELSE 'schedule' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT wee5_cron.schedule(''nightly-report'', ''15 3 * * *'', ''/api/reports/nightly'');';
  ELSIF $1 = '' OR octet_length($1) > 255 THEN
    RAISE EXCEPTION 'bad job name "%"', left($1, 100)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'A name has 1 to 255 bytes.';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    PERFORM wee5_cron.raise_no_pg_cron($1, $2, command);
  END IF;
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  -- pg_cron takes a name that its user has for a change of that job, in whatever database it is.
  EXECUTE $query$
    SELECT j.jobid, j.username, j.database, j.database = current_database() AS here,
           j.username = session_user AS mine, wee5_cron.calls_us(j.command) AS calls_us
    FROM cron.job j
    WHERE j.jobname = $1 AND (j.database = current_database() OR j.username = session_user)
    ORDER BY mine DESC, here DESC LIMIT 1
  $query$ INTO taken USING $1;
  IF taken.jobid IS NOT NULL AND NOT (taken.mine AND taken.here AND taken.calls_us) THEN
    RAISE EXCEPTION 'there is a job "%" already: jobid % of "%"%', $1, taken.jobid, taken.username,
                    CASE WHEN NOT taken.here THEN format(' in database "%s"', taken.database)
                         WHEN NOT taken.calls_us THEN ', which calls no endpoint' ELSE '' END
      USING ERRCODE = 'duplicate_object',
            HINT = format('Choose another name, such as %L.', $1 || '@' || current_database());
  END IF;
  BEGIN
    new_jobid := wee5_cron.schedule_for_session_user($1, $2, command);
  EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'pg_cron does not understand the schedule "%"', $2
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Five fields: minute, hour, day of month, month, day of week. ''15 3 * * *'' is 3:15 every day, '
                   '''*/30 * * * *'' every half hour.';
  END;
  INSERT INTO wee5_cron.job AS j (job_name, jobid, endpoint_path)
  VALUES ($1, new_jobid, $3)
  ON CONFLICT (job_name) DO UPDATE SET jobid = excluded.jobid, endpoint_path = excluded.endpoint_path;
  RETURN new_jobid;
END
$$;
COMMENT ON FUNCTION wee5_cron.schedule(text, text, text) IS
  'Makes a job in pg_cron, for session_user, that calls this path, and returns its jobid; a job of that name that calls us already gets the new schedule and path';

CREATE FUNCTION wee5_cron.unschedule(job_name text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  jobid constant bigint := (wee5_cron.find_job($1)).jobid;
BEGIN
  LOCK TABLE wee5_cron.job IN SHARE ROW EXCLUSIVE MODE;
  EXECUTE 'DELETE FROM cron.job j WHERE j.jobid = $1' USING jobid;
  -- What register_jobs() made is remembered, so that it does not come back by itself.
  DELETE FROM wee5_cron.job j WHERE j.job_name = $1 AND NOT j.registered;
  UPDATE wee5_cron.job j SET paused_at = NULL, pause_note = NULL WHERE j.job_name = $1;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.unschedule(text) IS
  'Removes a job that calls us from pg_cron, whoever made it; what it called stays in the ledger';

CREATE FUNCTION wee5_cron.set_job_active(job_name text, active boolean, note text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job constant record := wee5_cron.find_job($1);
BEGIN
  -- pg_cron's own trigger on the table tells its launcher.
  EXECUTE 'UPDATE cron.job j SET active = $2 WHERE j.jobid = $1 AND j.active <> $2' USING job.jobid, $2;
  IF $2 THEN
    UPDATE wee5_cron.job j SET paused_at = NULL, pause_note = NULL WHERE j.job_name = $1;
    DELETE FROM wee5_cron.job j
    WHERE j.job_name = $1 AND j.jobid IS NULL AND NOT j.registered AND j.catch_up IS NULL;
  ELSE
    -- A job that we did not make has no jobid here, or DROP EXTENSION would take it along.
    INSERT INTO wee5_cron.job AS j (job_name, endpoint_path, paused_at, pause_note)
    VALUES ($1, wee5_cron.path_of_command(job.command), now(), $3)
    ON CONFLICT (job_name) DO UPDATE
    SET paused_at = CASE WHEN job.active THEN excluded.paused_at ELSE coalesce(j.paused_at, excluded.paused_at) END,
        pause_note = coalesce(excluded.pause_note, CASE WHEN NOT job.active THEN j.pause_note END);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.set_job_active(text, boolean, text) IS 'Internal, of pause() and resume()';

CREATE FUNCTION wee5_cron.pause(job_name text, note text DEFAULT NULL) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.set_job_active($1, false, $2) $$;
COMMENT ON FUNCTION wee5_cron.pause(text, text) IS
  'Makes pg_cron leave a job out until resume(); the note stands in wee5_cron.job. What is queued already is sent all the same';

CREATE FUNCTION wee5_cron.resume(job_name text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.set_job_active($1, true, NULL) $$;
COMMENT ON FUNCTION wee5_cron.resume(text) IS 'Lets pg_cron run a job again; what it left out meanwhile is not made up for';

CREATE FUNCTION wee5_cron.next_runs(job_name text, n int DEFAULT 5) RETURNS SETOF timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job constant record := wee5_cron.find_job($1);
  last_start timestamptz;
BEGIN
  IF n IS NULL OR n < 1 OR n > 10000 THEN
    RAISE EXCEPTION 'n is %', coalesce(n::text, 'NULL')
      USING ERRCODE = CASE WHEN n IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            HINT = 'How many runs to tell: 1 to 10000.';
  END IF;
  IF NOT job.active THEN
    RAISE NOTICE 'job "%" is paused', $1 USING HINT = format('SELECT wee5_cron.resume(%L);', $1);
    RETURN;
  END IF;
  SELECT s.last_start INTO last_start FROM wee5_cron.jobs_that_call() s WHERE s.jobid = job.jobid;
  RETURN QUERY SELECT unnest(wee5_cron.ticks(job.schedule, now(), n, last_start));
END
$$;
COMMENT ON FUNCTION wee5_cron.next_runs(text, int) IS
  'The next n times at which pg_cron starts a job; none while it is paused, or for a schedule such as @reboot';
-- Runs that never happened. pg_cron forgets what was due while the server was down, and writes nothing about it. A tick of
-- an active job that has neither a run of pg_cron's nor an invocation when its grace is over is a missed run.

-- Up to when the ticks of each job were judged, and by which schedule: without it nobody could say afterwards whether the
-- job was there and active when a tick was due. Not in a dump: the copy has missed nothing.
CREATE TABLE wee5_cron.job_watch (
  jobid bigint PRIMARY KEY,
  schedule text NOT NULL,
  active boolean NOT NULL,
  judged_until timestamptz NOT NULL,
  missed_runs bigint NOT NULL DEFAULT 0,
  last_missed timestamptz,
  seen_run bigint
);
COMMENT ON TABLE wee5_cron.job_watch IS 'Which ticks of the jobs that call us were judged already, and how many of them nobody ran';
COMMENT ON COLUMN wee5_cron.job_watch.judged_until IS 'every tick up to here was run or missed, or was due before this schedule was seen';
COMMENT ON COLUMN wee5_cron.job_watch.last_missed IS 'the newest tick that was missed';
COMMENT ON COLUMN wee5_cron.job_watch.seen_run IS 'cron.job_run_details.runid up to which failed runs of the job were counted for alerts';

-- When the runs of a job began, since a time. pg_cron's history has one index, on runid, so only its newest part is read.
-- A run whose connection failed has no time: it gets that of the next run that has one, or this moment.
CREATE FUNCTION wee5_cron.runs_since(jobid bigint, since timestamptz) RETURNS timestamptz[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  runs timestamptz[];
BEGIN
  EXECUTE $query$
    WITH run AS MATERIALIZED (
      SELECT d.jobid, coalesce(d.start_time, d.end_time, min(coalesce(d.start_time, d.end_time)) OVER (ORDER BY d.runid DESC),
                               clock_timestamp()) AS at
      FROM (SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 20000) d
    )
    SELECT array_agg(run.at ORDER BY run.at) FROM run WHERE run.jobid = $1 AND run.at >= $2
  $query$ INTO runs USING jobid, since;
  RETURN coalesce(runs, '{}');
END
$$;
COMMENT ON FUNCTION wee5_cron.runs_since(bigint, timestamptz) IS 'Internal: when pg_cron began the runs of a job since that time';

-- Since when pg_cron keeps the time: its launcher's start, or that of all processes where the launcher is not to be seen
-- (yet). What was due before, and has no run, it has forgotten.
CREATE FUNCTION wee5_cron.pg_cron_began_at() RETURNS timestamptz
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT greatest(pg_postmaster_start_time(), max(a.backend_start))
    FROM pg_stat_activity a WHERE a.backend_type IN ('pg_cron launcher', 'checkpointer')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_began_at() IS 'Internal: since when pg_cron keeps the time without a gap';

-- Whether a run of pg_cron's or a call was there for each tick of a job since the last look, as far as the tick's grace is
-- over: jobs start seconds late, and minutes late where pg_cron is busy. What pg_cron forgot has none. look_again: when the
-- next one's is.
CREATE FUNCTION wee5_cron.judge_ticks(watched wee5_cron.job_watch, job_name text, OUT judged_until timestamptz,
                                      OUT missed bigint, OUT last_missed timestamptz, OUT run_since boolean,
                                      OUT look_again timestamptz)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH tick AS MATERIALIZED (
      SELECT t AS at, coalesce(lead(t) OVER (ORDER BY t), (wee5_cron.ticks(watched.schedule, t, 1))[1]) AS next_at
      FROM unnest(wee5_cron.ticks(watched.schedule, watched.judged_until, 100000, NULL, now())) t
    ), began AS MATERIALIZED (
      SELECT wee5_cron.pg_cron_began_at() AS at
    ), begun AS MATERIALIZED (
      -- pg_cron's clock can show the full minute a moment before the transaction's does.
      SELECT r + interval '2 seconds' AS at FROM unnest(wee5_cron.runs_since(watched.jobid, watched.judged_until)) r
      UNION ALL
      SELECT c.scheduled_at
      FROM (SELECT i.scheduled_at FROM wee5_cron.invocation i WHERE i.job_name = $2 ORDER BY i.id DESC LIMIT 20000) c
      WHERE c.scheduled_at >= watched.judged_until
    ), judged AS MATERIALIZED (
      -- In the order of time a tick that was run is followed by its run. Weeks have many of both: no joining.
      SELECT e.at, e.was_run,
             e.at + CASE WHEN e.at <= (SELECT b.at FROM began b) THEN interval '0'
                         ELSE greatest(interval '1 minute', (e.next_at - e.at) / 10) END AS over
      FROM (SELECT o.at, o.next_at, o.is_run, coalesce(lead(o.is_run) OVER (ORDER BY o.at, o.is_run), false) AS was_run
            FROM (SELECT tick.at, tick.next_at, false AS is_run FROM tick
                  UNION ALL
                  SELECT begun.at, NULL, true FROM begun) o) e
      WHERE NOT e.is_run
    ), due AS MATERIALIZED (
      SELECT j.at, j.was_run FROM judged j WHERE j.over <= now()
    )
    SELECT coalesce((SELECT max(due.at) FROM due), watched.judged_until),
           (SELECT count(*) FROM due WHERE NOT due.was_run), m.at,
           EXISTS (SELECT FROM begun b WHERE b.at > m.at),
           (SELECT min(j.over) FROM judged j WHERE j.over > now())
    FROM (SELECT max(due.at) AS at FROM due WHERE NOT due.was_run) m
  $$;
COMMENT ON FUNCTION wee5_cron.judge_ticks(wee5_cron.job_watch, text) IS
  'Internal, of watch_jobs(): how many ticks of a job were missed since the last look';

-- A run that pg_cron could not have made, since its user may not, is not made up for either: pg_cron lets whoever may use
-- it write what he likes into a command, and delete the runs that it had.
CREATE FUNCTION wee5_cron.may_run(owner name, command text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT')
       AND bool_and(has_schema_privilege(r.oid, p.pronamespace, 'USAGE') AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    FROM pg_roles r CROSS JOIN pg_proc p
    WHERE r.rolname = owner AND wee5_cron.belongs_to_extension('pg_proc', p.oid, 'wee5_cron')
      AND p.proname = ANY (CASE WHEN command ~* 'invoke_cron_endpoint[[:space:]]*[(]' THEN array['invoke_cron_endpoint']
                                WHEN command ~* 'wee5_cron[.]run[[:space:]]*[(]' THEN array['run', 'invoke', 'wait_for']
                                ELSE array['invoke'] END)
    GROUP BY r.oid, r.rolcanlogin
  $$;
COMMENT ON FUNCTION wee5_cron.may_run(name, text) IS 'Internal, of catch_up() and run_now(): whether a job''s user may do what the job does';

-- What is made up for: the newest of the ticks that were missed, once, as the call of the job's owner, unless more than an
-- hour has passed, a later tick was run already, or the job does more than a plain call.
CREATE FUNCTION wee5_cron.catch_up(job_name text, command text, owner text, schedule text, tick timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_id bigint;
BEGIN
  IF job_name IS NULL OR tick < now() - interval '1 hour' OR NOT wee5_cron.is_plain_call(command)
     OR (SELECT j.catch_up FROM wee5_cron.job j WHERE j.job_name = $1) = 'none' THEN
    RETURN;
  END IF;
  IF wee5_cron.may_run(owner, command) IS NOT TRUE THEN
    RAISE EXCEPTION 'role "%" may not make its call', owner USING ERRCODE = 'insufficient_privilege';
  END IF;
  call_id := wee5_cron.invoke_for_job($1, wee5_cron.path_of_command(command), owner::name, schedule, tick);
  UPDATE wee5_cron.invocation i SET requested_by = owner WHERE i.id = call_id;
EXCEPTION WHEN OTHERS THEN
  -- As the run would have failed: no address, no secret. The next tick says so in pg_cron's history.
  RAISE LOG 'wee5_cron: the missed run of job "%" cannot be made up for: %', $1, SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.catch_up(text, text, text, text, timestamptz) IS
  'Internal, of watch_jobs(): makes the call of a run that was missed';

-- The runs of a job that pg_cron booked as failed, since the last look: the call raised, nobody could connect, no right.
-- Such a run has no call in the ledger that could be counted, or one that was. Returns up to where it has looked.
CREATE FUNCTION wee5_cron.note_failed_runs(jobid bigint, job_name text, command text, owner text, seen bigint) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := wee5_cron.path_of_command(command);
  unseen record;
BEGIN
  EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.runid, d.jobid, d.status, d.return_message
      FROM cron.job_run_details d WHERE d.runid > coalesce($2, 0) ORDER BY d.runid DESC LIMIT 20000
    ), run AS MATERIALIZED (
      SELECT n.runid, n.status, btrim(n.return_message, E' \r\n') AS message FROM newest n WHERE n.jobid = $1
    ), ended AS MATERIALIZED (
      SELECT r.* FROM run r
      WHERE r.runid < ALL (SELECT o.runid FROM run o WHERE o.status NOT IN ('succeeded', 'failed'))
    ), booked AS MATERIALIZED (
      SELECT c.cron_run_id
      FROM (SELECT i.cron_run_id, i.status FROM wee5_cron.invocation i WHERE i.job_name = $3 ORDER BY i.id DESC LIMIT 1000) c
      WHERE c.status = 'failed'
    ), failed AS MATERIALIZED (
      SELECT e.* FROM ended e
      WHERE e.status = 'failed' AND NOT EXISTS (SELECT FROM booked b WHERE b.cron_run_id = e.runid)
    )
    SELECT greatest($2, coalesce((SELECT min(o.runid) - 1 FROM run o WHERE o.status NOT IN ('succeeded', 'failed')),
                                 (SELECT max(n.runid) FROM newest n))) AS seen, (SELECT count(*) FROM failed) AS failures,
           (SELECT f.message FROM failed f ORDER BY f.runid DESC LIMIT 1) AS message
  $query$ INTO unseen USING jobid, seen, job_name;
  -- What failed before this job was watched is nobody's news.
  IF seen IS NOT NULL AND unseen.failures > 0 AND path IS NOT NULL THEN
    BEGIN
      PERFORM wee5_cron.note_failures(job_name, path, unseen.failures::int, wee5_cron.redact_for(owner::name, unseen.message));
    EXCEPTION WHEN lock_not_available THEN
      -- Somebody's harvest() counts the same path and has not committed: with the next look.
      RETURN seen;
    END;
  END IF;
  RETURN coalesce(unseen.seen, 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failed_runs(bigint, text, text, text, bigint) IS
  'Internal, of watch_jobs(): counts the runs that pg_cron booked as failed';

-- Called by the worker: at its start, when a job''s time and grace are over, and when the jobs have changed.
CREATE FUNCTION wee5_cron.watch_jobs() RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  job record;
  watched wee5_cron.job_watch;
  judged record;
  look_again timestamptz;
  seen bigint;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    DELETE FROM wee5_cron.job_watch;
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late';
    RETURN NULL;
  END IF;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, j.jobname::text AS job_name, j.schedule, j.active, j.username, j.command FROM cron.job j
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command) ORDER BY j.jobid
  $query$ LOOP
    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid FOR UPDATE;
    IF NOT FOUND OR NOT watched.active OR NOT job.active OR watched.schedule <> job.schedule OR watched.judged_until > now() THEN
      -- Seen like this for the first time, or since the clock was put back: what was due before is nobody's fault.
      INSERT INTO wee5_cron.job_watch AS w (jobid, schedule, active, judged_until)
      VALUES (job.jobid, job.schedule, job.active, now())
      ON CONFLICT (jobid) DO UPDATE
      SET schedule = excluded.schedule, active = excluded.active, judged_until = excluded.judged_until
      WHERE (w.schedule, w.active) IS DISTINCT FROM (excluded.schedule, excluded.active) OR excluded.active
      RETURNING * INTO watched;
      -- Nor is it late any more, by whatever schedule it was.
      DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = coalesce(job.job_name, job.jobid::text);
      CONTINUE WHEN NOT job.active;
    END IF;
    SELECT * INTO judged FROM wee5_cron.judge_ticks(watched, job.job_name);
    look_again := least(look_again, judged.look_again);
    seen := wee5_cron.note_failed_runs(job.jobid, job.job_name, job.command, job.username, watched.seen_run);
    UPDATE wee5_cron.job_watch w SET seen_run = seen WHERE w.jobid = job.jobid AND w.seen_run IS DISTINCT FROM seen;
    CONTINUE WHEN judged.judged_until = watched.judged_until;
    UPDATE wee5_cron.job_watch w
    SET judged_until = judged.judged_until, missed_runs = w.missed_runs + judged.missed,
        last_missed = coalesce(judged.last_missed, w.last_missed)
    WHERE w.jobid = job.jobid;
    PERFORM wee5_cron.note_lateness(coalesce(job.job_name, job.jobid::text), wee5_cron.path_of_command(job.command),
                                    CASE WHEN NOT judged.run_since THEN judged.last_missed END);
    IF judged.missed > 0 AND NOT judged.run_since THEN
      PERFORM wee5_cron.catch_up(job.job_name, job.command, job.username, job.schedule, judged.last_missed);
    END IF;
  END LOOP;
  EXECUTE 'DELETE FROM wee5_cron.job_watch w WHERE NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = w.jobid)';
  EXECUTE $query$
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND NOT EXISTS (
      SELECT FROM cron.job j WHERE j.database = current_database() AND coalesce(j.jobname::text, j.jobid::text) = t.name)
  $query$;
  RETURN look_again;
END
$$;
COMMENT ON FUNCTION wee5_cron.watch_jobs() IS
  'Internal, of the worker: counts the runs that were missed, makes up for the newest, and says when to look again';
-- How the jobs are doing, with the eyes of the extension's owner: cron.job shows a user no more than his own jobs.

-- The jobs, each with the runs that pg_cron booked as failed, newest first. Dynamic SQL: pg_cron may come after us, and
-- leave before. The run history has one index, on runid, so only its newest part is read. A run whose connection failed
-- has no time at all: it gets that of the next run that has one, and where none followed it has just happened.
-- filter: the ledger's rows of the job, as a condition on invocation i with $1 the job's name, $2 its user, $3 its jobid.
CREATE FUNCTION wee5_cron.jobs_that_call(OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean,
                                         OUT endpoint_path text, OUT username text, OUT filter text,
                                         OUT last_start timestamptz,
                                         OUT failed_runs bigint[], OUT failed_at timestamptz[], OUT failed_with text[])
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN QUERY
      -- One index probe a name, however many rows it has.
      WITH RECURSIVE named (name) AS (
        SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name IS NOT NULL
        UNION ALL
        SELECT (SELECT min(i.job_name) FROM wee5_cron.invocation i WHERE i.job_name > named.name)
        FROM named WHERE named.name IS NOT NULL
      )
      SELECT coalesce(j.job_name, n.name), NULL::bigint, NULL::text, NULL::boolean,
             coalesce(j.endpoint_path, (SELECT i.endpoint_path FROM wee5_cron.invocation i
                                        WHERE i.job_name = n.name ORDER BY i.id DESC LIMIT 1)),
             NULL::text, 'i.job_name = $1', NULL::timestamptz, NULL::bigint[], NULL::timestamptz[], NULL::text[]
      FROM wee5_cron.job j
      FULL JOIN (SELECT name FROM named WHERE name IS NOT NULL) n ON n.name = j.job_name
      WHERE j.job_name IS NULL OR j.endpoint_path IS NOT NULL;
    RETURN;
  END IF;
  RETURN QUERY EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.jobid, d.runid, d.status, d.return_message, d.start_time, d.end_time
      FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000
    ), run AS MATERIALIZED (
      SELECT d.*, coalesce(d.start_time, d.end_time, min(coalesce(d.start_time, d.end_time)) OVER (ORDER BY d.runid DESC),
                           now()) AS at
      FROM newest d
    )
    SELECT j.jobname::text, j.jobid, j.schedule, j.active, wee5_cron.path_of_command(j.command), j.username,
           CASE WHEN j.jobname IS NULL THEN
             -- The ledger knows such a job's calls only by their run. A path would not do: calls by hand have it too.
             'i.id > (SELECT coalesce(max(id), 0) - 20000 FROM wee5_cron.invocation) AND i.job_name IS NULL '
             'AND i.cron_run_id IN (SELECT d.runid FROM cron.job_run_details d WHERE d.jobid = $3)'
           WHEN count(*) OVER (PARTITION BY j.jobname) > 1 THEN 'i.job_name = $1 AND i.requested_by = $2'
           ELSE 'i.job_name = $1' END,
           f.last_start, f.runs, f.times, f.messages
    FROM cron.job j
    CROSS JOIN LATERAL (
      SELECT max(run.start_time) AS last_start,
             array_agg(run.runid ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed') AS runs,
             array_agg(run.at ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed') AS times,
             array_agg(btrim(run.return_message, E' \r\n') ORDER BY run.runid DESC) FILTER (WHERE run.status = 'failed')
               AS messages
      FROM run WHERE run.jobid = j.jobid
    ) f
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
  $query$;
END
$$;
COMMENT ON FUNCTION wee5_cron.jobs_that_call() IS 'Internal, of the view job_status: the jobs of this database that call us';

CREATE FUNCTION wee5_cron.job_status_rows(
    OUT job_name text, OUT jobid bigint, OUT schedule text, OUT active boolean, OUT endpoint_path text,
    OUT next_run timestamptz, OUT last_invocation_id bigint, OUT last_status text, OUT last_http_status int,
    OUT last_finished_at timestamptz, OUT last_success_at timestamptz, OUT consecutive_failures int,
    OUT success_rate_24h numeric, OUT p50_24h interval, OUT p95_24h interval,
    OUT missed_runs bigint, OUT last_error text, OUT state text)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- pg_cron's messages as they came are in the plans.
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  SET jit = off
  AS $$
#variable_conflict use_column
DECLARE
  job record;
  seen record;
  watched wee5_cron.job_watch;
BEGIN
  FOR job IN SELECT * FROM wee5_cron.jobs_that_call() j ORDER BY j.job_name, j.jobid LOOP
    -- What is asked lies in the last two days: 24 hours, and a day for calls of long transactions, whose ids are younger
    -- than they are. Of what failed before, since the newest success, only the number.
    EXECUTE format($query$
      WITH newest AS MATERIALIZED (
        SELECT i.id, i.status, i.http_status, i.requested_at
        FROM wee5_cron.invocation i WHERE %1$s ORDER BY i.id DESC LIMIT 1
      ), ended AS MATERIALIZED (
        SELECT i.finished_at FROM wee5_cron.invocation i
        WHERE %1$s AND i.finished_at IS NOT NULL ORDER BY i.id DESC LIMIT 1
      ), success AS MATERIALIZED (
        SELECT i.id, i.finished_at FROM wee5_cron.invocation i
        WHERE %1$s AND i.status = 'succeeded' AND i.finished_at IS NOT NULL AND i.reason IS NULL ORDER BY i.id DESC LIMIT 1
      ), edge AS MATERIALIZED (
        SELECT i.id FROM wee5_cron.invocation i
        WHERE %1$s AND i.requested_at < now() - interval '48 hours' ORDER BY i.id DESC LIMIT 1
      ), recent AS MATERIALIZED (
        SELECT i.status, i.finished_at, i.requested_at, i.duration, i.error
        FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > coalesce((SELECT id FROM edge), 0) AND i.finished_at IS NOT NULL
      ), succeeded AS MATERIALIZED (
        SELECT greatest((SELECT finished_at FROM success),
                        (SELECT max(r.finished_at) FROM recent r WHERE r.status = 'succeeded')) AS at
      ), booked AS MATERIALIZED (
        SELECT i.cron_run_id FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > least(coalesce((SELECT id FROM success), 0), coalesce((SELECT id FROM edge), 0))
          AND i.cron_run_id = ANY ($4) AND i.status = 'failed'
      ), failure AS MATERIALIZED (
        SELECT r.finished_at AS at, r.requested_at AS begun, r.error FROM recent r WHERE r.status = 'failed'
        UNION ALL
        -- A call that failed may have made its run fail as well: it counts once.
        SELECT f.at, f.at, f.message
        FROM unnest($4, $5, $6) AS f (runid, at, message)
        WHERE NOT EXISTS (SELECT FROM booked b WHERE b.cron_run_id = f.runid)
      ), newest_before AS MATERIALIZED (
        SELECT i.finished_at AS at, i.error FROM wee5_cron.invocation i
        WHERE %1$s AND i.id > coalesce((SELECT id FROM success), 0) AND i.id <= (SELECT id FROM edge) AND i.status = 'failed'
        ORDER BY i.id DESC LIMIT 1
      )
      SELECT (SELECT id FROM newest), (SELECT status FROM newest), (SELECT http_status FROM newest),
             (SELECT requested_at FROM newest),
             greatest((SELECT finished_at FROM ended), (SELECT max(finished_at) FROM recent)) AS finished_at,
             (SELECT at FROM succeeded) AS success_at,
             (SELECT count(*) FROM failure f WHERE f.at > coalesce((SELECT at FROM succeeded), '-infinity'))
             + (SELECT count(*) FROM wee5_cron.invocation i
                WHERE %1$s AND i.id > coalesce((SELECT id FROM success), 0) AND i.id <= (SELECT id FROM edge)
                  AND i.status = 'failed' AND i.finished_at > coalesce((SELECT at FROM succeeded), '-infinity')) AS failures,
             (SELECT round(avg(o.outcome), 4)
              FROM (SELECT 1 FROM recent r WHERE r.status = 'succeeded' AND r.requested_at >= now() - interval '24 hours'
                    UNION ALL
                    SELECT 0 FROM failure f WHERE f.begun >= now() - interval '24 hours') AS o (outcome)) AS success_rate,
             p.percentiles[1] AS p50, p.percentiles[2] AS p95,
             (SELECT f.error FROM (SELECT at, error FROM failure UNION ALL TABLE newest_before) f ORDER BY f.at DESC LIMIT 1) AS error
      FROM (SELECT percentile_cont(array[0.5, 0.95]) WITHIN GROUP (ORDER BY r.duration) AS percentiles
            FROM recent r
            WHERE r.status = 'succeeded' AND r.requested_at >= now() - interval '24 hours') p
    $query$, job.filter)
    INTO seen
    USING job.job_name, job.username, job.jobid, job.failed_runs, job.failed_at, job.failed_with;

    SELECT * INTO watched FROM wee5_cron.job_watch w WHERE w.jobid = job.jobid;

    job_name := job.job_name;
    jobid := job.jobid;
    schedule := job.schedule;
    active := job.active;
    endpoint_path := job.endpoint_path;
    next_run := CASE WHEN job.active THEN (wee5_cron.ticks(job.schedule, now(), 1, job.last_start))[1] END;
    last_invocation_id := seen.id;
    last_status := seen.status;
    last_http_status := seen.http_status;
    last_finished_at := seen.finished_at;
    last_success_at := seen.success_at;
    consecutive_failures := seen.failures;
    success_rate_24h := seen.success_rate;
    p50_24h := seen.p50;
    p95_24h := seen.p95;
    missed_runs := CASE WHEN job.jobid IS NOT NULL THEN coalesce(watched.missed_runs, 0) END;
    -- pg_cron's messages quote what a job's command says.
    last_error := CASE WHEN seen.error IS NOT NULL THEN wee5_cron.doctor_redact(seen.error) END;
    state := CASE WHEN NOT job.active THEN 'paused'
                  WHEN seen.success_at IS NULL AND seen.failures = 0 THEN 'never_ran'
                  WHEN watched.last_missed > greatest(job.last_start, seen.requested_at) THEN 'late'
                  WHEN seen.failures > 0 THEN 'failing'
                  ELSE 'ok' END;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.job_status_rows() IS 'Internal, of the view job_status';

CREATE VIEW wee5_cron.job_status AS
  SELECT job_name, jobid, schedule, active, endpoint_path, next_run, last_invocation_id, last_status, last_http_status,
         last_finished_at, last_success_at, consecutive_failures, success_rate_24h, p50_24h, p95_24h, missed_runs, last_error, state
  FROM wee5_cron.job_status_rows();
COMMENT ON VIEW wee5_cron.job_status IS
  'A row a pg_cron job of this database that calls us. state: paused > never_ran > late > failing > ok. Runs that pg_cron itself booked as failed are failures too';
COMMENT ON COLUMN wee5_cron.job_status.job_name IS 'cron.job.jobname';
COMMENT ON COLUMN wee5_cron.job_status.jobid IS 'cron.job.jobid; NULL where pg_cron is in another database, as schedule, active and next_run are';
COMMENT ON COLUMN wee5_cron.job_status.schedule IS 'cron.job.schedule';
COMMENT ON COLUMN wee5_cron.job_status.active IS 'cron.job.active: false while it is paused';
COMMENT ON COLUMN wee5_cron.job_status.endpoint_path IS 'the first string literal of the job''s command';
COMMENT ON COLUMN wee5_cron.job_status.next_run IS 'when pg_cron starts it next; NULL while it is paused';
COMMENT ON COLUMN wee5_cron.job_status.last_invocation_id IS 'its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_status IS 'of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_http_status IS 'of its newest call';
COMMENT ON COLUMN wee5_cron.job_status.last_finished_at IS 'when a call of it ended last';
COMMENT ON COLUMN wee5_cron.job_status.last_success_at IS 'when a call of it ended with 2xx last';
COMMENT ON COLUMN wee5_cron.job_status.consecutive_failures IS 'failed calls and failed pg_cron runs since last_success_at';
COMMENT ON COLUMN wee5_cron.job_status.success_rate_24h IS '0 to 1: succeeded / (succeeded + failed) of the last 24 hours, NULL without any';
COMMENT ON COLUMN wee5_cron.job_status.p50_24h IS 'median duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.p95_24h IS '95th percentile of the duration of the calls that succeeded in the last 24 hours';
COMMENT ON COLUMN wee5_cron.job_status.missed_runs IS 'ticks, since the job is known, that had neither a run of pg_cron''s nor a call; NULL where pg_cron is in another database';
COMMENT ON COLUMN wee5_cron.job_status.last_error IS 'of the newest failure since the last success, or in the last two days';
COMMENT ON COLUMN wee5_cron.job_status.state IS
  'paused: pg_cron leaves it out; never_ran: it has neither succeeded nor failed yet; late: its newest due run was missed; failing: it failed since its last success; ok';
-- Who may do what: nobody, until grant_to() says so.

-- Takes back what PUBLIC has by Postgres's own rules and what ALTER DEFAULT PRIVILEGES gave to anybody by name: on
-- Supabase that is anon, authenticated and service_role. After it only the owner is left in the ACLs of our objects.
CREATE FUNCTION wee5_cron.revoke_default_privileges() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  granted record;
BEGIN
  FOR granted IN
    WITH member AS (
      SELECT d.classid, d.objid
      FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.objsubid = 0 AND e.extname = 'wee5_cron'
    ), object AS (
      SELECT format('SCHEMA %I', n.nspname) AS what, n.nspowner AS owner,
             coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl
      FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
      UNION ALL
      SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname),
             c.relowner, coalesce(c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner))
      FROM member m
      JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      JOIN pg_namespace n ON n.oid = c.relnamespace
      UNION ALL
      SELECT format('ROUTINE %s', p.oid::regprocedure), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
      FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    )
    SELECT DISTINCT o.what, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS whom
    FROM object o
    CROSS JOIN LATERAL aclexplode(o.acl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE a.grantee <> o.owner AND (a.grantee = 0 OR r.oid IS NOT NULL)
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', granted.what, granted.whom);
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_default_privileges() IS
  'Internal, of this script: leaves nobody but the owner in the ACLs of the extension''s objects';

CREATE FUNCTION wee5_cron.grant_to(role regrole, profile text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_schema constant name := wee5_cron.call_schema();
  -- Each profile has what stands before it as well.
  calls constant text[] := array[
    format('EXECUTE ON FUNCTION %I.invoke_cron_endpoint(text)', call_schema),
    'EXECUTE ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval)',
    'EXECUTE ON FUNCTION wee5_cron.wait_for(bigint, interval)',
    -- run() works with its caller's rights, so these include what it asks.
    'EXECUTE ON PROCEDURE wee5_cron.run(text)', 'EXECUTE ON FUNCTION wee5_cron.commit_is_possible()'];
  reads constant text[] := array[
    'SELECT ON TABLE wee5_cron.invocation', 'SELECT ON TABLE wee5_cron.attempt', 'SELECT ON TABLE wee5_cron.job',
    'SELECT ON TABLE wee5_cron.endpoint', 'SELECT ON TABLE wee5_cron.armed', 'SELECT ON TABLE wee5_cron.trouble',
    'SELECT ON TABLE wee5_cron.job_status', 'EXECUTE ON FUNCTION wee5_cron.job_status_rows()',
    'SELECT ON TABLE wee5_cron.worker', 'EXECUTE ON FUNCTION wee5_cron.worker_slots()',
    'EXECUTE ON FUNCTION wee5_cron.queued_calls()',
    'EXECUTE ON FUNCTION wee5_cron.doctor()',
    'SELECT ON SEQUENCE wee5_cron.invocation_id_seq'];  -- pg_dump reads it
  operates constant text[] := array[
    'INSERT, UPDATE, DELETE ON TABLE wee5_cron.endpoint',
    'EXECUTE ON FUNCTION wee5_cron.retry(bigint)', 'EXECUTE ON FUNCTION wee5_cron.cancel(bigint)',
    'EXECUTE ON FUNCTION wee5_cron.register_jobs(boolean)', 'EXECUTE ON FUNCTION wee5_cron.unregister_jobs()',
    'EXECUTE ON FUNCTION wee5_cron.schedule(text, text, text)', 'EXECUTE ON FUNCTION wee5_cron.unschedule(text)',
    'EXECUTE ON FUNCTION wee5_cron.pause(text, text)', 'EXECUTE ON FUNCTION wee5_cron.resume(text)',
    'INSERT (job_name, endpoint_path, catch_up), UPDATE (endpoint_path, catch_up) ON TABLE wee5_cron.job',
    'EXECUTE ON FUNCTION wee5_cron.next_runs(text, integer)',
    'EXECUTE ON FUNCTION wee5_cron.run_now(text)', 'EXECUTE ON FUNCTION wee5_cron.harvest()',
    'EXECUTE ON FUNCTION wee5_cron.configure(text, text, text)', 'EXECUTE ON FUNCTION wee5_cron.arm()',
    'EXECUTE ON FUNCTION wee5_cron.prune()', 'EXECUTE ON FUNCTION wee5_cron.prune_cron_history(interval)',
    'EXECUTE ON FUNCTION wee5_cron.grant_to(regrole, text)'];
  grants text[];
  privilege text;
BEGIN
  IF role IS NULL OR profile IS NULL THEN
    RAISE EXCEPTION '% is NULL', CASE WHEN role IS NULL THEN 'role' ELSE 'profile' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT wee5_cron.grant_to(''some_role'', ''call''); profiles: call, read, operate.';
  END IF;
  grants := CASE profile
    WHEN 'call' THEN calls
    WHEN 'read' THEN calls || reads
    WHEN 'operate' THEN calls || reads || operates
  END;
  IF grants IS NULL THEN
    RAISE EXCEPTION 'unknown profile "%"', profile
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Profiles: call (make calls, wait for them), read (and look at everything), '
                   'operate (and work with jobs, policies and privileges).';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
    RAISE EXCEPTION 'role % does not exist', role
      USING ERRCODE = 'undefined_object', HINT = 'SELECT rolname FROM pg_roles;';
  END IF;

  EXECUTE format('GRANT USAGE ON SCHEMA wee5_cron TO %s', role);
  IF NOT has_schema_privilege(role, call_schema, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', call_schema, role);
  END IF;
  FOREACH privilege IN ARRAY grants LOOP
    EXECUTE format('GRANT %s TO %s', privilege, role);
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.grant_to(regrole, text) IS
  'Gives a role one of the profiles call (make calls, wait for them), read (and look at everything), operate (and work with jobs, policies, settings and privileges)';
-- doctor(): what keeps calls from being made, or the secret from being one, in words and with what to do about it.
-- Each topic is a function of its own in the files that follow, and one that fails does not keep the others from telling.
--
-- A hint can be pasted into psql as it stands: SQL, with what is said to a person behind "--".

CREATE TYPE wee5_cron.finding AS (check_name text, status text, detail text, hint text);
COMMENT ON TYPE wee5_cron.finding IS 'A line of doctor(): status is ok, warning or error; hint can be pasted into psql';

-- Prose for a hint. Texts from elsewhere stand in it: none of their lines may become a statement.
CREATE FUNCTION wee5_cron.doctor_comment(prose text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- ' || regexp_replace(prose, '[\r\n\v\f]+', E'\n-- ', 'g') $$;
COMMENT ON FUNCTION wee5_cron.doctor_comment(text) IS 'Internal, of doctor(): prose for a hint that is pasted into psql';

-- The statement that changes a setting where it is stored now.
CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'vault' THEN
        format('SELECT vault.update_secret((SELECT id FROM vault.secrets WHERE name = %L), %L);',
               current_setting('wee5_cron.vault_' || replace(setting, 'app.settings.', '')), value)
      ELSE CASE source
             WHEN 'role in database' THEN format('ALTER ROLE %I IN DATABASE %I', role, current_database())
             WHEN 'role' THEN format('ALTER ROLE %I', role)
             WHEN 'all' THEN 'ALTER ROLE ALL'
             ELSE format('ALTER DATABASE %I', current_database())
           END || format(' SET %s = %L;', setting, value)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, of doctor(): the statement that changes a setting where it is stored';

-- The statement that preloads a library beside what is preloaded now.
CREATE FUNCTION wee5_cron.doctor_preload(VARIADIC libraries text[]) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH listed AS (
      SELECT btrim(name, ' "') AS name, n
      FROM unnest(string_to_array(current_setting('shared_preload_libraries'), ',')) WITH ORDINALITY AS l (name, n)
      WHERE btrim(name, ' "') <> ''
      UNION ALL
      SELECT w.name, 1000 + n FROM unnest(libraries) WITH ORDINALITY AS w (name, n)
      WHERE NOT string_to_array(replace(replace(current_setting('shared_preload_libraries'), ' ', ''), '"', ''), ',')
                @> array[w.name]
    )
    SELECT format(E'ALTER SYSTEM SET shared_preload_libraries = %s;\n-- then restart the server',
                  string_agg(quote_literal(name), ', ' ORDER BY n))
    FROM listed
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload(text[]) IS
  'Internal, of doctor(): the statement that adds libraries to shared_preload_libraries';

-- The users whose settings matter: those of the jobs that call us. Where pg_cron is elsewhere, those in whose name jobs
-- called last. Where there is no job, whoever asks.
CREATE FUNCTION wee5_cron.doctor_roles() RETURNS SETOF name
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    RETURN QUERY EXECUTE $query$
      SELECT DISTINCT j.username::name FROM cron.job j
      WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
      ORDER BY 1 LIMIT 20
    $query$;
  ELSE
    RETURN QUERY
      SELECT DISTINCT newest.requested_by
      FROM wee5_cron.jobs_that_call() j
      CROSS JOIN LATERAL (
        -- A range and not an equality: with that the planner may walk the primary key instead, through all other rows.
        SELECT i.requested_by FROM wee5_cron.invocation i
        WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name
        ORDER BY i.job_name DESC, i.id DESC LIMIT 1) newest
      ORDER BY 1 LIMIT 20;
  END IF;
  IF NOT FOUND THEN
    RETURN NEXT session_user;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_roles() IS 'Internal, of doctor(): the users whose settings matter';

-- Texts that others wrote, such as pg_cron's messages, without any secret that a call may carry.
CREATE FUNCTION wee5_cron.doctor_redact(value text) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  role name;
BEGIN
  FOR role IN
    SELECT ''  -- what is stored for everybody, and what Vault holds
    UNION
    SELECT coalesce(r.rolname, '')
    FROM pg_db_role_setting s
    CROSS JOIN unnest(s.setconfig) AS entry
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE entry ILIKE 'app.settings.cron\_secret=%'
  LOOP
    value := wee5_cron.redact_for(role, value);
  END LOOP;
  RETURN value;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_redact(text) IS 'Internal, of doctor(): text from elsewhere without the secret';

CREATE FUNCTION wee5_cron.doctor() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- Who locks a table for long is not waited for; nothing here is worth being compiled; the backslashes of patterns mean
  -- what they say; and no plan shows whoever asks what is struck out of texts before they are told.
  SET lock_timeout = '250ms' SET jit = off SET standard_conforming_strings = on
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  topic record;
  message text;
BEGIN
  FOR topic IN
    SELECT *
    FROM (VALUES
      ('doctor_pg_cron', 'pg_cron_loaded pg_cron_created pg_cron_database pg_cron_launcher'),
      ('doctor_library', 'library_preloaded library_version'),
      ('doctor_armed', 'armed'),
      ('doctor_worker_slots', 'worker_slots'),
      ('doctor_jobs', 'jobs_made job_calls_us job_active'),
      ('doctor_job_runs', 'job_last_run'),
      ('doctor_api_url', 'api_url api_url_https api_url_loopback'),
      ('doctor_api_url_resolves', 'api_url_resolves'),
      ('doctor_cron_secret', 'cron_secret cron_secret_length'),
      ('doctor_cron_secret_readers', 'cron_secret_readers protect_secret'),
      ('doctor_secret_in_jobs', 'secret_in_jobs'),
      ('doctor_transport', 'transport'),
      ('doctor_worker', 'worker'),
      ('doctor_queue', 'queue'),
      ('doctor_pg_net', 'pg_net_worker pg_net_harvest pg_net_queue pg_net_tampering pg_net_readers'),
      ('doctor_last_outcome', 'last_outcome'),
      ('doctor_history', 'ledger_history pg_cron_history'),
      ('doctor_callers', 'callers'),
      ('doctor_namesakes', 'namesakes')
    ) AS t (function, checks)
  LOOP
    BEGIN
      RETURN QUERY EXECUTE format('SELECT * FROM wee5_cron.%I()', topic.function);
    EXCEPTION WHEN OTHERS THEN
      message := SQLERRM;
      BEGIN
        message := wee5_cron.doctor_redact(message);
      EXCEPTION WHEN OTHERS THEN
        -- Without the library nothing can be struck out.
        message := 'SQLSTATE ' || SQLSTATE;
      END;
      RETURN QUERY
        SELECT c.name, 'error', 'this could not be looked at: ' || message,
               format('SELECT * FROM wee5_cron.%I(); -- as a superuser, for the whole error', topic.function)
        FROM unnest(string_to_array(topic.checks, ' ')) AS c (name);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor() IS
  'Looks at everything that keeps calls from being made or the secret from being one. status: ok, warning or error; a hint can be pasted into psql. Every check has at least one line';
-- doctor(): pg_cron, our library, and the slots for background workers that all of them share.

CREATE FUNCTION wee5_cron.doctor_pg_cron() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant name := current_database();
  installed constant boolean := wee5_cron.pg_cron_installed();
  -- Only pg_cron's library defines it, and only while the server starts.
  loaded constant boolean := EXISTS (SELECT FROM pg_settings WHERE name = 'cron.database_name');
  its_database constant text := current_setting('cron.database_name', true);
  to_this_database constant text :=
    format(E'ALTER SYSTEM SET cron.database_name = %L;\n-- then restart the server', here);
BEGIN
  IF loaded THEN
    RETURN NEXT ('pg_cron_loaded', 'ok', 'pg_cron is in shared_preload_libraries', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_loaded', 'error', 'pg_cron is not in shared_preload_libraries: no job runs',
                 wee5_cron.doctor_preload('pg_cron', 'wee5_cron')
                 || CASE WHEN here <> 'postgres' AND NOT installed
                         THEN format(E'\n-- and, in postgresql.conf, for pg_cron to live in this database: '
                                     'cron.database_name = %L', here) ELSE '' END)::wee5_cron.finding;
  END IF;

  IF installed THEN
    RETURN NEXT ('pg_cron_created', 'ok',
                 format('pg_cron %s is installed in database "%s"',
                        (SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'), here),
                 NULL)::wee5_cron.finding;
  ELSIF loaded AND its_database <> here THEN
    RETURN NEXT ('pg_cron_created', 'ok',
                 format('pg_cron is in database "%s": jobs for this one are made there', its_database),
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_created', 'error', format('pg_cron is not installed in database "%s"', here),
                 E'CREATE EXTENSION pg_cron;\nSELECT wee5_cron.register_jobs();')::wee5_cron.finding;
  END IF;

  IF NOT installed THEN
    RETURN NEXT ('pg_cron_database', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
  ELSIF loaded AND its_database <> here THEN
    RETURN NEXT ('pg_cron_database', 'error',
                 format('cron.database_name is "%s": the jobs of this database do not run', its_database),
                 to_this_database)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_database', 'ok', 'cron.database_name is this database', NULL)::wee5_cron.finding;
  END IF;

  IF NOT loaded THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'does not apply: pg_cron is not loaded', NULL)::wee5_cron.finding;
  ELSIF pg_is_in_recovery() THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'does not apply: this is a standby', NULL)::wee5_cron.finding;
  ELSIF current_setting('cron.launch_active_jobs', true) = 'off' THEN
    RETURN NEXT ('pg_cron_launcher', 'error', 'cron.launch_active_jobs is off: no job runs',
                 E'ALTER SYSTEM SET cron.launch_active_jobs = on;\nSELECT pg_reload_conf();')::wee5_cron.finding;
  ELSIF EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ '^pg_cron (launcher|scheduler)$') THEN
    RETURN NEXT ('pg_cron_launcher', 'ok', 'pg_cron''s launcher runs', NULL)::wee5_cron.finding;
  ELSIF NOT EXISTS (SELECT FROM pg_database WHERE datname = its_database) THEN
    RETURN NEXT ('pg_cron_launcher', 'error',
                 format('pg_cron''s launcher does not run: there is no database "%s" (cron.database_name)', its_database),
                 to_this_database)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_launcher', 'error', 'pg_cron''s launcher does not run: no job runs',
                 wee5_cron.doctor_comment('The server''s log says why; perhaps max_worker_processes is used up: see '
                                          'worker_slots.'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron() IS 'Internal, of doctor(): whether pg_cron is there and runs';

CREATE FUNCTION wee5_cron.library_version() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_version';
COMMENT ON FUNCTION wee5_cron.library_version() IS 'Internal, of doctor(): the version of the library that is loaded';

CREATE FUNCTION wee5_cron.doctor_library() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  library constant text := wee5_cron.library_version();
  extension constant text := (SELECT extversion FROM pg_extension WHERE extname = 'wee5_cron');
BEGIN
  IF wee5_cron.library_preloaded() THEN
    RETURN NEXT ('library_preloaded', 'ok', 'wee5_cron is in shared_preload_libraries', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('library_preloaded', CASE WHEN wee5_cron.pg_net_worker_lives() THEN 'warning' ELSE 'error' END,
                 'wee5_cron is not in shared_preload_libraries: there is no builtin transport, and the secret is not '
                 'protected from SHOW', wee5_cron.doctor_preload('wee5_cron'))::wee5_cron.finding;
  END IF;
  IF library = extension THEN
    RETURN NEXT ('library_version', 'ok', format('library and SQL are version %s', library), NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('library_version', 'error',
                 format('the library is version %s, the SQL of this database %s: its calls stand still',
                        library, extension),
                 format(E'ALTER EXTENSION wee5_cron UPDATE TO %L;\n'
                        '-- and restart the server where a newer library was installed since its start',
                        library))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_library() IS 'Internal, of doctor(): whether the library is preloaded and fits the SQL';

-- pg_cron's jobs, where they are background workers, our workers and everybody else's come from one number of slots.
CREATE FUNCTION wee5_cron.doctor_worker_slots() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  slots constant int := current_setting('max_worker_processes')::int;
  of_jobs constant boolean := coalesce(current_setting('cron.use_background_workers', true)::boolean, false);
  used int;
  jobs int := 0;
  missing int;
  wanted int;
BEGIN
  -- What stays; pg_cron's running jobs are counted as jobs, parallel workers come and go.
  SELECT count(*) INTO used FROM pg_stat_activity
  WHERE backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
                             'checkpointer', 'startup', 'walwriter', 'walreceiver', 'walsender', 'walsummarizer',
                             'archiver', 'logger', 'slotsync worker', 'io worker', 'standalone backend',
                             'parallel worker', 'pg_cron', 'pg_cron worker');
  IF of_jobs AND wee5_cron.pg_cron_installed() THEN
    EXECUTE 'SELECT count(*) FROM cron.job WHERE active' INTO jobs;
    jobs := least(jobs, current_setting('cron.max_running_jobs', true)::int);
  END IF;
  SELECT count(*) INTO missing FROM wee5_cron.worker_slots() WHERE pid IS NULL;
  wanted := used + missing + jobs;
  IF wanted <= slots THEN
    RETURN NEXT ('worker_slots', 'ok',
                 format('max_worker_processes is %s: %s in use, up to %s for jobs of pg_cron', slots, used, jobs),
                 NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('worker_slots', CASE WHEN used >= slots THEN 'error' ELSE 'warning' END,
                 format('max_worker_processes is %s: %s are in use, %s wait for one, and pg_cron may need %s at once '
                        'for its jobs', slots, used, missing, jobs),
                 format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
                        greatest(16, wanted + 8)))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_worker_slots() IS 'Internal, of doctor(): whether max_worker_processes is enough';
-- doctor(): the jobs. Dynamic SQL, since pg_cron may come after us and leave before.

CREATE FUNCTION wee5_cron.doctor_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant name := current_database();
  job record;
  names text;
  calling bigint;
  lines bigint := 0;
  schedule_lines text;
BEGIN
  PERFORM wee5_cron.library_preloaded();  -- defines the settings
  IF NOT wee5_cron.pg_cron_installed() THEN
    SELECT string_agg(j.job_name, ', ' ORDER BY j.job_name) INTO names FROM wee5_cron.jobs_that_call() j;
    IF names IS NOT NULL THEN
      RETURN NEXT ('jobs_made', 'ok', 'known from the ledger, since pg_cron is elsewhere: ' || names,
                   NULL)::wee5_cron.finding;
    ELSE
      BEGIN
        PERFORM wee5_cron.raise_no_pg_cron();
      EXCEPTION WHEN object_not_in_prerequisite_state THEN
        GET STACKED DIAGNOSTICS schedule_lines = PG_EXCEPTION_HINT;
      END;
      RETURN NEXT ('jobs_made', 'warning', 'no job has made a call in this database, which pg_cron is not in',
                   schedule_lines)::wee5_cron.finding;
    END IF;
    RETURN NEXT ('job_calls_us', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN NEXT ('job_active', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;

  EXECUTE $query$
    SELECT count(*), string_agg(coalesce(j.jobname, 'jobid ' || j.jobid), ', ' ORDER BY j.jobname)
    FROM cron.job j WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
  $query$ INTO calling, names;
  IF current_setting('wee5_cron.default_jobs')::boolean THEN
    FOR job IN EXECUTE $query$
      SELECT d.job_name, coalesce(k.registered, false) AS made
      FROM wee5_cron.jobs_to_register() d
      LEFT JOIN wee5_cron.job k ON k.job_name = d.job_name
      WHERE d.endpoint_path IS NOT NULL
        -- Where unregister_jobs() took all of them away and others call us, that is how it is meant.
        AND ($1 = 0 OR EXISTS (SELECT FROM wee5_cron.job r WHERE r.registered))
        AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobname = d.job_name AND j.database = current_database())
      ORDER BY d.job_name
    $query$ USING calling
    LOOP
      lines := lines + 1;
      RETURN NEXT ('jobs_made', CASE WHEN job.made THEN 'warning' ELSE 'error' END,
                   format(CASE WHEN job.made THEN 'job "%s" was made, and is gone' ELSE 'job "%s" was not made' END,
                          job.job_name),
                   CASE WHEN job.made THEN 'SELECT wee5_cron.register_jobs(force => true);'
                        ELSE 'SELECT wee5_cron.register_jobs();' END
                   || format(E'\n-- or, where it is not wanted: ALTER DATABASE %I SET wee5_cron.default_jobs = off;',
                             here))::wee5_cron.finding;
    END LOOP;
  END IF;
  IF lines = 0 AND calling > 0 THEN
    RETURN NEXT ('jobs_made', 'ok', format('%s jobs call the app: %s', calling, names), NULL)::wee5_cron.finding;
  ELSIF lines = 0 THEN
    RETURN NEXT ('jobs_made', 'warning', 'no job of this database calls the app',
                 'SELECT wee5_cron.schedule(''nightly-report'', ''15 3 * * *'', ''/api/reports/nightly'');'
                )::wee5_cron.finding;
  END IF;

  lines := 0;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name, wee5_cron.calls_us(j.command) AS calls_us,
           (regexp_match(j.command, '("[^"]+"|[[:alnum:]_$]+)\s*\.\s*invoke_cron_endpoint\s*\('))[1] AS schema,
           CASE WHEN wee5_cron.calls_us(j.command) THEN wee5_cron.path_of_command(j.command)
                ELSE coalesce(k.endpoint_path, d.endpoint_path) END AS path
    FROM cron.job j
    LEFT JOIN wee5_cron.job k ON k.job_name = j.jobname AND k.jobid IS NOT NULL
    LEFT JOIN wee5_cron.jobs_to_register() d ON d.job_name = j.jobname
    WHERE j.database = current_database()
      AND (wee5_cron.calls_us(j.command) OR k.endpoint_path IS NOT NULL OR d.endpoint_path IS NOT NULL)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    CONTINUE WHEN job.calls_us
      AND (job.schema IS NULL OR parse_ident(job.schema) = array[wee5_cron.call_schema()::text]);
    lines := lines + 1;
    RETURN NEXT ('job_calls_us', CASE WHEN job.calls_us THEN 'error' ELSE 'warning' END,
                 format(CASE WHEN job.calls_us THEN 'job "%s" calls %s.invoke_cron_endpoint(), which is not ours'
                             ELSE 'job "%s" has the name of one of ours, and does not call us' END,
                        job.name, job.schema),
                 CASE WHEN job.path LIKE '/%' THEN
                   format('SELECT cron.alter_job(%s, command => %L);', job.jobid,
                          format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), job.path))
                 ELSE
                   wee5_cron.doctor_comment(format('Let its command call %I.invoke_cron_endpoint().',
                                                   wee5_cron.call_schema()))
                 END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_calls_us', 'ok', 'no job calls anything else in our place', NULL)::wee5_cron.finding;
  END IF;

  lines := 0;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, j.jobname, coalesce(j.jobname, 'jobid ' || j.jobid) AS name, k.paused_at, k.pause_note,
           count(*) OVER (PARTITION BY j.jobname) AS namesakes, j.active
    FROM cron.job j
    LEFT JOIN wee5_cron.job k ON k.job_name = j.jobname
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    CONTINUE WHEN job.active;
    lines := lines + 1;
    RETURN NEXT ('job_active', 'warning',
                 format('job "%s" is paused', job.name) || coalesce(to_char(job.paused_at, '" since "YYYY-MM-DD HH24:MI'), '')
                 || coalesce(': ' || job.pause_note, ''),
                 CASE WHEN job.jobname IS NOT NULL AND job.namesakes = 1
                      THEN format('SELECT wee5_cron.resume(%L);', job.jobname)
                      ELSE format('SELECT cron.alter_job(%s, active => true);', job.jobid) END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_active', 'ok', 'no job is paused', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_jobs() IS 'Internal, of doctor(): whether the jobs are there, active and call us';

-- What to do about a run that pg_cron booked as failed. Its messages differ by mode: "ERROR:  x", CONTEXT lines.
CREATE FUNCTION wee5_cron.doctor_run_hint(message text, jobid bigint, username text, path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN message LIKE '%connection failed%' OR message LIKE '%could not connect%'
           OR message LIKE '%connection to server%' OR message LIKE '%no password supplied%' THEN
        format(E'ALTER SYSTEM SET cron.use_background_workers = on;\n'
               '-- then restart the server. Without a restart, by the local socket, if that lets %I in:\n'
               'UPDATE cron.job SET nodename = '''' WHERE jobid = %s;', username, jobid)
      WHEN message LIKE '%job startup timeout%' OR message LIKE '%could not start background process%' THEN
        format(E'ALTER SYSTEM SET max_worker_processes = %s;\n-- then restart the server',
               greatest(16, 2 * current_setting('max_worker_processes')::int))
      WHEN message LIKE '%permission denied for%' THEN
        format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(username))
      WHEN message LIKE '%invoke_cron_endpoint%does not exist%' AND path LIKE '/%' THEN
        format('SELECT cron.alter_job(%s, command => %L);', jobid,
               format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), path))
      WHEN message LIKE '%app.settings.%is not set%' THEN
        wee5_cron.doctor_comment('See the lines api_url and cron_secret.')
      WHEN message LIKE '%shared_preload_libraries%' THEN
        wee5_cron.doctor_comment('See the line library_preloaded.')
      WHEN message ~ 'call \d+ of .* (failed|was not made)' THEN
        wee5_cron.doctor_comment('See the line last_outcome.')
      ELSE format('SELECT * FROM cron.job_run_details WHERE jobid = %s ORDER BY runid DESC LIMIT 5;', jobid)
    END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_run_hint(text, bigint, text, text) IS
  'Internal, of doctor(): what to do about a run that pg_cron booked as failed';

CREATE FUNCTION wee5_cron.doctor_job_runs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  succeeded bigint := 0;
  never text;
  lines bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('job_last_run', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  -- pg_cron's history has one index, on runid.
  FOR job IN EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT d.jobid, d.runid, d.status, d.return_message, coalesce(d.start_time, d.end_time) AS at
      FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000
    ), last AS (
      SELECT DISTINCT ON (n.jobid) n.* FROM newest n WHERE n.status IN ('succeeded', 'failed')
      ORDER BY n.jobid, n.runid DESC
    )
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name, j.username, wee5_cron.path_of_command(j.command) AS path,
           l.status, l.at, btrim(l.return_message, E' \r\n') AS message
    FROM cron.job j LEFT JOIN last l ON l.jobid = j.jobid
    WHERE j.database = current_database() AND wee5_cron.calls_us(j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    IF job.status IS NULL THEN
      never := concat_ws(', ', never, job.name);
    ELSIF job.status = 'succeeded' THEN
      succeeded := succeeded + 1;
    ELSE
      lines := lines + 1;
      RETURN NEXT ('job_last_run', 'error',
                   format('pg_cron booked the last run of job "%s"%s as failed: %s', job.name,
                          to_char(job.at, '" of "YYYY-MM-DD HH24:MI'), wee5_cron.doctor_redact(job.message)),
                   wee5_cron.doctor_run_hint(job.message, job.jobid, job.username, job.path))::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('job_last_run', 'ok',
                 format('the last run of %s jobs succeeded', succeeded) || coalesce('; not yet run: ' || never, ''),
                 NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_job_runs() IS 'Internal, of doctor(): what pg_cron booked about the last run of each job';

-- cron.job.command goes to the server's log, to pg_cron's history and into every dump.
CREATE FUNCTION wee5_cron.doctor_secret_in_jobs() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
  lines bigint := 0;
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('secret_in_jobs', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  FOR job IN EXECUTE $query$
    SELECT j.jobid, coalesce(j.jobname, 'jobid ' || j.jobid) AS name,
           coalesce((regexp_match(j.command, 'https?://[^/''"\s]+(/[^''"?#\s]*)'))[1],
                    CASE WHEN wee5_cron.calls_us(j.command) THEN wee5_cron.path_of_command(j.command) END) AS path
    FROM cron.job j
    WHERE j.command ~* 'bearer\s+[[:alnum:]._~+/=-]{8,}'
       -- A very short secret stands in any text.
       OR ((SELECT s.length FROM wee5_cron.setting_sources(j.username::name) s WHERE s.name = 'app.settings.cron_secret') >= 8
           AND wee5_cron.redact_for(j.username::name, j.command) <> j.command)
    ORDER BY j.jobname, j.jobid
  $query$ LOOP
    lines := lines + 1;
    RETURN NEXT ('secret_in_jobs', 'error',
                 format('a bearer secret stands in the command of job "%s", and so in pg_cron''s history and the '
                        'server''s log', job.name),
                 CASE WHEN job.path LIKE '/%' AND wee5_cron.doctor_redact(job.path) = job.path THEN
                   format('SELECT cron.alter_job(%s, command => %L);', job.jobid,
                          format('SELECT %I.invoke_cron_endpoint(%L)', wee5_cron.call_schema(), job.path))
                 ELSE
                   wee5_cron.doctor_comment(format('Let its command call %I.invoke_cron_endpoint().',
                                                   wee5_cron.call_schema()))
                 END
                 || format(E'\nDELETE FROM cron.job_run_details WHERE jobid = %s;\n'
                           '-- then change the secret, in the app and here', job.jobid))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('secret_in_jobs', 'ok', 'no job has a secret in its command', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_secret_in_jobs() IS 'Internal, of doctor(): whether a secret stands in cron.job.command';
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
                      WHEN NOT wee5_cron.library_preloaded() THEN wee5_cron.doctor_preload('wee5_cron')
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
                 CASE WHEN preloaded THEN to_builtin ELSE wee5_cron.doctor_preload('pg_net', 'wee5_cron') END
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
                      ELSE wee5_cron.doctor_preload('wee5_cron') END)::wee5_cron.finding;
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
                   WHERE j.database = current_database() AND j.active AND j.command ~ 'wee5_cron\.harvest\s*\(')
  $query$ INTO found;
  RETURN found;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_harvest_job() IS 'Internal, of doctor(): whether a job runs harvest()';
-- doctor(): where the calls go, and the secret that they carry. The secret itself never comes here: setting_sources()
-- tells where it is, how long it is, and whether a header can hold it.

CREATE FUNCTION wee5_cron.api_url_parts(api_url text, OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                        OUT private_host boolean, OUT loopback_host boolean)
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_api_url_parts';
COMMENT ON FUNCTION wee5_cron.api_url_parts(text) IS
  'Internal, of doctor(): an address as libcurl reads it; rest is what follows scheme://';

-- Roles with the same value share a row; role is one of them.
CREATE FUNCTION wee5_cron.doctor_api_urls(OUT roles text, OUT role name, OUT source text, OUT error text, OUT hint text,
                                          OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                          OUT private_host boolean, OUT loopback_host boolean) RETURNS SETOF record
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('"%s"', r.role), ', ' ORDER BY r.role), min(r.role::text)::name, s.source, s.error, s.hint, p.*
    FROM wee5_cron.doctor_roles() AS r (role)
    CROSS JOIN LATERAL wee5_cron.setting_sources(r.role) s
    LEFT JOIN LATERAL wee5_cron.api_url_parts(s.value) p ON s.value IS NOT NULL
    WHERE s.name = 'app.settings.api_url'
    GROUP BY s.source, s.error, s.hint, p.url, p.scheme, p.host, p.rest, p.private_host, p.loopback_host
    ORDER BY 1
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_api_urls() IS 'Internal, of doctor(): the addresses that count, with the users they count for';

CREATE FUNCTION wee5_cron.doctor_secrets(OUT roles text, OUT role name, OUT source text, OUT length int, OUT error text,
                                         OUT hint text) RETURNS SETOF record
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('"%s"', r.role), ', ' ORDER BY r.role), min(r.role::text)::name, s.source, s.length, s.error,
           s.hint
    FROM wee5_cron.doctor_roles() AS r (role)
    CROSS JOIN LATERAL wee5_cron.setting_sources(r.role) s
    WHERE s.name = 'app.settings.cron_secret'
    GROUP BY s.source, s.length, s.error, s.hint
    ORDER BY 1
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_secrets() IS
  'Internal, of doctor(): where the secrets that count are, with the users they count for; not what they are';

CREATE FUNCTION wee5_cron.plain_http_allowed() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_plain_http_allowed';
COMMENT ON FUNCTION wee5_cron.plain_http_allowed() IS
  'Internal, of doctor(): wee5_cron.allow_plain_http as it stands for the worker of this database';

CREATE FUNCTION wee5_cron.inside_container() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_inside_container';
COMMENT ON FUNCTION wee5_cron.inside_container() IS
  'Internal, of doctor(): what says that the server runs in a container, NULL where nothing does';

CREATE FUNCTION wee5_cron.resolve_host(host text, patience_ms int, OUT address text, OUT error text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_resolve_host';
COMMENT ON FUNCTION wee5_cron.resolve_host(text, int) IS
  'Internal, of doctor(): the first address of a host, as libcurl finds it, or why there is none';

CREATE FUNCTION wee5_cron.doctor_place(source text, roles text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'role in database' THEN format('set for %s in database "%s"', roles, current_database())
      WHEN 'role' THEN 'set for ' || roles
      WHEN 'database' THEN format('set for database "%s"', current_database())
      WHEN 'all' THEN 'set for everybody'
      WHEN 'vault' THEN 'from Vault'
      WHEN 'session' THEN 'set in this session'
      ELSE 'not set' END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_place(text, text) IS 'Internal, of doctor(): where a setting comes from, in words';

CREATE FUNCTION wee5_cron.doctor_api_url() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant name := current_database();
  container constant text := wee5_cron.inside_container();
  plain_allowed constant boolean := wee5_cron.plain_http_allowed();
  setting record;
  lines wee5_cron.finding[] := '{}';
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_api_urls() LOOP
    IF setting.source = 'session' THEN
      lines := lines || ('api_url', 'warning',
                         'this session has SET an app.settings.api_url of its own, which no job sees',
                         'RESET app.settings.api_url;')::wee5_cron.finding;
    END IF;
    IF setting.url IS NULL THEN
      lines := lines || ('api_url', 'error',
                         coalesce(setting.error, 'app.settings.api_url is not set') || ' (for ' || setting.roles || ')',
                         concat_ws(E'\n', wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                                               'https://app.example.com'),
                                   wee5_cron.doctor_comment(setting.hint)))::wee5_cron.finding;
      CONTINUE;
    END IF;
    lines := lines || ('api_url', 'ok', format('%s, %s', setting.url,
                                               wee5_cron.doctor_place(setting.source, setting.roles)),
                       NULL)::wee5_cron.finding;

    IF setting.scheme = 'http' AND NOT setting.private_host THEN
      lines := lines || ('api_url_https', CASE WHEN plain_allowed THEN 'warning' ELSE 'error' END,
                         format('%s sends the bearer secret in clear text over a public network%s', setting.url,
                                CASE WHEN plain_allowed THEN ' (wee5_cron.allow_plain_http is on)'
                                     ELSE ': calls are refused' END),
                         wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                              'https://' || setting.rest))::wee5_cron.finding;
    ELSE
      lines := lines || ('api_url_https', 'ok',
                         CASE setting.scheme WHEN 'https' THEN setting.url || ' is https'
                              ELSE setting.url || ' is plain http to a private host' END, NULL)::wee5_cron.finding;
    END IF;

    IF setting.loopback_host AND container IS NOT NULL AND NOT EXISTS (
         -- Something answers there: then the app is in this container.
         SELECT FROM (SELECT i.url, i.http_status FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000) i
         WHERE i.http_status IS NOT NULL AND starts_with(i.url, setting.url || '/')) THEN
      lines := lines || ('api_url_loopback', 'warning',
                         format('%s is this container itself (%s), and nothing there has answered so far', setting.url,
                                container),
                         wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                              setting.scheme || '://host.docker.internal'
                                              || substr(setting.rest, length(setting.host) + 1))
                         || E'\n-- that is the host of a container; an app in another one has its service''s name'
                        )::wee5_cron.finding;
    ELSE
      lines := lines || ('api_url_loopback', 'ok',
                         CASE WHEN NOT setting.loopback_host THEN setting.host || ' is not this machine itself'
                              WHEN container IS NULL THEN setting.host || ' is this machine, which is no container'
                              ELSE setting.url || ' has answered from within this container' END,
                         NULL)::wee5_cron.finding;
    END IF;
  END LOOP;

  RETURN QUERY
    SELECT l.check_name, l.status, l.detail, l.hint
    FROM unnest('{api_url,api_url_https,api_url_loopback}'::text[]) WITH ORDINALITY AS c (name, position)
    CROSS JOIN LATERAL (
      SELECT f.check_name, f.status, f.detail, f.hint, f.n
      FROM unnest(lines) WITH ORDINALITY AS f (check_name, status, detail, hint, n) WHERE f.check_name = c.name
      UNION ALL
      SELECT c.name, 'ok', 'does not apply: see api_url', NULL, 0
      WHERE NOT EXISTS (SELECT FROM unnest(lines) AS f WHERE f.check_name = c.name)
    ) l
    ORDER BY c.position, l.n;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url() IS 'Internal, of doctor(): app.settings.api_url';

CREATE FUNCTION wee5_cron.doctor_api_url_resolves() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- For all of them together.
  deadline constant timestamptz := clock_timestamp() + interval '3 seconds';
  hosts text[];
  wanted text;
  answer record;
  plain record;
BEGIN
  SELECT array_agg(DISTINCT s.host) INTO hosts FROM wee5_cron.doctor_api_urls() s WHERE s.host IS NOT NULL;
  IF hosts IS NULL THEN
    RETURN NEXT ('api_url_resolves', 'ok', 'does not apply: see api_url', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  FOREACH wanted IN ARRAY hosts LOOP
    answer := wee5_cron.resolve_host(
      wanted, greatest(100, least(2000, extract(epoch FROM deadline - clock_timestamp()) * 1000))::int);
    -- Plain http is for private names; what they lead to is for the network's own DNS to say, and worth a word.
    SELECT s.source, s.role, s.rest INTO plain FROM wee5_cron.doctor_api_urls() s
    WHERE s.host = wanted AND s.scheme = 'http' AND s.private_host AND answer.address IS NOT NULL LIMIT 1;
    IF FOUND AND NOT (wee5_cron.api_url_parts(
         format(CASE WHEN answer.address LIKE '%:%' THEN 'http://[%s]' ELSE 'http://%s' END, answer.address))).private_host THEN
      RETURN NEXT ('api_url_resolves', 'warning',
                   format('%s is %s, a public address: the bearer secret goes there in clear text', wanted, answer.address),
                   wee5_cron.doctor_set(plain.source, plain.role, 'app.settings.api_url', 'https://' || plain.rest)
                   || E'\n-- or, where only private networks lead there, leave it as it is')::wee5_cron.finding;
    ELSIF answer.address IS NOT NULL THEN
      RETURN NEXT ('api_url_resolves', 'ok', format('%s is %s', wanted, answer.address), NULL)::wee5_cron.finding;
    ELSIF answer.error LIKE 'not looked up%' THEN
      RETURN NEXT ('api_url_resolves', 'ok', format('%s is %s', wanted, answer.error), NULL)::wee5_cron.finding;
    ELSE
      RETURN NEXT ('api_url_resolves', 'error',
                   format('the database server finds no address for %s: %s', wanted, answer.error),
                   wee5_cron.doctor_comment('Check the spelling in app.settings.api_url, and that the server, or the '
                                            'container it runs in, can look up this name.'))::wee5_cron.finding;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url_resolves() IS 'Internal, of doctor(): whether the app''s host name has an address';

-- The statement that sets another secret where it is now. configure() keeps it out of logs and statistics.
CREATE FUNCTION wee5_cron.doctor_set_secret(source text, role name, placeholder text) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN source IN ('role in database', 'role', 'all')
      THEN wee5_cron.doctor_set(source, role, 'app.settings.cron_secret', placeholder)
      ELSE format('SELECT wee5_cron.configure(%L, %L%s);',
                  coalesce((SELECT p.url FROM wee5_cron.setting_sources(role) s, wee5_cron.api_url_parts(s.value) p
                            WHERE s.name = 'app.settings.api_url' AND s.value IS NOT NULL), 'https://app.example.com'),
                  placeholder, CASE source WHEN 'vault' THEN ', store => ''vault''' ELSE '' END)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set_secret(text, name, text) IS
  'Internal, of doctor(): the statement that changes the secret where it is stored';

CREATE FUNCTION wee5_cron.doctor_cron_secret() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  setting record;
  lines bigint := 0;
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_secrets() LOOP
    IF setting.source = 'session' THEN
      RETURN NEXT ('cron_secret', 'warning',
                   'this session has SET an app.settings.cron_secret of its own, which no job sees',
                   'RESET app.settings.cron_secret;')::wee5_cron.finding;
    ELSIF setting.length = 0 OR setting.error IS NOT NULL THEN
      RETURN NEXT ('cron_secret', 'error',
                   coalesce(setting.error, 'app.settings.cron_secret is not set') || ' (for ' || setting.roles || ')',
                   concat_ws(E'\n', wee5_cron.doctor_set_secret(setting.source, setting.role,
                                                                'the same text as CRON_SECRET in the app'),
                             wee5_cron.doctor_comment(setting.hint)))::wee5_cron.finding;
    ELSE
      RETURN NEXT ('cron_secret', 'ok',
                   format('%s characters, %s', setting.length, wee5_cron.doctor_place(setting.source, setting.roles)),
                   NULL)::wee5_cron.finding;
    END IF;
  END LOOP;

  FOR setting IN SELECT * FROM wee5_cron.doctor_secrets() s WHERE s.length BETWEEN 1 AND 15 LOOP
    lines := lines + 1;
    RETURN NEXT ('cron_secret_length', 'warning', format('the secret has %s characters: it can be guessed', setting.length),
                 wee5_cron.doctor_set_secret(setting.source, setting.role, 'the output of openssl rand -hex 32')
                 || E'\n-- and the same as CRON_SECRET in the app')::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('cron_secret_length', 'ok', 'no secret is shorter than 16 characters', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_cron_secret() IS 'Internal, of doctor(): app.settings.cron_secret, never its value';

CREATE FUNCTION wee5_cron.doctor_cron_secret_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  stored constant boolean := EXISTS (
    SELECT FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
    WHERE entry ILIKE 'app.settings.cron\_secret=_%'
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())));
  -- The table is the server's, its privileges are each database's.
  elsewhere constant text := (
    SELECT string_agg(format('"%s"', d.datname), ', ' ORDER BY d.datname) FROM pg_database d
    WHERE d.datallowconn AND d.datname <> current_database()
      AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                  WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT'));
  protected text;
BEGIN
  IF NOT stored THEN
    RETURN NEXT ('cron_secret_readers', 'ok', 'no secret is stored with ALTER DATABASE or ALTER ROLE',
                 NULL)::wee5_cron.finding;
  ELSIF has_table_privilege('public', 'pg_catalog.pg_db_role_setting', 'SELECT') THEN
    RETURN NEXT ('cron_secret_readers', 'warning',
                 'every role may read pg_db_role_setting, where ALTER DATABASE and ALTER ROLE store the secret',
                 'REVOKE SELECT ON pg_catalog.pg_db_role_setting FROM PUBLIC;'
                 || coalesce(E'\n-- and the same in each other database that roles may connect to: ' || elsewhere, '')
                )::wee5_cron.finding;
  ELSE
    RETURN NEXT ('cron_secret_readers', 'ok',
                 'pg_db_role_setting is not open to every role in this database'
                 || coalesce('; whether it is in others, only they can tell: ' || elsewhere, ''),
                 NULL)::wee5_cron.finding;
  END IF;

  protected := current_setting('wee5_cron.protect_secret', true);
  IF protected = 'on' THEN
    RETURN NEXT ('protect_secret', 'ok', 'only superusers and pg_read_all_settings may SHOW the secret',
                 NULL)::wee5_cron.finding;
  ELSIF protected = 'off' THEN
    RETURN NEXT ('protect_secret', 'warning', 'wee5_cron.protect_secret is off: every role may SHOW the secret',
                 E'ALTER SYSTEM SET wee5_cron.protect_secret = on;\n-- then restart the server')::wee5_cron.finding;
  ELSE
    RETURN NEXT ('protect_secret', 'warning', 'wee5_cron is not preloaded: every role may SHOW the secret',
                 wee5_cron.doctor_preload('wee5_cron'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_cron_secret_readers() IS 'Internal, of doctor(): who else can read the secret';
-- doctor(): what the calls came to lately, and how much of the past is kept.

-- The statement that a hint of the ledger ends with. Only where all of it is ours: a path that a caller chose stands in
-- a hint, too, and must not become SQL that an administrator pastes.
CREATE FUNCTION wee5_cron.doctor_outcome_hint(reason text, hint text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(
      (SELECT format(E'ALTER DATABASE %I SET app.settings.api_url = %L;\n', current_database(), m[1])
       FROM regexp_match(hint, '^Call the address that the app redirects to: ALTER DATABASE \.\.\. SET '
                               'app\.settings\.api_url = ''(https?://[[:alnum:]./:_~%-]+)''$') AS m
       WHERE reason = 'redirect' AND m IS NOT NULL),
      (SELECT format(E'ALTER DATABASE %I SET wee5_cron.request_timeout = %L;\n', current_database(), m[1])
       FROM regexp_match(hint, 'ALTER DATABASE \.\.\. SET wee5_cron\.request_timeout = ''(\d+s)''\.$') AS m
       WHERE reason = 'timeout' AND m IS NOT NULL), '')
    || wee5_cron.doctor_comment(hint)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_outcome_hint(text, text) IS
  'Internal, of doctor(): the hint of a ledger row, for pasting into psql';

CREATE FUNCTION wee5_cron.doctor_last_outcome() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  fine bigint := 0;
  lines bigint := 0;
  errors_left_out boolean := false;
BEGIN
  -- The newest call of each job that there is, however old; and of each path that was called by hand within a day, as
  -- far as that is among the newest calls.
  FOR call IN
    WITH of_job AS MATERIALIZED (
      SELECT newest.*
      FROM wee5_cron.jobs_that_call() j
      CROSS JOIN LATERAL (
        SELECT r.id, r.job_name, r.endpoint_path, r.status, r.reason, r.error, r.hint, r.finished_at
        FROM (
          -- A range and not an equality: with that the planner may walk the primary key instead, through all other rows.
          SELECT i.* FROM wee5_cron.invocation i
          WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name
          ORDER BY i.job_name DESC, i.id DESC LIMIT 200) r
        WHERE r.finished_at IS NOT NULL AND r.status <> 'cancelled'
        ORDER BY r.job_name DESC, r.id DESC LIMIT 1) newest
    ), recent AS MATERIALIZED (
      SELECT i.id, i.job_name, i.endpoint_path, i.status, i.reason, i.error, i.hint, i.finished_at
      FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000
    ), by_hand AS (
      SELECT DISTINCT ON (r.endpoint_path) r.*
      FROM recent r
      WHERE r.job_name IS NULL AND r.finished_at > now() - interval '1 day' AND r.status <> 'cancelled'
      ORDER BY r.endpoint_path, r.id DESC
    )
    -- A path that was tried by hand after its job says more than the job's own.
    SELECT DISTINCT ON (c.endpoint_path, c.job_name) c.*
    FROM (SELECT o.* FROM of_job o
          WHERE NOT EXISTS (SELECT FROM by_hand h WHERE h.endpoint_path = o.endpoint_path AND h.id > o.id)
          UNION ALL SELECT h.* FROM by_hand h
          WHERE NOT EXISTS (SELECT FROM of_job o WHERE o.endpoint_path = h.endpoint_path AND o.id >= h.id)) c
    ORDER BY c.endpoint_path, c.job_name, c.id DESC
  LOOP
    IF call.status = 'succeeded' AND call.hint IS NULL OR call.reason IN ('overlap', 'paused') THEN
      fine := fine + 1;
      CONTINUE;
    END IF;
    lines := lines + 1;
    IF lines > 50 THEN
      errors_left_out := errors_left_out OR call.status <> 'succeeded';
      CONTINUE;
    END IF;
    RETURN NEXT ('last_outcome', CASE call.status WHEN 'succeeded' THEN 'warning' ELSE 'error' END,
                 format('call %s of %s%s, %s: %s', call.id, left(call.endpoint_path, 200),
                        coalesce(' by job "' || call.job_name || '"', ''),
                        to_char(call.finished_at, 'YYYY-MM-DD HH24:MI:SS'),
                        coalesce(call.error, CASE call.status WHEN 'succeeded' THEN 'succeeded, and yet:'
                                                              ELSE call.status END)
                        || CASE call.status WHEN 'succeeded' THEN ' ' || call.hint ELSE '' END),
                 coalesce(wee5_cron.doctor_outcome_hint(call.reason, call.hint),
                          format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call.id)))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('last_outcome', 'ok',
                 CASE fine WHEN 0 THEN 'no call has ended yet'
                           ELSE format('the newest calls of all %s paths are fine', fine) END,
                 NULL)::wee5_cron.finding;
  ELSIF lines > 50 THEN
    RETURN NEXT ('last_outcome', CASE WHEN errors_left_out THEN 'error' ELSE 'warning' END, format('%s more paths', lines - 50),
                 'SELECT * FROM wee5_cron.invocation WHERE status = ''failed'' OR status = ''succeeded'' AND hint IS NOT NULL'
                 ' ORDER BY id DESC LIMIT 100;')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_last_outcome() IS 'Internal, of doctor(): the newest outcome of each job and path';

-- How much of the past there is, and whether what is over goes.
CREATE FUNCTION wee5_cron.doctor_history(max_bytes bigint DEFAULT 1073741824, max_age interval DEFAULT '90 days')
  RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes bigint := pg_total_relation_size('wee5_cron.invocation') + pg_total_relation_size('wee5_cron.attempt');
  keep_succeeded constant interval := wee5_cron.kept_for('wee5_cron.keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('wee5_cron.keep_failed');
  said text := format('the ledger takes %s; calls that succeeded are kept %s, others %s', pg_size_pretty(bytes),
                      coalesce('for ' || justify_interval(keep_succeeded), 'for ever'),
                      coalesce('for ' || justify_interval(keep_failed), 'for ever'));
  overdue timestamptz;
  oldest timestamptz;
BEGIN
  -- A standby deletes nothing itself, and may not look at an unlogged table.
  IF NOT pg_is_in_recovery() THEN
    -- A day late is what the worker may be in trouble for; the newest calls of each route stay by right.
    SELECT min(i.finished_at) INTO overdue
    FROM (SELECT * FROM wee5_cron.invocation o ORDER BY o.id LIMIT 1000) i
    WHERE i.finished_at + CASE i.status WHEN 'succeeded' THEN keep_succeeded ELSE keep_failed END < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM wee5_cron.newest_call n
                      WHERE n.route = split_part(i.endpoint_path, '?', 1) AND n.job_name = coalesce(i.job_name, '')
                        AND i.id IN (n.run_id, n.success_id));
  END IF;
  IF overdue IS NOT NULL THEN
    RETURN NEXT ('ledger_history', 'warning', said || to_char(overdue, '"; but there are older ones, of "YYYY-MM-DD'),
                 E'SELECT wee5_cron.prune();\nVACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                 '-- the worker does so by itself; where there is none, let a job do it every night')::wee5_cron.finding;
  ELSIF bytes > max_bytes THEN
    RETURN NEXT ('ledger_history', 'warning', said,
                 format(E'ALTER DATABASE %I SET wee5_cron.keep_succeeded = ''1d'';\n'
                        'VACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                        '-- the worker deletes what is over then; VACUUM FULL gives the disk space back, while calls wait',
                        current_database()))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('ledger_history', 'ok', said, NULL)::wee5_cron.finding;
  END IF;

  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('pg_cron_history', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  bytes := pg_total_relation_size('cron.job_run_details');
  -- The newest run of a job is its last, however old. Of a long history both ends are looked at.
  EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT n.jobid, max(n.runid) AS runid
      FROM (SELECT d.jobid, d.runid FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000) n GROUP BY n.jobid
    )
    SELECT coalesce(d.start_time, d.end_time)
    FROM (SELECT * FROM cron.job_run_details o ORDER BY o.runid LIMIT 1000) d
    JOIN newest n ON n.jobid = d.jobid AND n.runid > d.runid
    ORDER BY d.runid LIMIT 1
  $query$ INTO oldest;
  said := format('pg_cron''s history takes %s%s', pg_size_pretty(bytes),
                 coalesce(to_char(oldest, '", its oldest run is of "YYYY-MM-DD'), ''));
  IF bytes <= max_bytes AND (oldest IS NULL OR oldest >= now() - max_age) THEN
    RETURN NEXT ('pg_cron_history', 'ok', said, NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_history', 'warning', said,
                 E'SELECT wee5_cron.prune_cron_history(''30 days'');\nVACUUM cron.job_run_details;\n'
                 '-- README, "Reading the ledger", has a job that does so every night')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_history(bigint, interval) IS
  'Internal, of doctor(): how much the ledger and pg_cron''s history take, and whether what is over goes';
-- doctor(): who may call, and who answers to our name.

-- Everybody, and the roles in whose name a public API works (PostgREST, Supabase): a call with the secret is not theirs.
CREATE FUNCTION wee5_cron.doctor_callers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found record;
  lines bigint := 0;
BEGIN
  FOR found IN
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.objsubid = 0 AND e.extname = 'wee5_cron'
    ), granted AS (
      SELECT 'ROUTINE' AS kind, p.oid::regprocedure::text AS name, a.grantee
      FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
      CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      WHERE a.grantee <> p.proowner
      UNION ALL
      SELECT 'TABLE', c.oid::regclass::text, a.grantee
      FROM member m
      JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v')
      CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
      WHERE a.grantee <> c.relowner
    ), public_role AS (
      SELECT 0::oid AS oid, 'PUBLIC' AS name
      UNION ALL SELECT r.oid, quote_ident(r.rolname) FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated')
    )
    -- Straight, or as a member of a role that may.
    SELECT p.name AS whom, CASE WHEN g.grantee <> p.oid THEN quote_ident(v.rolname) END AS through,
           string_agg(DISTINCT g.name, ', ' ORDER BY g.name) AS objects,
           concat_ws(E'\n', 'REVOKE ALL ON ROUTINE ' || string_agg(DISTINCT g.name, ', ') FILTER (WHERE g.kind = 'ROUTINE')
                            || format(' FROM %s;', p.name),
                     'REVOKE ALL ON TABLE ' || string_agg(DISTINCT g.name, ', ') FILTER (WHERE g.kind = 'TABLE')
                     || format(' FROM %s;', p.name)) AS statements
    FROM public_role p
    JOIN granted g ON g.grantee = p.oid
                   OR (p.oid <> 0 AND g.grantee <> 0 AND pg_has_role(p.oid, g.grantee, 'USAGE'))
    LEFT JOIN pg_roles v ON v.oid = g.grantee
    GROUP BY p.oid, p.name, 2
    ORDER BY p.oid <> 0, p.name, 2
  LOOP
    lines := lines + 1;
    RETURN NEXT ('callers', 'warning',
                 CASE WHEN found.whom = 'PUBLIC' THEN 'every role' ELSE format('role %s', found.whom) END
                 || coalesce(', as a member of ' || found.through || ',', '') || ' may use ' || found.objects,
                 CASE WHEN found.through IS NULL THEN found.statements
                      ELSE format('REVOKE %s FROM %s;', found.through, found.whom) END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('callers', 'ok', 'neither everybody nor anon nor authenticated may call or read', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_callers() IS 'Internal, of doctor(): whether everybody, anon or authenticated may use us';

CREATE FUNCTION wee5_cron.doctor_namesakes() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  namesake record;
  lines bigint := 0;
BEGIN
  FOR namesake IN SELECT * FROM wee5_cron.other_endpoint_functions() LOOP
    lines := lines + 1;
    RETURN NEXT ('namesakes', 'error', format('%s is not ours: a job may call it instead', namesake.name),
                 namesake.way_out)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('namesakes', 'ok', format('invoke_cron_endpoint is in schema "%s" only', wee5_cron.call_schema()),
                 NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_namesakes() IS 'Internal, of doctor(): other functions named invoke_cron_endpoint';
-- doctor(): whether this database makes calls at all.

CREATE FUNCTION wee5_cron.doctor_armed() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark record;
  waiting bigint;
BEGIN
  IF wee5_cron.is_armed() THEN
    SELECT a.armed_at, a.armed_by INTO mark
    FROM wee5_cron.armed a JOIN pg_database d ON d.oid = a.database WHERE d.datname = current_database();
    RETURN NEXT ('armed', 'ok', format('calls are made, since %s by "%s"', to_char(mark.armed_at, 'YYYY-MM-DD HH24:MI:SS'),
                                       mark.armed_by), NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  SELECT count(*) INTO waiting FROM (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL LIMIT 100000) w;
  RETURN NEXT ('armed', 'error',
               format('the database was restored from a dump or copied, and makes no calls; %s are queued', waiting),
               E'SELECT wee5_cron.arm();\n-- if it is to call the app in place of the one that it was made from; what is '
               'queued is sent then')::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_armed() IS 'Internal, of doctor(): whether this database makes calls';
-- The last of the script, when all objects are there.
-- What a script of an extension grants counts as its initial privileges, which pg_dump does not carry.
CREATE FUNCTION wee5_cron.grant_outside_script(role regrole, profile text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_grant_outside_script';
COMMENT ON FUNCTION wee5_cron.grant_outside_script(regrole, text) IS
  'Internal, of this script: grant_to() as if it were called later, so that a dump has what it grants';
SELECT wee5_cron.revoke_default_privileges();

-- Where an extension is installed by somebody who is not superuser (a managed server lets him), it is his to work with.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER) THEN
    PERFORM wee5_cron.grant_outside_script(pg_catalog.quote_ident(SESSION_USER)::pg_catalog.regrole, 'operate');
  END IF;
END
$$;

-- A restored dump brings its own jobs and fills wee5_cron.job after this script: a row of ours would collide with them
-- and lose them all, and it is not to make calls by itself. row_security is off in a restore, and only there.
DO $$
DECLARE
  owner record;
BEGIN
  -- The last statements of the script: Postgres puts the setting back after them.
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Loads the library, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  IF current_setting('row_security') = 'off' THEN
    RETURN;
  END IF;
  PERFORM wee5_cron.arm();
  -- While a script of an extension runs, Postgres hides its notices; these are meant to be seen. What the session had set
  -- itself is not to be known here, only what it began with.
  IF current_setting('client_min_messages') = 'warning' THEN
    PERFORM set_config('client_min_messages', reset_val, true) FROM pg_settings WHERE name = 'client_min_messages';
  END IF;
  IF NOT wee5_cron.pg_cron_installed() THEN
    IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
      RAISE NOTICE 'pg_cron is not installed in database "%": no jobs are made', current_database()
        USING HINT = 'When it is, SELECT wee5_cron.register_jobs(); which also says what to do where pg_cron is in another database.';
    END IF;
    RETURN;
  END IF;
  IF current_setting('wee5_cron.default_jobs') <> 'off' THEN
    PERFORM wee5_cron.register_jobs();
  END IF;

  -- Jobs that were there before called a function that every role could execute. This one nobody can, until he may.
  FOR owner IN EXECUTE $query$
    SELECT j.username, string_agg(coalesce(quote_literal(j.jobname), j.jobid::text), ', ' ORDER BY j.jobid) AS jobs
    FROM cron.job j JOIN pg_roles r ON r.rolname = j.username
    WHERE j.database = current_database() AND j.command ~ 'invoke_cron_endpoint[[:space:]]*[(]'
      AND NOT (has_schema_privilege(r.oid, wee5_cron.call_schema(), 'USAGE')
               AND has_function_privilege(r.oid, format('%I.invoke_cron_endpoint(text)', wee5_cron.call_schema()), 'EXECUTE'))
    GROUP BY j.username ORDER BY j.username
  $query$ LOOP
    RAISE NOTICE '"%" may not call invoke_cron_endpoint, but has jobs that do: %', owner.username, owner.jobs
      USING HINT = format('SELECT wee5_cron.grant_to(%L, ''call'');', quote_ident(owner.username));
  END LOOP;
END
$$;
