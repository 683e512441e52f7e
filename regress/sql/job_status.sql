-- The view job_status joins the ledger and pg_cron's own history. The test writes the rows by hand, all in one
-- transaction, so that now() is one moment and no worker sees them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_one LOGIN;
CREATE ROLE regress_two LOGIN;
CREATE EXTENSION pg_cron;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;

BEGIN;
CREATE FUNCTION pg_temp.job(name text, command text, owner text DEFAULT 'regress_one') RETURNS void LANGUAGE sql AS
  $$ INSERT INTO cron.job (jobname, schedule, command, nodeport, database, username)
     VALUES (name, '0 0 1 1 *', command, 5432, current_database(), owner) $$;
-- Adds a call of a job from that long ago, which took two seconds.
CREATE FUNCTION pg_temp.call(job text, outcome text, ago interval, what text DEFAULT NULL, run bigint DEFAULT NULL,
                             took interval DEFAULT '2 s', who name DEFAULT 'regress_one') RETURNS void LANGUAGE sql AS
  $$ INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_by, requested_at, finished_at,
                                       duration, http_status, error, cron_run_id)
     VALUES (job, '/x', 'builtin', outcome, who, now() - ago,
             CASE WHEN outcome IN ('succeeded', 'failed', 'skipped') THEN now() - ago + took END, took,
             CASE outcome WHEN 'succeeded' THEN 200 WHEN 'failed' THEN 500 END, what, run) $$;
CREATE FUNCTION pg_temp.run(run bigint, job text, status text, ago interval, what text DEFAULT NULL) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO cron.job_run_details (runid, jobid, database, username, command, status, return_message, start_time, end_time)
     SELECT run, j.jobid, j.database, j.username, j.command, $3, what, now() - ago, now() - ago
     FROM cron.job j WHERE j.jobname = job $$;

-- Which jobs are listed, and the path of each.
SELECT pg_temp.job('plain', $$SELECT invoke_cron_endpoint('/api/cron/plain')$$),
       pg_temp.job('elsewhere', $$select  Public.invoke_cron_endpoint ( '/b' ) ;$$),
       pg_temp.job('choices', $$SELECT wee5_cron.invoke('/it''s', 'POST', '{}')$$),
       pg_temp.job('procedure', $$CALL wee5_cron.run('/c')$$),
       pg_temp.job('computed', $$SELECT wee5_cron.invoke(path) FROM paths$$),
       pg_temp.job(NULL, $$SELECT invoke_cron_endpoint('/unnamed')$$),
       pg_temp.job('not-ours', $$SELECT 'invoke_cron_endpoint'$$),
       pg_temp.job('wee5-cron-harvest', $$SELECT wee5_cron.harvest()$$);
UPDATE cron.job SET active = false WHERE jobname = 'elsewhere';
INSERT INTO cron.job (jobname, schedule, command, nodeport, database, username)
VALUES ('of-another-database', '* * * * *', $$SELECT invoke_cron_endpoint('/x')$$, 5432, 'postgres', 'regress_one');
SELECT job_name, jobid IS NOT NULL AS has_jobid, schedule, active, endpoint_path, next_run > now() AS has_next_run,
       last_status, consecutive_failures, success_rate_24h, state
FROM wee5_cron.job_status ORDER BY 1;
DELETE FROM cron.job;

-- Calls only: ok, failing, waiting, skipped, long ago.
SELECT pg_temp.job(name, $$SELECT invoke_cron_endpoint('/x')$$)
FROM unnest('{ok,failing,never-succeeded,recovered,queued,skipped,long-ago}'::text[]) AS name;
SELECT pg_temp.call('ok', 'succeeded', g * interval '1 h', took => g * interval '1 s') FROM generate_series(30, 1, -1) AS g;
SELECT pg_temp.call('failing', 'succeeded', '3 h'), pg_temp.call('failing', 'failed', '2 h', 'first'),
       pg_temp.call('failing', 'skipped', '90 min'), pg_temp.call('failing', 'failed', '1 h', 'second');
SELECT pg_temp.call('never-succeeded', 'failed', '70 h', 'first'), pg_temp.call('never-succeeded', 'failed', '60 h', 'second');
SELECT pg_temp.call('recovered', 'failed', '2 h', 'was broken'), pg_temp.call('recovered', 'succeeded', '1 h');
SELECT pg_temp.call('queued', 'queued', '1 s');
SELECT pg_temp.call('skipped', 'skipped', '1 h');
SELECT pg_temp.call('long-ago', 'failed', '101 h', 'forgotten'), pg_temp.call('long-ago', 'succeeded', '100 h');
SELECT job_name, last_status AS status, last_http_status AS http, now() - last_finished_at AS finished, now() - last_success_at AS success,
       consecutive_failures AS failures, success_rate_24h AS rate, p50_24h AS p50, p95_24h AS p95, last_error AS error, state
FROM wee5_cron.job_status ORDER BY 1;
SELECT s.job_name, s.last_invocation_id = max(i.id) AS is_the_last
FROM wee5_cron.job_status s JOIN wee5_cron.invocation i USING (job_name) GROUP BY 1, s.last_invocation_id ORDER BY 1;
-- A slow call ends after a quick one with a higher id. The time when each ended decides.
SELECT pg_temp.call('queued', 'succeeded', '20 min', took => '19 min'), pg_temp.call('queued', 'failed', '10 min', 'quick');
SELECT consecutive_failures, last_error, state FROM wee5_cron.job_status WHERE job_name = 'queued';
-- The app goes on with the work of an accepted call. That is no trouble, and the call has not ended.
SELECT pg_temp.job('accepted', $$SELECT invoke_cron_endpoint('/x')$$);
SELECT pg_temp.call('accepted', 'succeeded', '2 h'), pg_temp.call('accepted', 'accepted', '1 h'), pg_temp.call('accepted', 'skipped', '30 min');
UPDATE wee5_cron.invocation SET http_status = 202, next_attempt_at = now() + interval '1 day' WHERE status = 'accepted';
SELECT last_status, consecutive_failures, state FROM wee5_cron.job_status WHERE job_name = 'accepted';
DELETE FROM cron.job;
DELETE FROM wee5_cron.invocation;

-- Runs that pg_cron logged as failed.
SELECT pg_temp.job(name, $$SELECT invoke_cron_endpoint('/x')$$)
FROM unnest('{cannot-call,cannot-connect,connects-again,both,twice-told,server-restart}'::text[]) AS name;
SELECT pg_temp.run(1, 'cannot-call', 'failed', '2 h', 'ERROR:  permission denied'),
       pg_temp.run(2, 'cannot-call', 'failed', '1 h', E'ERROR:  permission denied for schema wee5_cron\n');
-- A call failed, and its run with it: one failure. The run before raised an error before it called: another failure.
SELECT pg_temp.call('twice-told', 'succeeded', '4 h', run => 3), pg_temp.run(3, 'twice-told', 'succeeded', '4 h'),
       pg_temp.run(4, 'twice-told', 'failed', '3 h', 'ERROR:  raised'),
       pg_temp.call('twice-told', 'failed', '2 h', 'The app answered 500.', run => 5),
       pg_temp.run(5, 'twice-told', 'failed', '2 h', 'ERROR:  the call failed');
SELECT pg_temp.call('both', 'succeeded', '4 h'), pg_temp.run(6, 'both', 'failed', '3 h', 'older'),
       pg_temp.call('both', 'failed', '2 h', 'newer');
SELECT pg_temp.call('server-restart', 'succeeded', '1 h', run => 7), pg_temp.run(7, 'server-restart', 'succeeded', '1 h'),
       pg_temp.run(8, 'server-restart', 'running', '1 min');
-- A run with "connection failed" has no times at all.
SELECT pg_temp.run(9, 'connects-again', 'failed', NULL, 'connection failed'), pg_temp.run(10, 'connects-again', 'succeeded', '1 h'),
       pg_temp.call('connects-again', 'succeeded', '1 h', run => 10);
SELECT pg_temp.call('cannot-connect', 'succeeded', '1 h'), pg_temp.run(11, 'cannot-connect', 'failed', NULL, 'connection failed'),
       pg_temp.run(12, 'cannot-connect', 'failed', NULL, 'connection failed');
SELECT job_name, last_status AS status, now() - last_success_at AS success, consecutive_failures AS failures,
       success_rate_24h AS rate, last_error AS error, state
FROM wee5_cron.job_status ORDER BY 1;
DELETE FROM cron.job;
DELETE FROM cron.job_run_details;
DELETE FROM wee5_cron.invocation;

-- Calls and runs that failed for days, before and after the last success.
SELECT pg_temp.job('for-days', $$SELECT invoke_cron_endpoint('/x')$$);
SELECT pg_temp.call('for-days', 'failed', '10 d', 'before it worked'), pg_temp.call('for-days', 'succeeded', '9 d'),
       pg_temp.call('for-days', 'failed', '8 d', 'then not'), pg_temp.call('for-days', 'skipped', '7 d'),
       pg_temp.call('for-days', 'failed', '6 d', 'the app', run => 30), pg_temp.run(30, 'for-days', 'failed', '6 d', 'ERROR:  the call failed'),
       pg_temp.call('for-days', 'failed', '5 d', 'the last of them');
SELECT last_error, consecutive_failures, success_rate_24h, now() - last_success_at AS success FROM wee5_cron.job_status;
SELECT pg_temp.run(31, 'for-days', 'failed', '4 d', 'ERROR:  raised');
SELECT last_error, consecutive_failures FROM wee5_cron.job_status;
SELECT pg_temp.call('for-days', 'failed', '1 h', 'today');
SELECT last_error, consecutive_failures, success_rate_24h FROM wee5_cron.job_status;
DELETE FROM wee5_cron.invocation WHERE error = 'today';
SELECT pg_temp.call('for-days', 'succeeded', '30 min');
SELECT last_error, consecutive_failures FROM wee5_cron.job_status;
DELETE FROM cron.job;
DELETE FROM cron.job_run_details;
DELETE FROM wee5_cron.invocation;

-- If two owners have a job of one name, each job has its owner's calls.
SELECT pg_temp.job('shared', $$SELECT invoke_cron_endpoint('/one')$$),
       pg_temp.job('shared', $$SELECT invoke_cron_endpoint('/two')$$, 'regress_two');
SELECT pg_temp.call('shared', 'succeeded', '1 h'), pg_temp.call('shared', 'failed', '1 h', 'of two', who => 'regress_two');
SELECT job_name, endpoint_path, last_status, state FROM wee5_cron.job_status ORDER BY 2;

-- A job without a name is identified by its runs. A call of the same path made by hand is not a call of the job.
SELECT pg_temp.job(NULL, $$SELECT invoke_cron_endpoint('/unnamed')$$);
INSERT INTO cron.job_run_details (runid, jobid, status, start_time)
SELECT 20, jobid, 'succeeded', now() FROM cron.job WHERE jobname IS NULL;
SELECT pg_temp.call(NULL, 'succeeded', '1 h', run => 20), pg_temp.call(NULL, 'failed', '30 min', 'by hand');
SELECT endpoint_path, last_status, consecutive_failures, state FROM wee5_cron.job_status WHERE job_name IS NULL;

-- pg_cron hides other users' jobs. This view does not.
SELECT wee5_cron.grant_to('regress_two', 'read');
GRANT USAGE ON SCHEMA cron TO regress_two;
SET LOCAL SESSION AUTHORIZATION regress_two;
SELECT count(*) FROM cron.job;
SELECT count(*) FROM wee5_cron.job_status;
ROLLBACK;

-- pg_cron can still be dropped.
DROP EXTENSION pg_cron;
SELECT count(*) FROM wee5_cron.job_status;
DROP EXTENSION wee5_cron;
DROP ROLE regress_one, regress_two;
