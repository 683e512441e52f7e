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
                                'overlap', 'cancelled')),
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
)
-- A call's result is written beside its row, not on another page: fewer WAL records. Every call leaves a dead version
-- behind, so a large ledger is vacuumed long before a fifth of it is dead.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER SEQUENCE wee5_cron.invocation_id_seq OWNED BY wee5_cron.invocation.id;
COMMENT ON SEQUENCE wee5_cron.invocation_id_seq IS 'Ids of calls; logged, so that no crash gives one out again';

-- What is to be sent now, or is on the wire: a route's calls in the order of their ids. In the predicate stands
-- finished_at and not status, so that queued -> sending stays a heap-only update.
CREATE INDEX invocation_open ON wee5_cron.invocation (transport, (pg_catalog.split_part(endpoint_path, '?', 1)) COLLATE "C", id)
  WHERE finished_at IS NULL AND next_attempt_at IS NULL;
-- What waits for its time. When that has come, next_attempt_at becomes NULL, and the call takes its turn above.
CREATE INDEX invocation_retry ON wee5_cron.invocation (next_attempt_at) WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL;
-- Whether a call of a path has not ended yet: overlap. By ids, so that a look need not begin with what ended long ago.
CREATE INDEX invocation_unfinished ON wee5_cron.invocation (endpoint_path COLLATE "C", id) WHERE finished_at IS NULL;
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
  'why it did not succeed: config (no usable address or secret), dns, connect, tls, timeout, http (the status), redirect, response (no complete answer), lost (cut off by a crash), overlap, cancelled; while retrying: why the last attempt did not';
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
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.01);
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
