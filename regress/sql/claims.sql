-- claim() and complete(), and with pg_net the calls whose app goes on with the work. The fixture takes pg_net's place and
-- sends nothing: the test inserts the answers by hand.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION pg_net VERSION 'wee5fixture';
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
\set VERBOSITY default
ALTER DATABASE contrib_regression SET app.settings.api_url = 'https://app.example/base/';
ALTER DATABASE contrib_regression SET app.settings.cron_secret = 'secret of the regression tests';
SET wee5_cron.transport = 'pg_net';

SELECT wee5_cron.claim(NULL);
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000001', NULL);
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000001', '0');
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000001', '102 years');
SELECT wee5_cron.complete(NULL);
SELECT wee5_cron.complete('00000000-0000-4000-8000-000000000001', NULL);

-- An unknown key may belong to a call whose answer is not recorded yet.
SELECT wee5_cron.complete('00000000-0000-4000-8000-000000000001') AS unknown,
       wee5_cron.complete('00000000-0000-4000-8000-000000000001') AS twice,
       wee5_cron.complete('00000000-0000-4000-8000-000000000001', false) AS done_stays_done,
       wee5_cron.claim('00000000-0000-4000-8000-000000000001');
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000002', '1 day') AS first,
       wee5_cron.claim('00000000-0000-4000-8000-000000000002') AS second,
       wee5_cron.complete('00000000-0000-4000-8000-000000000002', false, 'no space') AS fails,
       wee5_cron.claim('00000000-0000-4000-8000-000000000002') AS freed;
SELECT claimed_by = session_user AS by_me, claimed_at <= clock_timestamp() AS claimed, lease_until IS NULL AS leased,
       completed_at IS NOT NULL AS completed, ok, note FROM wee5_cron.claim ORDER BY idempotency_key;
-- The lease has expired.
UPDATE wee5_cron.claim SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL;
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000002');

-- Claims are kept for thirty days after their end.
UPDATE wee5_cron.claim SET completed_at = completed_at - interval '31 days', lease_until = lease_until - interval '29 days';
SELECT wee5_cron.prune();
SELECT idempotency_key FROM wee5_cron.claim;
TRUNCATE wee5_cron.claim;

INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on, complete_within, retry_window, retry_delays)
VALUES ('/transient', 'transient', '2 hours', '1 day', '{90min}'), ('/export', NULL, '2 hours', NULL, NULL);
BEGIN;
-- Takes the call out of pg_net's queue and inserts this answer.
CREATE FUNCTION pg_temp.answer(path text, status_code int, headers jsonb, OUT key uuid) LANGUAGE plpgsql AS $$
DECLARE
  call bigint := invoke_cron_endpoint(path);
BEGIN
  key := (SELECT i.idempotency_key FROM wee5_cron.invocation i WHERE i.id = call);
  INSERT INTO net._http_response (id, status_code, headers)
  SELECT request_id, $2, $3 FROM wee5_cron.pg_net_request WHERE invocation_id = call;
  DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = call;
END
$$;
CREATE VIEW ledger AS
  SELECT i.endpoint_path AS path, i.status, i.reason, i.error, i.attempts AS n, i.http_status AS http,
         i.finished_at IS NOT NULL AS ended, date_trunc('hour', i.next_attempt_at - clock_timestamp() + '1 minute') AS next,
         a.reason AS attempt
  FROM wee5_cron.invocation i LEFT JOIN wee5_cron.attempt a ON a.invocation_id = i.id ORDER BY i.id;
SELECT pg_temp.answer('/plain-202', 202, '{"x": "Wee5-Cron: accepted"}') IS NULL AS none;
SELECT pg_temp.answer('/also-200', 200, '{"Wee5-Cron": "accepted"}') IS NULL AS none;
SELECT pg_temp.answer('/default', 202, '{"wee5-cron": "Accepted"}') AS by_default \gset
SELECT pg_temp.answer('/export', 202, '{"Wee5-Cron": "accepted"}') AS export \gset
SELECT pg_temp.answer('/transient', 202, '{"Wee5-Cron": "accepted"}') AS transient \gset
SELECT pg_temp.answer('/before', 202, '{"Wee5-Cron": "accepted"}') AS before \gset
SELECT pg_temp.answer('/before/failed', 202, '{"Wee5-Cron": "accepted"}') AS before_failed \gset
SELECT pg_temp.answer('/before/refused', 403, NULL) AS before_refused \gset
-- complete() before the answers are recorded.
SELECT wee5_cron.complete(:'before'), wee5_cron.complete(:'before_failed', false, 'too early'), wee5_cron.complete(:'before_refused');
SELECT wee5_cron.harvest();
SELECT * FROM ledger;
SELECT wee5_cron.harvest();

-- complete() ends an accepted call.
SELECT wee5_cron.complete(:'by_default'), wee5_cron.complete(:'export', false, E'you sent secret of the regression tests\n');
SELECT * FROM ledger WHERE path IN ('/default', '/export');
SELECT hint ~ '^The app reported this with complete\(\). To make the call again: SELECT wee5_cron.retry\(\d+\);$' AS advised
FROM wee5_cron.invocation WHERE endpoint_path = '/export';
-- A success that comes later is too late.
SELECT wee5_cron.complete(:'export'), wee5_cron.claim(:'export');
SELECT status, hint ~ '^The app completed the work at .*, after this call had failed, so the call need not be made again\.' AS late
FROM wee5_cron.invocation WHERE endpoint_path = '/export';

-- The time to complete has passed.
UPDATE wee5_cron.invocation SET next_attempt_at = now() - interval '1 minute' WHERE status = 'accepted';
SELECT wee5_cron.harvest();
SELECT * FROM ledger WHERE path = '/transient';
-- The retry is made when it is due, and the app accepts it again.
UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE status = 'retrying';
SELECT wee5_cron.harvest();
INSERT INTO net._http_response (id, status_code, headers)
SELECT request_id, 202, '{"Wee5-Cron": "accepted"}' FROM wee5_cron.pg_net_request;
DELETE FROM net.http_request_queue;
SELECT wee5_cron.harvest();
SELECT * FROM ledger WHERE path = '/transient';
-- Two calls with one key: complete() ends the retry() as well as the call that the app is still working on.
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, attempts, next_attempt_at, idempotency_key)
VALUES ('/transient', 'pg_net', 'accepted', 202, 1, now() + interval '1 day', :'transient');
SELECT wee5_cron.complete(:'transient', false), wee5_cron.complete(:'transient', false, 'again');
SELECT * FROM ledger WHERE path = '/transient';
-- cancel() ends an accepted call.
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, attempts, next_attempt_at)
VALUES ('/given-up', 'pg_net', 'accepted', 202, 1, now() + interval '1 day');
SELECT wee5_cron.cancel(id) FROM wee5_cron.invocation WHERE endpoint_path = '/given-up';
SELECT * FROM ledger WHERE path = '/given-up';
-- complete() during a retry() is in time: the work belongs to that call, which succeeds when its answer 202 is recorded.
SELECT pg_temp.answer('/repeated', 202, '{"Wee5-Cron": "accepted"}') AS repeated \gset
SELECT wee5_cron.harvest();
UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE endpoint_path = '/repeated';
SELECT wee5_cron.harvest();
SELECT wee5_cron.retry(id) > id AS retried FROM wee5_cron.invocation WHERE endpoint_path = '/repeated';
SELECT wee5_cron.complete(:'repeated') AS in_time, wee5_cron.claim(:'repeated');
INSERT INTO net._http_response (id, status_code, headers)
SELECT request_id, 202, '{"Wee5-Cron": "accepted"}' FROM wee5_cron.pg_net_request;
DELETE FROM net.http_request_queue;
SELECT wee5_cron.harvest();
SELECT path, status, reason FROM ledger WHERE path = '/repeated';
SELECT hint LIKE '%completed the work%' AS late FROM wee5_cron.invocation WHERE endpoint_path = '/repeated' AND status = 'failed';
ROLLBACK;

-- revoke_from() revokes what grant_to() granted.
CREATE ROLE regress_app;
SELECT wee5_cron.grant_to('regress_app', 'app'), wee5_cron.grant_to('regress_app', 'call');
SELECT wee5_cron.revoke_from('regress_app', 'app');
SELECT has_function_privilege('regress_app', 'wee5_cron.claim(uuid, interval)', 'EXECUTE') AS claims,
       has_function_privilege('regress_app', 'wee5_cron.wait_for(bigint, interval)', 'EXECUTE') AS waits,
       has_schema_privilege('regress_app', 'wee5_cron', 'USAGE') AS uses;
SELECT wee5_cron.revoke_from('regress_app', 'call');
SELECT has_schema_privilege('regress_app', 'wee5_cron', 'USAGE') AS uses;
SELECT wee5_cron.revoke_from('regress_app', 'rule');
SELECT wee5_cron.revoke_from('regress_app', NULL);
SELECT wee5_cron.revoke_from(0::regrole, 'call');
-- A role whose profiles are all revoked has no privilege left.
SELECT wee5_cron.grant_to('regress_app', 'operate');
SELECT wee5_cron.revoke_from('regress_app', 'operate');
SELECT has_schema_privilege('regress_app', 'wee5_cron', 'USAGE') AS uses,
       has_any_column_privilege('regress_app', 'wee5_cron.job', 'INSERT') AS writes;
-- A privilege that the role has granted to others.
CREATE ROLE regress_friend;
SELECT wee5_cron.grant_to('regress_app', 'app');
GRANT EXECUTE ON FUNCTION wee5_cron.claim(uuid, interval) TO regress_app WITH GRANT OPTION;
SET ROLE regress_app;
GRANT EXECUTE ON FUNCTION wee5_cron.claim(uuid, interval) TO regress_friend, PUBLIC;
RESET ROLE;
SELECT wee5_cron.revoke_from('regress_app', 'app');
REVOKE EXECUTE ON FUNCTION wee5_cron.claim(uuid, interval) FROM regress_app CASCADE;
SELECT wee5_cron.revoke_from('regress_app', 'app');
SELECT has_schema_privilege('regress_app', 'wee5_cron', 'USAGE') AS uses,
       has_function_privilege('regress_friend', 'wee5_cron.claim(uuid, interval)', 'EXECUTE') AS claims;
SELECT wee5_cron.grant_to('regress_app', 'monitor');
GRANT USAGE ON SCHEMA wee5_cron TO regress_app WITH GRANT OPTION;
GRANT SELECT ON wee5_cron.metrics TO regress_app WITH GRANT OPTION;
SET ROLE regress_app;
GRANT USAGE ON SCHEMA wee5_cron TO regress_friend;
GRANT SELECT ON wee5_cron.metrics TO regress_friend;
RESET ROLE;
SELECT wee5_cron.revoke_from('regress_app', 'monitor');
REVOKE SELECT ON wee5_cron.metrics FROM regress_app CASCADE;
SELECT wee5_cron.revoke_from('regress_app', 'monitor');
DROP OWNED BY regress_app;
DROP ROLE regress_app, regress_friend;

SET client_min_messages = warning;
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_net;
ALTER DATABASE contrib_regression RESET app.settings.api_url;
ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
