-- Every error of the callable functions: what happened, what to do, and an SQLSTATE that a program can act on. The test
-- rolls back all calls, so nothing is sent.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
BEGIN;

-- Not configured: an error, because pg_cron would log anything else as success.
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
-- Headers that together are larger than any server accepts; in a policy, too.
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

-- A body that is too large as it is sent, not as it is stored. In a policy, too, when it is written and when it is used.
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

-- A call that is accepted.
BEGIN;
SELECT wee5_cron.invoke('/a?b=c', 'POST', headers => '{"X-Team": "blue"}', timeout => '90 s') AS id \gset
SELECT endpoint_path, method, body, headers, timeout, transport, status, attempts, finished_at
FROM wee5_cron.invocation WHERE id = :id;
-- wait_for() in the transaction of the call would wait for ever.
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

-- configure(). The TAP tests have more cases, and check the log, too.
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

-- The job functions, without pg_cron.
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

-- Whatever the input is, the error has an SQLSTATE, names the value, and says what to do.
CREATE FUNCTION answer(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  advice text;
BEGIN
  EXECUTE statement;
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RETURN format('%s %s%s', SQLSTATE, regexp_replace(message, '(.)\1{99,}', '\1...', 'g'),
                CASE advice WHEN '' THEN ' (no hint)' ELSE '' END);
END
$$;
ALTER DATABASE contrib_regression SET app.settings.api_url = 'http://127.0.0.1:9';
BEGIN;
SELECT format('SELECT invoke_cron_endpoint(%L)', p) AS call, answer(format('SELECT invoke_cron_endpoint(%L)', p))
FROM unnest(array[' ', E'/a\tb', '/ü', '/it''s"quoted"', '/a?b#c', '/%zz', '/.', '/a b', 'name:/x', E'/a\x7f', '/?next=https://x']) p;
SELECT answer(format('SELECT invoke_cron_endpoint(%L)', '/' || repeat('ü', 1100)));
SELECT m AS method, answer(format('SELECT wee5_cron.invoke(%L, %L)', '/a', m))
FROM unnest(array['', ' GET', 'get', 'OPTIONS', E'GET\n', 'ü', repeat('X', 1000)]) WITH ORDINALITY AS t (m, n) WHERE n < 7;
SELECT answer(format('SELECT wee5_cron.invoke(%L, %L)', '/a', repeat('X', 1000)));
SELECT h AS headers, answer(format('SELECT wee5_cron.invoke(%L, headers => %L)', '/a', h))
FROM unnest(array['null', '1', '"x"', '{"A": null}', '{"A": {}}', '{"": "x"}', '{"Ü": "x"}', '{"host": "x"}', '{"Expect": "x"}',
                  '{"Proxy-X": "x"}', '{"TE": "x"}', '{"Trailer": "x"}', '{"Upgrade": "x"}', '{"Content-Type": "x"}',
                  '{"X-Wee5-Cron-Timeout-Ms": "1"}', '{"X-A": "ü"}', '{"X-A": ""}', '{"User-Agent": "vercel-cron/1.0"}']) h;
SELECT t AS timeout, answer(format('SELECT wee5_cron.invoke(%L, timeout => %L)', '/a', t))
FROM unnest(array['0', '-1 s', '1 us', '25 days', '178000000 years', '-178000000 years', '1 mon -30 days', '1 mon -29 days']) t;
SELECT a AS at, answer(format('SELECT wee5_cron.invoke(%L, at => %L)', '/a', a))
FROM unnest(array['infinity', '-infinity', '2999-01-01 00:00 UTC', '1999-01-01 00:00 UTC', 'tomorrow', 'someday']) a;
SELECT length(k) AS key, answer(format('SELECT wee5_cron.invoke(%L, at => %L, key => %L)', '/a', 'tomorrow', k))
FROM unnest(array['', repeat('k', 200), repeat('k', 201), repeat('ü', 101)]) k;
SELECT answer('SELECT wee5_cron.invoke(''/a'', target => ''other'')');
SELECT answer('SELECT wee5_cron.invoke(''a'', target => ''other'')');
SELECT answer('SELECT wee5_cron.invoke(''/a'', target => ''a b'')');
SELECT answer('SELECT wee5_cron.invoke(''/a'', target => ''app'')');
SELECT i AS id, answer(format('SELECT wee5_cron.wait_for(%L)', i)) AS wait_for, answer(format('SELECT wee5_cron.retry(%L)', i)) AS retry,
       answer(format('SELECT wee5_cron.cancel(%L)', i)) AS cancel
FROM unnest(array[0, -1, 9223372036854775807, -9223372036854775808]) i;
SELECT u AS api_url, answer(format('SELECT wee5_cron.configure(%L, %L)', u, 'secret of the regression tests'))
FROM unnest(array['', ' ', 'x', 'https://', 'https:///x', 'https://a b', E'https://a\nb', 'https://ü.example', 'https://a?b', 'https://a#b',
                  'https://user:pass@a', 'http://8.8.8.8', 'ftp://a', 'https://a:0', 'https://a/' || repeat('x', 9000)]) WITH ORDINALITY AS t (u, n)
WHERE n < 15;
SELECT answer(format('SELECT wee5_cron.configure(%L, %L)', 'https://a', s))
FROM unnest(array['', E'a\nb', 'ü', E'\x01']) s;
SELECT p AS profile, answer(format('SELECT wee5_cron.grant_to(%L, %L)', 'pg_monitor', p)) FROM unnest(array['', 'CALL', ' call', E'call\n"']) p;
SELECT answer(format('SELECT wee5_cron.grant_to(%L, %L)', 'pg_monitor', repeat('x', 1000)));
ROLLBACK;
ALTER DATABASE contrib_regression RESET app.settings.api_url;
DROP FUNCTION answer(text);

ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
DROP EXTENSION wee5_cron;
