-- register_jobs(), unregister_jobs() and run_now(): ours, and nobody else's.
\set SHOW_CONTEXT never
CREATE ROLE regress_admin SUPERUSER LOGIN;
CREATE ROLE regress_other LOGIN;
SET SESSION AUTHORIZATION regress_admin;
CREATE EXTENSION pg_cron;
CREATE VIEW jobs AS
  SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobid;

-- A job of that name is left as it is, whoever owns it.
SELECT cron.schedule_in_database('poll-activities', '1 1 1 1 *', 'SELECT 1', current_database(), 'regress_other') AS jobid;
SELECT cron.schedule_in_database('daily-analytics', '1 1 1 1 *', 'SELECT 1', current_database()) AS jobid;
CREATE EXTENSION wee5_cron;
TABLE jobs;

-- A name that this user has in another database is taken as well: names are unique for a user, not for a database.
SELECT wee5_cron.unregister_jobs();
DELETE FROM cron.job;
SELECT cron.schedule_in_database('welcome-emails', '1 1 1 1 *', 'SELECT 1', 'postgres') AS jobid;
SELECT cron.schedule_in_database('poll-activities', '1 1 1 1 *', 'SELECT 1', 'postgres', 'regress_other') AS jobid;
SELECT wee5_cron.register_jobs();
TABLE jobs;

-- All there already.
DELETE FROM cron.job WHERE database = 'postgres';
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.register_jobs(force => true);

-- What the user deleted stays deleted.
SELECT cron.unschedule('welcome-emails');
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.register_jobs(NULL);
SELECT count(*) FROM cron.job;
SELECT wee5_cron.register_jobs(force => true);
SELECT count(*) FROM cron.job;

-- unregister_jobs() leaves what is not ours: another job, one of ours that the user turned into something else, and one
-- that moved to another database.
SELECT cron.schedule_in_database('by hand', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/by-hand')$$, current_database()) > 0 AS scheduled;
UPDATE cron.job SET command = 'VACUUM' WHERE jobname = 'welcome-emails';
UPDATE cron.job SET database = 'postgres' WHERE jobname = 'daily-analytics';
SELECT wee5_cron.unregister_jobs();
SELECT jobname, command, database FROM cron.job ORDER BY jobid;
SELECT count(*) FROM wee5_cron.job;
SELECT wee5_cron.unregister_jobs();
DELETE FROM cron.job;

-- pg_cron refuses: a notice, and nothing is remembered.
REVOKE CONNECT ON DATABASE contrib_regression FROM PUBLIC;
SELECT wee5_cron.grant_to('regress_other', 'operate');
SET SESSION AUTHORIZATION regress_other;
SELECT wee5_cron.register_jobs();
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_admin;
SELECT count(*) FROM wee5_cron.job;

-- New jobs belong to session_user.
GRANT CONNECT ON DATABASE contrib_regression TO PUBLIC;
SET SESSION AUTHORIZATION regress_other;
SELECT wee5_cron.register_jobs();
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_admin;
SELECT jobname, username FROM cron.job ORDER BY jobid;

-- run_now().
ALTER DATABASE contrib_regression SET app.settings.api_url = 'http://127.0.0.1:9';
ALTER DATABASE contrib_regression SET app.settings.cron_secret = 'secret of the regression tests';
BEGIN;
SELECT wee5_cron.run_now('poll-activities') AS id \gset
SELECT job_name, endpoint_path, method, status, requested_by, scheduled_at IS NULL AS by_hand
FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;
SELECT wee5_cron.run_now(NULL);
\echo :SQLSTATE
SELECT wee5_cron.run_now('no such job');
\echo :SQLSTATE
SELECT cron.schedule_in_database('vacuum', '1 1 1 1 *', 'VACUUM', current_database()) > 0 AS scheduled;
SELECT wee5_cron.run_now('vacuum');
\echo :SQLSTATE
-- The call of such a job is not the plain one that run_now() could make.
SELECT cron.schedule_in_database('posts', '1 1 1 1 *', $$SELECT wee5_cron.invoke('/posts', 'POST')$$, current_database()) AS jobid \gset
SELECT wee5_cron.run_now('posts');
\echo :SQLSTATE
SELECT cron.schedule_in_database('computed', '1 1 1 1 *', 'SELECT wee5_cron.invoke(path) FROM paths', current_database()) AS jobid \gset
SELECT wee5_cron.run_now('computed');
\echo :SQLSTATE
-- Which commands are: one call, of one path, without a condition.
SELECT command, wee5_cron.is_plain_call(command) AS plain
FROM unnest(array[
  $$SELECT invoke_cron_endpoint('/a')$$, $$ select * from "My Schema" . invoke_cron_endpoint ( '/it''s' :: text ) ; $$,
  $$SELECT public.invoke_cron_endpoint(endpoint_path => '/a') AS id;$$, $$CALL wee5_cron.run('/a')$$, $$SELECT wee5_cron.invoke('/a')$$,
  $$SELECT invoke_cron_endpoint('/a') WHERE now() < '2026-01-01'$$, $$SELECT invoke_cron_endpoint('/a'), invoke_cron_endpoint('/b')$$,
  $$SELECT invoke_cron_endpoint('/a'); SELECT invoke_cron_endpoint('/b')$$, $$SELECT invoke_cron_endpoint('/a' || n) FROM t$$,
  $$SELECT invoke_cron_endpoint(E'/a\'') $$, $$SELECT wee5_cron.invoke('/a', timeout => '1 s')$$, $$DELETE FROM t; CALL wee5_cron.run('/a')$$,
  $$DO 'BEGIN PERFORM invoke_cron_endpoint(''/a''); END'$$, $$SELECT my.invoke('/a')$$]) AS command;
SELECT cron.schedule_in_database('quoted', '1 1 1 1 *', $$SELECT wee5_cron.invoke('/it''s')$$, current_database()) AS jobid \gset
BEGIN;
SELECT wee5_cron.run_now('quoted') AS id \gset
SELECT job_name, endpoint_path FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;
SELECT cron.schedule_in_database('poll-activities', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/mine')$$, current_database()) > 0 AS scheduled;
SELECT wee5_cron.run_now('poll-activities');
\echo :SQLSTATE
DELETE FROM cron.job;
SELECT wee5_cron.run_now('poll-activities');
\echo :SQLSTATE

ALTER DATABASE contrib_regression RESET app.settings.api_url;
ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
DROP VIEW jobs;
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_cron;
RESET SESSION AUTHORIZATION;
DROP ROLE regress_other;
DROP ROLE regress_admin;
