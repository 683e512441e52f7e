-- register_jobs(), unregister_jobs() and run_now() work with our jobs, and with no others.
\set SHOW_CONTEXT never
CREATE ROLE regress_admin SUPERUSER LOGIN;
CREATE ROLE regress_other LOGIN;
SET SESSION AUTHORIZATION regress_admin;
CREATE EXTENSION pg_cron;
CREATE VIEW jobs AS
  SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobid;

-- An existing job of that name is not changed, whoever owns it.
SELECT cron.schedule_in_database('poll-activities', '1 1 1 1 *', 'SELECT 1', current_database(), 'regress_other') AS jobid;
SELECT cron.schedule_in_database('daily-analytics', '1 1 1 1 *', 'SELECT 1', current_database()) AS jobid;
CREATE EXTENSION wee5_cron;
TABLE jobs;

-- A job of this user in another database takes the name, too: names are unique per user, not per database.
SELECT wee5_cron.unregister_jobs();
DELETE FROM cron.job;
SELECT cron.schedule_in_database('welcome-emails', '1 1 1 1 *', 'SELECT 1', 'postgres') AS jobid;
SELECT cron.schedule_in_database('poll-activities', '1 1 1 1 *', 'SELECT 1', 'postgres', 'regress_other') AS jobid;
SELECT wee5_cron.register_jobs();
TABLE jobs;

-- All of them exist already.
DELETE FROM cron.job WHERE database = 'postgres';
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.register_jobs(force => true);

-- A job that the user deleted stays deleted.
SELECT cron.unschedule('welcome-emails');
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.register_jobs(NULL);
SELECT count(*) FROM cron.job;
SELECT wee5_cron.register_jobs(force => true);
SELECT count(*) FROM cron.job;

-- unregister_jobs() leaves jobs that are not ours: another job, a job of ours that the user turned into another one, and
-- a job that moved to another database.
SELECT cron.schedule_in_database('by hand', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/by-hand')$$, current_database()) > 0 AS scheduled;
UPDATE cron.job SET command = 'VACUUM' WHERE jobname = 'welcome-emails';
UPDATE cron.job SET database = 'postgres' WHERE jobname = 'daily-analytics';
SELECT wee5_cron.unregister_jobs();
SELECT jobname, command, database FROM cron.job ORDER BY jobid;
SELECT count(*) FROM wee5_cron.job;
SELECT wee5_cron.unregister_jobs();
DELETE FROM cron.job;

-- If pg_cron is dropped and created, its jobids start again, in a transaction of its own or in the same one. Whatever
-- name, jobid and path a job then has, it belongs to the user.
SELECT wee5_cron.register_jobs();
DROP VIEW jobs;
DROP EXTENSION pg_cron;
CREATE EXTENSION pg_cron;
SELECT cron.schedule_in_database('digest', '0 6 1 1 *', $$SELECT invoke_cron_endpoint('/api/digest')$$, current_database()) AS jobid;
SELECT cron.schedule_in_database('welcome-emails', '0 6 1 1 *', $$SELECT public.invoke_cron_endpoint('/api/cron/welcome-emails')$$, current_database()) AS jobid;
SELECT job_name, jobid, registered FROM wee5_cron.job ORDER BY 1;
SELECT wee5_cron.unregister_jobs();
SELECT wee5_cron.register_jobs();
BEGIN;
DROP EXTENSION pg_cron;
CREATE EXTENSION pg_cron;
SELECT cron.schedule_in_database('poll-activities', '0 6 1 1 *', $$SELECT public.invoke_cron_endpoint('/api/cron/poll-activities')$$, current_database()) AS jobid;
COMMIT;
SELECT wee5_cron.unregister_jobs();
SELECT jobname, command FROM cron.job ORDER BY jobid;
DELETE FROM cron.job;

-- A job of ours with another path belongs to the user from then on.
SELECT wee5_cron.register_jobs();
SELECT cron.alter_job(jobid, command => $$SELECT invoke_cron_endpoint('/another')$$) FROM cron.job WHERE jobname = 'daily-analytics';
SELECT wee5_cron.unregister_jobs();
SELECT jobname, command FROM cron.job ORDER BY jobid;
DELETE FROM cron.job;

-- Another role's function of our name, with more arguments.
CREATE FUNCTION invoke_cron_endpoint(site text, path text, method text DEFAULT 'GET') RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT cron.schedule_in_database('theirs', '1 1 1 1 *', $$SELECT public.invoke_cron_endpoint('seo','/api/seo','GET')$$, current_database()) > 0 AS scheduled;
SELECT count(*) FROM wee5_cron.job_status;
SELECT wee5_cron.unschedule('theirs');
SELECT wee5_cron.pause('theirs', 'not ours');
SELECT wee5_cron.run_now('theirs');
SELECT wee5_cron.schedule('theirs', '* * * * *', '/mine');
SELECT wee5_cron.watch_jobs() IS NULL AS nothing_to_watch;
SELECT check_name, detail FROM wee5_cron.doctor() WHERE detail LIKE '%theirs%' OR check_name = 'jobs_made' AND detail LIKE '%jobs call%';
SELECT jobname, active FROM cron.job;
DROP FUNCTION invoke_cron_endpoint(text, text, text);
DELETE FROM cron.job;

-- If pg_cron refuses a job, there is a notice and no row in wee5_cron.job.
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
SELECT job_name, endpoint_path, method, status, requested_by, scheduled_at = requested_at AS now,
       headers ->> 'x-vercel-cron-schedule' AS schedule
FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;
-- Two jobs with one command: wee5_cron cannot tell whose call it is, so the call has no job name and no schedule.
SELECT cron.schedule_in_database('twin', '1 1 1 1 *', command, current_database(), username) > 0 AS scheduled FROM cron.job WHERE jobname = 'poll-activities';
\set VERBOSITY terse
BEGIN;
SELECT wee5_cron.run_now('twin') AS id \gset
SELECT job_name, endpoint_path, headers, scheduled_at IS NULL AS no_tick FROM wee5_cron.invocation WHERE id = :id;
ROLLBACK;
\set VERBOSITY default
SELECT wee5_cron.unschedule('twin');
-- A job whose owner was dropped.
SELECT cron.schedule_in_database('orphan', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, current_database()) AS jobid \gset
UPDATE cron.job SET username = 'nobody here' WHERE jobid = :jobid;
SELECT wee5_cron.run_now('orphan');
\echo :SQLSTATE
SELECT check_name, status, detail FROM wee5_cron.doctor() WHERE check_name = 'job_owner';
SELECT wee5_cron.unschedule('orphan');
SELECT check_name, status, detail FROM wee5_cron.doctor() WHERE check_name = 'job_owner';
SELECT wee5_cron.run_now(NULL);
\echo :SQLSTATE
SELECT wee5_cron.run_now('no such job');
\echo :SQLSTATE
SELECT cron.schedule_in_database('vacuum', '1 1 1 1 *', 'VACUUM', current_database()) > 0 AS scheduled;
SELECT wee5_cron.run_now('vacuum');
\echo :SQLSTATE
-- run_now() makes plain calls only, and refuses these jobs.
SELECT cron.schedule_in_database('posts', '1 1 1 1 *', $$SELECT wee5_cron.invoke('/posts', 'POST')$$, current_database()) AS jobid \gset
SELECT wee5_cron.run_now('posts');
\echo :SQLSTATE
SELECT cron.schedule_in_database('computed', '1 1 1 1 *', 'SELECT wee5_cron.invoke(path) FROM paths', current_database()) AS jobid \gset
SELECT wee5_cron.run_now('computed');
\echo :SQLSTATE
-- A plain call: one call of one path, without a condition.
SELECT command, wee5_cron.is_plain_call(command) AS plain
FROM unnest(array[
  $$SELECT invoke_cron_endpoint('/a')$$, $$ select * from "public" . invoke_cron_endpoint ( '/it''s' :: text ) ; $$,
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
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_cron;
RESET SESSION AUTHORIZATION;
DROP ROLE regress_other;
DROP ROLE regress_admin;
