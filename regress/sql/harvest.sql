-- harvest(): pg_net's answers in the ledger. The fixture in test/support takes pg_net's place and sends nothing: the test
-- inserts the answers by hand. All of it runs in transactions, so the worker does not see the rows.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION pg_net VERSION 'wee5fixture';
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
ALTER DATABASE contrib_regression SET app.settings.api_url = 'https://app.example/base/';
ALTER DATABASE contrib_regression SET app.settings.cron_secret = 'secret of the regression tests';
SET wee5_cron.transport = 'pg_net';

-- Without retries every failure is final.
INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts)
SELECT path, 1 FROM unnest(array['/refused', '/nowhere', '/forgotten', '/crashed']) AS path;

-- No call is outstanding.
SELECT wee5_cron.harvest();

BEGIN;
SELECT invoke_cron_endpoint('/waits') AS waits \gset
SELECT method, url, timeout_milliseconds, headers ->> 'Authorization' = 'Bearer secret of the regression tests' AS bearer
FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE r.invocation_id = :waits;
SELECT status, transport, url, attempts FROM wee5_cron.invocation WHERE id = :waits;
-- The call waits in pg_net's queue.
SELECT wee5_cron.harvest();
ROLLBACK;

BEGIN;
-- Takes the call out of pg_net's queue and inserts this answer.
CREATE FUNCTION pg_temp.answer(call bigint, status_code int, content text DEFAULT NULL, content_type text DEFAULT NULL,
                               error_msg text DEFAULT NULL, timed_out boolean DEFAULT false, ago interval DEFAULT '0')
  RETURNS void LANGUAGE sql AS $$
    INSERT INTO net._http_response (id, status_code, content, content_type, error_msg, timed_out, created)
    SELECT request_id, $2, $3, $4, $5, $6, now() - ago FROM wee5_cron.pg_net_request WHERE invocation_id = call;
    DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = call
  $$;
SELECT pg_temp.answer(invoke_cron_endpoint('/ok'), 200, '{"ok":true}', 'application/json');
SELECT pg_temp.answer(invoke_cron_endpoint('/no-content'), 204);
SELECT pg_temp.answer(invoke_cron_endpoint('/denied'), 401, 'no', 'text/plain; charset=utf-8');
SELECT pg_temp.answer(invoke_cron_endpoint('/gone'), 404, '<!DOCTYPE html><html>', 'text/html');
SELECT pg_temp.answer(invoke_cron_endpoint('/broken'), 500, 'you sent secret of the regression tests', 'text/plain');
SELECT pg_temp.answer(invoke_cron_endpoint('/slow'), NULL, error_msg => 'Timeout of 5000 ms reached. Total time: 5001.1 ms', timed_out => true);
-- As pg_net did before it reported timeouts.
SELECT pg_temp.answer(invoke_cron_endpoint('/slow-too'), NULL, error_msg => 'Timeout was reached', timed_out => NULL);
SELECT pg_temp.answer(invoke_cron_endpoint('/refused'), NULL, error_msg => 'Couldn''t connect to server');
SELECT pg_temp.answer(invoke_cron_endpoint('/nowhere'), NULL, error_msg => 'Couldn''t resolve host name');
-- The answer is dated before the request: pg_net takes the time from the start of its transaction.
SELECT pg_temp.answer(invoke_cron_endpoint('/early'), 200, ago => '2 s');
SELECT pg_temp.answer(invoke_cron_endpoint('/very-early'), 200, ago => '1 h');
-- A body is cut between characters, to 8,192 bytes at most.
SELECT pg_temp.answer(invoke_cron_endpoint('/big'), 200, repeat('€', 3000), 'text/plain');
SELECT pg_temp.answer(invoke_cron_endpoint('/just-so'), 200, repeat('x', 8192), 'text/plain');
-- pg_net stores bytes as they came, so an answer may not be valid text in this database.
CREATE CAST (bytea AS text) WITHOUT FUNCTION;
SELECT pg_temp.answer(invoke_cron_endpoint('/garbage'), 200, '\x61ff5c62e282ac63e282'::bytea::text, '\x61ff'::bytea::text);
DROP CAST (bytea AS text);
-- The answer to another program's request.
INSERT INTO net._http_response (id, status_code) VALUES (4711, 200);

SELECT wee5_cron.harvest();
SELECT endpoint_path, status, reason, http_status AS http, response_content_type AS type, left(response_body, 30) AS body,
       octet_length(response_body) AS bytes, response_truncated AS cut
FROM wee5_cron.invocation ORDER BY id;
SELECT status, count(*), count(error) AS with_error, count(hint) AS with_hint FROM wee5_cron.invocation GROUP BY 1 ORDER BY 1;
SELECT DISTINCT attempts, first_sent_at, next_attempt_at, duration, finished_at >= requested_at AS in_order FROM wee5_cron.invocation;
SELECT count(*) AS calls, count(*) FILTER (WHERE a.started_at = i.requested_at AND a.finished_at = i.finished_at
    AND a.http_status IS NOT DISTINCT FROM i.http_status AND a.reason IS NOT DISTINCT FROM i.reason
    AND a.error IS NOT DISTINCT FROM i.error
    AND num_nonnulls(a.dns_ms, a.connect_ms, a.tls_ms, a.first_byte_ms, a.total_ms) = 0) AS with_their_attempt
FROM wee5_cron.invocation i LEFT JOIN wee5_cron.attempt a ON a.invocation_id = i.id AND a.attempt = 1;
SELECT count(*) FROM wee5_cron.pg_net_request;
SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%secret of%';
-- A second harvest() records nothing.
SELECT wee5_cron.harvest();
SELECT count(*) FROM wee5_cron.attempt;
ROLLBACK;

-- A setting of the session that harvests decides how much of the body is kept.
BEGIN;
SET LOCAL wee5_cron.max_response_bytes = 10;
SELECT invoke_cron_endpoint('/short') AS id \gset
INSERT INTO net._http_response (id, status_code, content) SELECT request_id, 200, '0123456789ä' FROM wee5_cron.pg_net_request;
SELECT wee5_cron.harvest();
SELECT response_body, response_truncated FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;

-- A success that looks wrong: from a cache, or an HTML page where the route answered JSON before.
CREATE FUNCTION pg_temp.answered(call bigint, headers jsonb, content_type text DEFAULT 'application/json', status_code int DEFAULT 200)
  RETURNS void LANGUAGE sql AS $$
    INSERT INTO net._http_response (id, status_code, content_type, headers, content)
    SELECT request_id, $4, $3, $2, '' FROM wee5_cron.pg_net_request WHERE invocation_id = call
  $$;
CREATE FUNCTION pg_temp.said() RETURNS TABLE (path text, status text, http int, cache text, page text, before text) LANGUAGE sql AS $$
    SELECT endpoint_path, status, http_status, substring(hint FROM '^The answer came from a cache \((.*?)\).*force-dynamic'),
           substring(hint FROM 'an HTML page'),
           (SELECT 'JSON from ' || b.endpoint_path FROM wee5_cron.invocation b
            WHERE b.id = substring(i.hint FROM 'The last success of this route that was no page, call (\d+) of \d.*, spoke JSON: ')::bigint)
    FROM wee5_cron.invocation i ORDER BY id
  $$;
BEGIN;
DO $$
DECLARE
  cases constant jsonb[] := array[
    '{"x-vercel-cache": "HIT"}', '{"X-Vercel-Cache": " stale "}', '{"X-NEXTJS-CACHE": "Hit"}', '{"age": "1"}',
    '{"Age": "99999999999999999999"}', '{"date": "now", "age": "9", "X-Vercel-Cache": "HIT", "x-nextjs-cache": "HIT"}',
    '{"x-vercel-cache": "MISS", "x-nextjs-cache": "STALE", "Age": "0"}', '{"x-vercel-cache": "PRERENDER", "age": "-5"}',
    '{"age": ""}', '{"x-age": "5", "agee": "5", "x-cache": "HIT"}', '{"age": 5}', '{"age": null}', '{"age": ["5"]}', '{}', '[]',
    '"age: 5"', 'null', NULL];
BEGIN
  FOR n IN 1 .. cardinality(cases) LOOP
    PERFORM pg_temp.answered(invoke_cron_endpoint('/' || n), cases[n]);
  END LOOP;
  PERFORM pg_temp.answered(invoke_cron_endpoint('/status'), '{"x-vercel-cache": "HIT", "age": "5"}', status_code => s)
  FROM unnest(array[204, 299, 304, 404, 500]) s;
  PERFORM pg_temp.answered(invoke_cron_endpoint('/page'), '{"age": "5"}', 'text/html');
END
$$;
SELECT wee5_cron.harvest();
SELECT * FROM pg_temp.said();
ROLLBACK;
-- Which content types count as JSON, and which do not.
BEGIN;
CREATE FUNCTION pg_temp.answers(variadic type text[]) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.answered(invoke_cron_endpoint(format('/%s?%s', n, $1[n])), NULL, $1[n]) FROM generate_subscripts($1, 1) n
  $$;
SELECT pg_temp.answers('application/json', 'application/vnd.api+JSON; charset=utf-8', 'text/json', 'text/plain', 'application/jsonp', NULL, 'text/html');
SELECT wee5_cron.harvest();
SELECT pg_temp.answers('text/html', 'Text/HTML; charset=utf-8', 'application/xhtml+xml', 'text/html', 'text/html', 'text/html', 'text/html');
SELECT wee5_cron.harvest();
-- A page after a page: the hint remembers the earlier JSON, though that call lies too far back or was deleted. It does so
-- until the route answers something else.
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at) SELECT '/other', 'builtin', 'failed', now() FROM generate_series(1, 450);
SELECT pg_temp.answers('text/html', 'text/plain', 'text/html');
SELECT wee5_cron.harvest();
DELETE FROM wee5_cron.invocation WHERE endpoint_path = '/1?application/json';
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at) SELECT '/other', 'builtin', 'failed', now() FROM generate_series(1, 450);
SELECT pg_temp.answers('text/html', 'text/html', 'text/html');
SELECT wee5_cron.harvest();
SELECT * FROM pg_temp.said() WHERE path <> '/other';
SELECT right(hint, 40) FROM wee5_cron.invocation WHERE endpoint_path = '/1?text/html';
ROLLBACK;
-- Far back: the calls of the same job, and the calls that prune() remembers.
BEGIN;
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, http_status, response_content_type, finished_at)
SELECT job, path, 'builtin', 'succeeded', 200, 'application/json', now()
FROM (VALUES ('job', '/job'), (NULL, '/known'), (NULL, '/unknown')) AS c (job, path);
INSERT INTO wee5_cron.newest_call SELECT endpoint_path, '', id, id FROM wee5_cron.invocation WHERE endpoint_path = '/known';
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at) SELECT '/other', 'builtin', 'failed', now() FROM generate_series(1, 600);
SELECT pg_temp.answered(invoke_cron_endpoint(path), NULL, 'text/html') FROM unnest(array['/job', '/known', '/unknown']) path;
UPDATE wee5_cron.invocation SET job_name = 'job' WHERE endpoint_path = '/job';
-- A call that is recorded together with the page.
SELECT pg_temp.answered(invoke_cron_endpoint('/beside'), NULL, type) FROM unnest(array['application/json', 'text/html']) type;
SELECT wee5_cron.harvest();
SELECT * FROM pg_temp.said() WHERE path <> '/other';
ROLLBACK;

-- Lost calls: in neither of pg_net's tables, without their binding row after a crash, or with pg_net dropped.
BEGIN;
SELECT invoke_cron_endpoint('/forgotten') AS forgotten, invoke_cron_endpoint('/crashed') AS crashed,
       invoke_cron_endpoint('/waits') AS waits \gset
DELETE FROM net.http_request_queue WHERE id = (SELECT request_id FROM wee5_cron.pg_net_request WHERE invocation_id = :forgotten);
DELETE FROM wee5_cron.pg_net_request WHERE invocation_id = :crashed;
SELECT wee5_cron.harvest();
SELECT endpoint_path, status, reason, attempts, error IS NOT NULL AS says_so, hint IS NOT NULL AS says_what_to_do
FROM wee5_cron.invocation ORDER BY id;
SELECT attempt, reason FROM wee5_cron.attempt ORDER BY invocation_id;
DROP EXTENSION pg_net;
-- harvest() does not read a schema net that another role created.
CREATE SCHEMA net;
CREATE TABLE net.http_request_queue AS SELECT request_id AS id FROM wee5_cron.pg_net_request;
CREATE TABLE net._http_response AS SELECT id, 200 AS status_code, now() AS created FROM net.http_request_queue;
SELECT wee5_cron.harvest();
SELECT endpoint_path, status, reason, http_status FROM wee5_cron.invocation ORDER BY id;
ROLLBACK;

-- A call that may be retried cannot be when pg_net was dropped meanwhile.
BEGIN;
SELECT invoke_cron_endpoint('/again') AS id \gset
INSERT INTO net._http_response (id, status_code) SELECT request_id, 503 FROM wee5_cron.pg_net_request WHERE invocation_id = :id;
SELECT wee5_cron.harvest();
SELECT status, reason, attempts, next_attempt_at > now() AS later FROM wee5_cron.invocation WHERE id = :id;
DROP EXTENSION pg_net;
UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = :id;
SELECT wee5_cron.harvest();
SELECT status, reason, error, regexp_replace(hint, '\d+\)', 'ID)') AS hint, attempts, next_attempt_at FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;

-- The call that has been due for longest goes first, so that calls that are made again do not keep new ones waiting.
BEGIN;
INSERT INTO wee5_cron.endpoint (endpoint_path, max_in_flight) VALUES ('/one', 1);
SELECT invoke_cron_endpoint('/one') AS answered \gset
SELECT invoke_cron_endpoint('/one') AS again \gset
SELECT invoke_cron_endpoint('/one') AS new \gset
UPDATE wee5_cron.invocation SET next_attempt_at = now() - interval '1 s', attempts = 1, status = 'retrying' WHERE id = :again;
UPDATE wee5_cron.invocation SET next_attempt_at = now() - interval '2 s' WHERE id = :new;
INSERT INTO net._http_response (id, status_code) SELECT request_id, 200 FROM wee5_cron.pg_net_request WHERE invocation_id = :answered;
DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = :answered;
SELECT wee5_cron.harvest();
SELECT CASE id WHEN :answered THEN 'answered' WHEN :again THEN 'again' WHEN :new THEN 'new' END AS call, status, attempts,
       next_attempt_at IS NOT NULL AS waits
FROM wee5_cron.invocation ORDER BY id;
ROLLBACK;

-- harvest() leaves calls of the builtin transport alone.
BEGIN;
SET LOCAL wee5_cron.transport = 'builtin';
SELECT invoke_cron_endpoint('/builtin') AS id \gset
SELECT wee5_cron.harvest();
SELECT status FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;

-- bind_cron_runs() finds the run of pg_cron that made a call by pid, user and time.
BEGIN;
CREATE EXTENSION pg_cron;
INSERT INTO wee5_cron.invocation (id, endpoint_path, transport, requested_by, finished_at)
SELECT id, '/x', 'builtin', 'regress_runner', CASE id WHEN 4 THEN now() - interval '2 min' WHEN 5 THEN NULL ELSE now() END
FROM generate_series(1, 5) AS id;
INSERT INTO wee5_cron.cron_caller (invocation_id, pid) VALUES (1, 101), (2, 102), (3, 103), (4, 104), (5, 101), (99, 105);
INSERT INTO cron.job_run_details (runid, jobid, job_pid, username, status, start_time, end_time) VALUES
  (1, 1, 101, 'regress_runner', 'succeeded', now() - interval '1 day', now() - interval '1 day'),
  (2, 1, 101, 'regress_runner', 'running', now() + interval '20 ms', NULL),
  (3, 2, 101, 'regress_runner', 'running', now() + interval '1 h', NULL),
  (4, 2, 102, 'regress_other', 'running', now(), NULL),
  (5, 2, 103, 'regress_runner', 'starting', NULL, NULL);
SELECT wee5_cron.bind_cron_runs();
SELECT id, cron_run_id FROM wee5_cron.invocation ORDER BY id;
-- Not bound yet: 2 and 3 are tried again, and 5 once it has ended; 4 ended long ago and 99 was deleted.
SELECT * FROM wee5_cron.cron_caller ORDER BY 1;
UPDATE cron.job_run_details SET start_time = now() WHERE runid = 5;
SELECT wee5_cron.harvest();
SELECT id, cron_run_id FROM wee5_cron.invocation WHERE id = 3;
SELECT * FROM wee5_cron.cron_caller ORDER BY 1;
DROP EXTENSION pg_cron;
SELECT wee5_cron.bind_cron_runs();
ROLLBACK;

RESET wee5_cron.transport;
ALTER DATABASE contrib_regression RESET app.settings.api_url;
ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_net;
