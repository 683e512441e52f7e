-- Every error of the callable functions: what happened, what to do, and an SQLSTATE that a program can act on. All of it
-- in transactions that roll back, so nothing is sent.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
BEGIN;

-- Not configured: an error, because pg_cron would book anything else as success.
SAVEPOINT a;
SELECT invoke_cron_endpoint('/api/cron/poll-activities');
\echo :SQLSTATE
ROLLBACK TO a;
SET LOCAL wee5_cron.missing_config = 'skip';
SELECT invoke_cron_endpoint('/api/cron/poll-activities') AS id \gset
SELECT status, reason, error, hint, attempts, finished_at IS NOT NULL AS finished FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;

ALTER DATABASE contrib_regression SET app.settings.api_url = 'http://127.0.0.1:9';
SELECT invoke_cron_endpoint('/api/cron/poll-activities');
\echo :SQLSTATE
ALTER DATABASE contrib_regression SET app.settings.cron_secret = 'secret of the regression tests';

-- The path.
SELECT invoke_cron_endpoint(NULL);
\echo :SQLSTATE
SELECT invoke_cron_endpoint('');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('api/cron/poll-activities');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('https://evil.example/x');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('@evil.example/x');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('.evil.example/x');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('//evil.example/x');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/\evil.example/x');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/a/../b');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/a/%2e%2E/b');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/..%2fb');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/100%');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/a#b');
\echo :SQLSTATE
SELECT invoke_cron_endpoint(E'/a\r\nX-Evil: 1');
\echo :SQLSTATE
SELECT invoke_cron_endpoint('/' || repeat('a', 2048));
\echo :SQLSTATE

-- invoke(): method, body, headers, timeout.
SELECT wee5_cron.invoke(NULL);
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', 'BREW');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', 'GET', '{}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', 'HEAD', '{}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '{"Authorization": "Bearer mine"}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '{"X-A": "1\r\nX-B: 2"}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '{"X A": "1"}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '["X-A"]');
\echo :SQLSTATE
-- As large as no server takes them, together; in a policy too.
SELECT wee5_cron.invoke('/a', headers => jsonb_build_object('X-A', repeat('a', 40000), 'X-B', repeat('b', 40000)));
\echo :SQLSTATE
INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/a', jsonb_build_object(repeat('X', 65535), 'yes and no'));
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '{"X-A": 1}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', headers => '{"X-Wee5-Cron-Job": "mine"}');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', timeout => '-1 s');
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', timeout => '0');
\echo :SQLSTATE

-- A body that is too large: as it is sent, not as it is stored; a policy's, too, when it is written and when it is used.
SELECT wee5_cron.invoke('/a', 'POST', jsonb_build_array(repeat('x', 1024 * 1024)));
\echo :SQLSTATE
SELECT wee5_cron.invoke('/a', 'POST', jsonb_build_array('1e131071'::jsonb, '1e131071'::jsonb, '1e131071'::jsonb, '1e131071'::jsonb,
                                                        '1e131071'::jsonb, '1e131071'::jsonb, '1e131071'::jsonb, '1e131071'::jsonb));
\echo :SQLSTATE
INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/large', 'POST', jsonb_build_array(repeat('x', 1024 * 1024)));
\echo :SQLSTATE
BEGIN;
INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/large', 'POST', '{"a": "1234567890"}');
SET LOCAL wee5_cron.max_request_bytes = 18;
SAVEPOINT a;
SELECT invoke_cron_endpoint('/large');
\echo :SQLSTATE
ROLLBACK TO a;
SELECT wee5_cron.invoke('/large', 'POST', '{"a": "123456789"}') > 0 AS small_enough;
ROLLBACK;

-- What goes through.
BEGIN;
SELECT wee5_cron.invoke('/a?b=c', 'POST', headers => '{"X-Team": "blue"}', timeout => '90 s') AS id \gset
SELECT endpoint_path, method, body, headers, timeout, transport, status, attempts, finished_at
FROM wee5_cron.invocation WHERE id = :id;
-- wait_for() of it would wait for ever.
SELECT wee5_cron.wait_for(:id);
\echo :SQLSTATE
ROLLBACK;
SELECT wee5_cron.wait_for(NULL);
\echo :SQLSTATE
SELECT wee5_cron.wait_for(4711, NULL);
\echo :SQLSTATE
SELECT wee5_cron.wait_for(4711);
\echo :SQLSTATE

-- run(), retry() and cancel().
CALL wee5_cron.run(NULL);
\echo :SQLSTATE
CALL wee5_cron.run('api/cron/poll-activities');
\echo :SQLSTATE
BEGIN;
CALL wee5_cron.run('/it''s');
\echo :SQLSTATE
ROLLBACK;
SELECT wee5_cron.retry(NULL);
\echo :SQLSTATE
SELECT wee5_cron.retry(4711);
\echo :SQLSTATE
BEGIN;
SELECT invoke_cron_endpoint('/a') AS id \gset
SELECT wee5_cron.retry(:id);
\echo :SQLSTATE
ROLLBACK;
SELECT wee5_cron.cancel(NULL);
\echo :SQLSTATE
SELECT wee5_cron.cancel(4711);
\echo :SQLSTATE

-- A secret or an address that only this session has cannot reach the worker.
BEGIN;
SET LOCAL app.settings.cron_secret = 'secret of this session';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SET LOCAL app.settings.api_url = 'http://127.0.0.1:10';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
ROLLBACK;

-- configure(); more in the TAP tests, which look at logs as well.
SELECT wee5_cron.configure(NULL, 'secret of the regression tests');
\echo :SQLSTATE
SELECT wee5_cron.configure('https://app.example', ' ');
\echo :SQLSTATE
SELECT wee5_cron.configure('http://app.example', 'secret of the regression tests');
\echo :SQLSTATE
SELECT wee5_cron.configure('https://app.example', 'secret of the regression tests', 'file');
\echo :SQLSTATE
SELECT wee5_cron.configure('https://app.example', 'secret of the regression tests', 'vault');
\echo :SQLSTATE

-- What works with jobs and with their history, without pg_cron.
SELECT wee5_cron.register_jobs();
\echo :SQLSTATE
SELECT wee5_cron.unregister_jobs();
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.unschedule('x');
\echo :SQLSTATE
SELECT wee5_cron.run_now('x');
\echo :SQLSTATE
SELECT wee5_cron.pause('x');
\echo :SQLSTATE
SELECT wee5_cron.resume('x');
\echo :SQLSTATE
SELECT wee5_cron.next_runs('x', 1);
\echo :SQLSTATE
SELECT wee5_cron.prune_cron_history('30 days');
\echo :SQLSTATE
SELECT wee5_cron.prune_cron_history(NULL);
\echo :SQLSTATE
SELECT wee5_cron.prune_cron_history('-1 day');
\echo :SQLSTATE

-- api_url.
ALTER DATABASE contrib_regression SET app.settings.api_url = 'ftp://app.example';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
ALTER DATABASE contrib_regression SET app.settings.api_url = 'http://app.example';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
ALTER DATABASE contrib_regression SET app.settings.api_url = 'https://user:pass@app.example';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
ALTER DATABASE contrib_regression RESET app.settings.api_url;

-- The transport.
SET wee5_cron.transport = 'pg_net';
SELECT invoke_cron_endpoint('/a');
\echo :SQLSTATE
RESET wee5_cron.transport;

-- grant_to().
CREATE ROLE regress_caller;
SELECT wee5_cron.grant_to('regress_caller', 'rule');
\echo :SQLSTATE
SELECT wee5_cron.grant_to('regress_caller', NULL);
\echo :SQLSTATE
SELECT wee5_cron.grant_to(NULL, 'call');
\echo :SQLSTATE
SELECT wee5_cron.grant_to(0::regrole, 'call');
\echo :SQLSTATE
SELECT wee5_cron.grant_to('regress_nobody', 'call');
\echo :SQLSTATE
DROP ROLE regress_caller;

ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
DROP EXTENSION wee5_cron;
