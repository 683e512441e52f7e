-- The ledger: one row per call, one row per attempt. The ledger is also the queue: the worker of the database reads the
-- rows that are not finished, sends the calls, and records their results.

-- Our own sequence, logged: no crash makes it assign an id again.
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
    CHECK (status IN ('queued', 'sending', 'retrying', 'accepted', 'succeeded', 'failed', 'skipped', 'cancelled')),
  reason text CHECK (reason IN ('config', 'dns', 'connect', 'tls', 'timeout', 'http', 'redirect', 'response', 'lost',
                                'incomplete', 'overlap', 'cancelled')),
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
  exclusive text CHECK (exclusive IN ('path', 'route')),
  due_at timestamptz,
  key text
)
-- Room on the page for the result of each call: fewer WAL records. Every call leaves a dead row version, so autovacuum
-- starts long before a fifth of a large ledger is dead.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER SEQUENCE wee5_cron.invocation_id_seq OWNED BY wee5_cron.invocation.id;
COMMENT ON SEQUENCE wee5_cron.invocation_id_seq IS 'Ids of calls; logged, so that no crash makes it assign an id again';

-- Calls that are due or in flight: those of one route in the order of their ids. The predicate uses finished_at and not
-- status, so that queued -> sending stays a heap-only update.
CREATE INDEX invocation_open ON wee5_cron.invocation (transport, (pg_catalog.split_part(endpoint_path, '?', 1)) COLLATE "C", id)
  WHERE finished_at IS NULL AND next_attempt_at IS NULL;
-- Calls that wait for their time. When it has come, next_attempt_at becomes NULL, and the index above has the call.
CREATE INDEX invocation_retry ON wee5_cron.invocation (next_attempt_at) WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL;
-- Overlap: the unfinished calls of a path. By id, so that a lookup need not begin with calls that ended long ago. Calls with
-- a time of their own are in the next index, from that time on: their ids are old by then.
CREATE INDEX invocation_unfinished ON wee5_cron.invocation (endpoint_path COLLATE "C", id)
  WHERE finished_at IS NULL AND due_at IS NULL;
CREATE INDEX invocation_unfinished_later ON wee5_cron.invocation (endpoint_path COLLATE "C", id)
  WHERE finished_at IS NULL AND due_at IS NOT NULL AND (next_attempt_at = due_at) IS NOT TRUE;
-- The unfinished calls of a key.
CREATE INDEX invocation_keyed ON wee5_cron.invocation (requested_by, key, id) WHERE finished_at IS NULL AND key IS NOT NULL;
-- job_status: the calls of a job, newest last.
CREATE INDEX invocation_job ON wee5_cron.invocation (job_name, id) WHERE job_name IS NOT NULL;
-- Calls that succeeded have no reason. The last success of a failing job may be long ago. Again without status.
CREATE INDEX invocation_job_success ON wee5_cron.invocation (job_name, id)
  WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NULL;
-- Calls of a job that ended otherwise: failed, skipped, cancelled.
CREATE INDEX invocation_job_failure ON wee5_cron.invocation (job_name, id)
  WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NOT NULL;

-- complete(): calls that an app works on, and those that were given up because it did not complete them. Only what
-- records an answer writes http_status.
CREATE INDEX invocation_accepted ON wee5_cron.invocation (id) WHERE http_status = 202 AND (finished_at IS NULL OR reason = 'incomplete');

COMMENT ON TABLE wee5_cron.invocation IS
  'One row per call. status: queued -> sending -> (retrying -> sending)* -> (accepted ->) succeeded | failed. A call can also be skipped or cancelled. Only a call that the app answered with 2xx is succeeded';
COMMENT ON COLUMN wee5_cron.invocation.id IS 'Returned by invoke_cron_endpoint(), sent as X-Wee5-Cron-Invocation';
COMMENT ON COLUMN wee5_cron.invocation.job_name IS 'cron.job.jobname of the job that made the call; NULL for a call by hand';
COMMENT ON COLUMN wee5_cron.invocation.endpoint_path IS 'Path as the caller gave it';
COMMENT ON COLUMN wee5_cron.invocation.method IS 'GET, POST, PUT, PATCH, DELETE or HEAD';
COMMENT ON COLUMN wee5_cron.invocation.body IS 'Request body; NULL: none';
COMMENT ON COLUMN wee5_cron.invocation.headers IS 'Headers beyond those that every call has; for a job also x-vercel-cron-schedule';
COMMENT ON COLUMN wee5_cron.invocation.url IS 'URL that was called; the builtin transport sets it when it sends the request';
COMMENT ON COLUMN wee5_cron.invocation.transport IS 'builtin: the worker of wee5_cron sends the call; pg_net: the extension pg_net does';
COMMENT ON COLUMN wee5_cron.invocation.status IS
  'queued: waits to be sent, or for due_at. sending: in flight; written after 250 ms, or at once if retry_on is never. retrying: failed, and is retried at next_attempt_at. accepted: the app answered 202 with Wee5-Cron: accepted; the call ends when the app calls complete(), or at next_attempt_at. Final: succeeded, failed, skipped (not made), cancelled';
COMMENT ON COLUMN wee5_cron.invocation.reason IS
  'Why the call did not succeed: config (no usable address or secret), dns, connect, tls, timeout, http (the status), redirect, response (no complete answer), lost (a crash hid the answer), incomplete (the app accepted the call, and its work failed or was not completed in time), overlap, cancelled. While retrying: why the last attempt failed';
COMMENT ON COLUMN wee5_cron.invocation.error IS 'What happened, in one sentence';
COMMENT ON COLUMN wee5_cron.invocation.hint IS 'What to do about it';
COMMENT ON COLUMN wee5_cron.invocation.http_status IS 'HTTP status of the last answer; NULL: there was none';
COMMENT ON COLUMN wee5_cron.invocation.attempts IS 'Number of attempts that have begun';
COMMENT ON COLUMN wee5_cron.invocation.requested_at IS 'Start of the transaction that made the call';
COMMENT ON COLUMN wee5_cron.invocation.requested_by IS 'session_user of the caller; app.settings.* are looked up for this role';
COMMENT ON COLUMN wee5_cron.invocation.scheduled_at IS 'The time for which pg_cron started the job';
COMMENT ON COLUMN wee5_cron.invocation.first_sent_at IS 'When the first attempt was sent; NULL on pg_net, which does not report it';
COMMENT ON COLUMN wee5_cron.invocation.next_attempt_at IS
  'When the call is sent next: as a retry, or for the first time if it has due_at. NULL once it is due. infinity: the call waits for the end of another one (overlap = queue). While accepted: until when the app must complete it';
COMMENT ON COLUMN wee5_cron.invocation.finished_at IS 'When the call ended; NULL: it has not';
COMMENT ON COLUMN wee5_cron.invocation.duration IS 'finished_at - first_sent_at; NULL on pg_net';
COMMENT ON COLUMN wee5_cron.invocation.cron_run_id IS 'cron.job_run_details.runid of the run that made the call';
COMMENT ON COLUMN wee5_cron.invocation.idempotency_key IS 'Sent as Idempotency-Key: the same on every attempt, and by retry()';
COMMENT ON COLUMN wee5_cron.invocation.response_content_type IS 'Content type of the last answer';
COMMENT ON COLUMN wee5_cron.invocation.response_body IS
  'First wee5_cron.max_response_bytes of the answer, as text; invalid bytes and NUL are replaced';
COMMENT ON COLUMN wee5_cron.invocation.response_truncated IS 'Whether response_body is only a part of the answer';
COMMENT ON COLUMN wee5_cron.invocation.timeout IS 'Timeout of each attempt; NULL: wee5_cron.request_timeout at the time of sending';
COMMENT ON COLUMN wee5_cron.invocation.exclusive IS
  'Which unfinished calls make this one wait or be skipped. path: those of the same path. route: those of the same path with any query. NULL: none';
COMMENT ON COLUMN wee5_cron.invocation.due_at IS 'The time for which the call was made: invoke(at => ...); NULL: at once';
COMMENT ON COLUMN wee5_cron.invocation.key IS
  'invoke(key => ...): a newer call by the same role with the same key replaces this one, unless it is in flight, accepted or over';

-- No foreign key, which would cost every call a row lock.
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
  'One row per attempt that has ended. dns_ms to total_ms say how long each phase took, in milliseconds. NULL: the attempt had no such phase, or pg_net did not report it';
COMMENT ON COLUMN wee5_cron.attempt.invocation_id IS 'wee5_cron.invocation.id';
COMMENT ON COLUMN wee5_cron.attempt.attempt IS '1, 2, ..., sent as X-Wee5-Cron-Attempt';
COMMENT ON COLUMN wee5_cron.attempt.started_at IS 'When the attempt began. On pg_net: when the call was requested, or handed over again';
COMMENT ON COLUMN wee5_cron.attempt.finished_at IS 'When the attempt ended. On pg_net: when its answer was recorded';
COMMENT ON COLUMN wee5_cron.attempt.http_status IS 'HTTP status of the answer; NULL: there was none';
COMMENT ON COLUMN wee5_cron.attempt.reason IS 'As in wee5_cron.invocation; NULL: the attempt succeeded';
COMMENT ON COLUMN wee5_cron.attempt.error IS 'What happened, in one sentence; NULL: the attempt succeeded';
COMMENT ON COLUMN wee5_cron.attempt.dns_ms IS 'Name lookup';
COMMENT ON COLUMN wee5_cron.attempt.connect_ms IS 'TCP connection';
COMMENT ON COLUMN wee5_cron.attempt.tls_ms IS 'TLS handshake';
COMMENT ON COLUMN wee5_cron.attempt.first_byte_ms IS 'From the request to the first byte of the answer';
COMMENT ON COLUMN wee5_cron.attempt.total_ms IS 'The whole attempt';

-- What cron.job has no column for.
CREATE TABLE wee5_cron.job (
  job_name text PRIMARY KEY,
  jobid bigint,
  endpoint_path text,
  catch_up text CHECK (catch_up IN ('once', 'none')),
  registered boolean NOT NULL DEFAULT false,
  paused_at timestamptz,
  pause_note text,
  applied boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE wee5_cron.job IS
  'What wee5_cron stores about jobs in addition to cron.job: the jobs that register_jobs() and schedule() created, and what was set for others (pause(), catch_up). If pg_cron is in another database: which job calls which path';
COMMENT ON COLUMN wee5_cron.job.job_name IS 'cron.job.jobname';
COMMENT ON COLUMN wee5_cron.job.jobid IS 'cron.job.jobid of a job that wee5_cron created and DROP EXTENSION removes; NULL: somebody else''s job';
COMMENT ON COLUMN wee5_cron.job.endpoint_path IS 'Path that the job calls. If pg_cron is in another database, it identifies the job''s calls';
COMMENT ON COLUMN wee5_cron.job.catch_up IS
  'once (the default): wee5_cron makes the call of the newest missed run if that was due in the last hour. none: it only counts missed runs';
COMMENT ON COLUMN wee5_cron.job.registered IS
  'Whether register_jobs() created the job. It does not create a deleted job again; unregister_jobs() removes it';
COMMENT ON COLUMN wee5_cron.job.paused_at IS 'When pause() was called; NULL: pause() has not paused it';
COMMENT ON COLUMN wee5_cron.job.pause_note IS 'Note given to pause()';
COMMENT ON COLUMN wee5_cron.job.applied IS
  'Created or adopted by apply(), which may remove it when it is no longer in the configuration';

-- Which pg_net request carries which call. UNLOGGED like pg_net's own tables: a crash empties those and restarts their
-- ids. It empties this table, too, so that the answer of another request is never taken for ours.
CREATE UNLOGGED TABLE wee5_cron.pg_net_request (
  invocation_id bigint PRIMARY KEY,
  request_id bigint NOT NULL,
  handed_over_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  queue oid DEFAULT pg_catalog.to_regclass('net.http_request_queue'),
  previous_until timestamptz,
  secret_digests int[]
);
COMMENT ON COLUMN wee5_cron.pg_net_request.secret_digests IS
  'A 32-bit digest of each secret that the request carries. If one of these secrets is no longer stored, the answer''s text is not kept. NULL: not known, after an update from 0.1.0';
COMMENT ON COLUMN wee5_cron.pg_net_request.previous_until IS 'The request carries the previous secret, which is used until then; NULL: it carries the present one';
COMMENT ON COLUMN wee5_cron.pg_net_request.queue IS 'OID of pg_net''s queue table, whose ids begin again if pg_net is dropped and created';
COMMENT ON TABLE wee5_cron.pg_net_request IS 'Internal: calls handed to pg_net whose answer is not recorded yet';

-- The backend that made a call for pg_cron. pg_cron may commit the row of its run after the call, so the run's id is
-- looked up when the call ends. UNLOGGED: after a crash these pids mean nothing.
CREATE UNLOGGED TABLE wee5_cron.cron_caller (
  invocation_id bigint PRIMARY KEY,
  pid int NOT NULL
);
COMMENT ON TABLE wee5_cron.cron_caller IS 'Internal: calls by pg_cron whose cron_run_id is not known yet';
