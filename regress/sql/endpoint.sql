-- wee5_cron.endpoint: what it accepts, and what calls read from it.
\set VERBOSITY default
SET client_min_messages = warning;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT format('ALTER DATABASE %I SET app.settings.api_url = ''http://127.0.0.1:9''', current_database()) \gexec
SELECT format('ALTER DATABASE %I SET app.settings.cron_secret = ''for regress only''', current_database()) \gexec

-- Its columns are the contract.
SELECT column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema = 'wee5_cron' AND table_name = 'endpoint' ORDER BY ordinal_position;

-- A policy that cannot work is refused when it is written. The error names the value, the hint says what to do.
INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES (NULL);
INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('api/x');
INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('/a/../b');
INSERT INTO wee5_cron.endpoint (endpoint_path, method) VALUES ('/x', 'FETCH');
INSERT INTO wee5_cron.endpoint (endpoint_path, body) VALUES ('/x', '{}');
INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/x', 'HEAD', '{}');
INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/x', '[]');
INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/x', '{"X-N": 1}');
INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/x', '{"Authorization": "Bearer mine"}');
INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/x', '{"Idempotency-Key": "mine"}');
INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/x', '0');
INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/x', '-1 s');
INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/x', '25 days');
INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts) VALUES ('/x', 0);
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on) VALUES ('/x', 'always');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays) VALUES ('/x', '{}');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays) VALUES ('/x', '{1s,NULL}');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays) VALUES ('/x', '{1s,-1s}');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays) VALUES ('/x', '{{1s},{2s}}');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_window) VALUES ('/x', '0');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_window) VALUES ('/x', '-1 h');
INSERT INTO wee5_cron.endpoint (endpoint_path, overlap) VALUES ('/x', 'wait');
INSERT INTO wee5_cron.endpoint (endpoint_path, alert_after) VALUES ('/x', 0);
INSERT INTO wee5_cron.endpoint (endpoint_path, complete_within) VALUES ('/x', '0');
INSERT INTO wee5_cron.endpoint (endpoint_path, complete_within) VALUES ('/x', '102 years');
INSERT INTO wee5_cron.endpoint (endpoint_path, keep_succeeded) VALUES ('/x', '-1 s');
INSERT INTO wee5_cron.endpoint (endpoint_path, keep_failed) VALUES ('/x', '102 years');
INSERT INTO wee5_cron.endpoint (endpoint_path, max_in_flight) VALUES ('/x', 0);
INSERT INTO wee5_cron.endpoint (endpoint_path, max_response_bytes) VALUES ('/x', -1);
INSERT INTO wee5_cron.endpoint (endpoint_path, max_response_bytes) VALUES ('/x', 1048577);
SELECT count(*) FROM wee5_cron.endpoint;

-- The limits of what is accepted. The method is stored as it is sent.
INSERT INTO wee5_cron.endpoint
VALUES ('/api/report', 'post', '{"batch": 50}', '{"X-Team": "blue", "Accept-Language": "de"}', '1 ms', 1, 'never', '{0}', '1 ms', 'skip', 1,
        'the nightly report', '1 ms', '0', '100 years', 1, 0);
INSERT INTO wee5_cron.endpoint (endpoint_path, timeout, max_attempts, retry_on, retry_delays, retry_window, overlap)
VALUES ('/api/report?of=germany', '5 min', 100, 'transient', '{100ms,1s,1h}', '90 days', 'allow');
SELECT * FROM wee5_cron.endpoint ORDER BY endpoint_path;
UPDATE wee5_cron.endpoint SET method = 'GET' WHERE endpoint_path = '/api/report';
UPDATE wee5_cron.endpoint SET max_attempts = -1;
-- Logical replication and a restore store any value. doctor() reports those out of bounds.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO wee5_cron.endpoint (endpoint_path, method, retry_on) VALUES ('/replicated', 'get', 'always');
INSERT INTO wee5_cron.endpoint (endpoint_path, keep_succeeded) VALUES ('/replicated/too', '-1 day');
SET LOCAL session_replication_role = origin;
SELECT method, retry_on FROM wee5_cron.endpoint WHERE endpoint_path = '/replicated';
SELECT status, detail, hint FROM wee5_cron.doctor_policies();
ROLLBACK;
SELECT status, detail, hint FROM wee5_cron.doctor_policies();

-- A call takes the row of its whole path, else of the path without the query. Its own arguments override the row.
CREATE FUNCTION made(id bigint) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', endpoint_path, method, coalesce(body::text, 'no body'), headers, coalesce(timeout::text, 'default'))
  FROM wee5_cron.invocation i WHERE i.id = made.id
$$;
BEGIN;
UPDATE wee5_cron.endpoint SET overlap = NULL;
SELECT made(invoke_cron_endpoint('/api/other'));
SELECT made(invoke_cron_endpoint('/api/report'));
SELECT made(invoke_cron_endpoint('/api/report?of=france'));
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
SELECT made(wee5_cron.invoke_for_job('report', '/api/report'));
SELECT made(wee5_cron.invoke('/api/report'));
SELECT made(wee5_cron.invoke('/api/report', body => '{"batch": 1}', timeout => '10 s'));
SELECT made(wee5_cron.invoke('/api/report', headers => '{"x-team": "red", "X-More": "1"}'));
SELECT made(wee5_cron.invoke('/api/report', 'POST'));
SELECT made(wee5_cron.invoke('/api/report', 'GET'));
SELECT made(wee5_cron.invoke('/api/report', 'DELETE'));
SELECT made(wee5_cron.invoke('/api/report', 'PUT'));
SELECT made(wee5_cron.invoke('/api/report', NULL, NULL, NULL, NULL));
ROLLBACK;

-- A change applies at once, in the same transaction, until it is rolled back.
BEGIN;
UPDATE wee5_cron.endpoint SET timeout = '7 s', overlap = NULL;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
SAVEPOINT s;
DELETE FROM wee5_cron.endpoint;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
ROLLBACK TO s;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
TRUNCATE wee5_cron.endpoint;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
ROLLBACK;
BEGIN;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
ROLLBACK;
-- A change by another session applies even under an old snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
\setenv PGDATABASE :DBNAME
\! psql -X -q -d "$PGDATABASE" -c "UPDATE wee5_cron.endpoint SET timeout = '9 s', overlap = NULL"
SELECT made(invoke_cron_endpoint('/api/report?of=germany'));
ROLLBACK;

-- Which roles may read and write it.
CREATE ROLE regress_reads;
CREATE ROLE regress_operates;
SELECT wee5_cron.grant_to('regress_reads', 'read'), wee5_cron.grant_to('regress_operates', 'operate');
SET ROLE regress_reads;
SELECT count(*) FROM wee5_cron.endpoint;
DELETE FROM wee5_cron.endpoint;
SET ROLE regress_operates;
INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts) VALUES ('/mine', 2);
UPDATE wee5_cron.endpoint SET note = 'mine' WHERE endpoint_path = '/mine';
DELETE FROM wee5_cron.endpoint WHERE endpoint_path = '/mine';
TRUNCATE wee5_cron.endpoint;
RESET ROLE;

DROP FUNCTION made(bigint);
SELECT format('ALTER DATABASE %I RESET ALL', current_database()) \gexec
SET client_min_messages = warning;
DROP EXTENSION wee5_cron;
DROP OWNED BY regress_reads, regress_operates;
DROP ROLE regress_reads, regress_operates;
