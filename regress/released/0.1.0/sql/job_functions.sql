-- schedule(), unschedule(), pause(), resume() and next_runs().
\set SHOW_CONTEXT never
CREATE ROLE regress_admin SUPERUSER LOGIN;
CREATE ROLE regress_operator LOGIN;
SET SESSION AUTHORIZATION regress_admin;
CREATE EXTENSION pg_cron;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.grant_to('regress_operator', 'operate');
CREATE VIEW jobs AS
  SELECT c.jobname, c.schedule, c.command, c.username, c.active, j.endpoint_path, j.jobid = c.jobid AS ours, j.registered
  FROM cron.job c LEFT JOIN wee5_cron.job j ON j.job_name = c.jobname ORDER BY c.jobid;

-- A new job; then the same with another schedule and path. It stays one job.
SELECT wee5_cron.schedule('nightly', '15 3 * * *', '/api/reports/nightly') AS jobid \gset
SELECT wee5_cron.schedule('nightly', '15 4 * * *', '/api/reports/it''s nightly?of=germany') = :jobid AS same_job;
TABLE jobs;
SELECT job_name, endpoint_path, state FROM wee5_cron.job_status;

-- Bad input is refused, and nothing is made of it.
SELECT wee5_cron.schedule(NULL, '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', NULL, '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * * *', NULL);
\echo :SQLSTATE
SELECT wee5_cron.schedule('', '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * * *', 'https://evil.example/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '61 * * * *', '/x');
\echo :SQLSTATE

-- What is somebody else's, in another database or of another kind is not replaced.
SELECT cron.schedule_in_database('vacuum', '1 1 1 1 *', 'VACUUM', current_database()) > 0 AS made;
SELECT cron.schedule_in_database('theirs', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, current_database(), 'regress_operator') > 0 AS made;
SELECT cron.schedule_in_database('elsewhere', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, 'postgres') > 0 AS made;
DO $$
DECLARE
  name text;
  message text;
  hint text;
BEGIN
  FOREACH name IN ARRAY '{vacuum,theirs,elsewhere}'::text[] LOOP
    BEGIN
      PERFORM wee5_cron.schedule(name, '2 2 2 2 *', '/mine');
    EXCEPTION WHEN duplicate_object THEN
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
      RAISE INFO '% / %', regexp_replace(message, 'jobid \d+', 'jobid N'), hint;
    END;
  END LOOP;
END
$$;
SELECT jobname, schedule FROM cron.job WHERE jobname IN ('vacuum', 'theirs', 'elsewhere') ORDER BY 1;

-- Whoever may operate works with the jobs of all; his own new ones belong to him.
SET SESSION AUTHORIZATION regress_operator;
SELECT wee5_cron.schedule('of the operator', '0 5 * * *', '/api/x') > 0 AS made;
SELECT wee5_cron.pause('nightly', 'until the report is mended');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_admin;
SELECT jobname, username, active FROM cron.job WHERE jobname IN ('nightly', 'of the operator') ORDER BY 1;
SELECT job_name, paused_at IS NOT NULL AS paused, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT job_name, active, state, next_run FROM wee5_cron.job_status WHERE job_name = 'nightly';

-- Paused again: since when stays, and so does a note that is not replaced.
SELECT paused_at FROM wee5_cron.job WHERE job_name = 'nightly' \gset
SELECT wee5_cron.pause('nightly');
SELECT paused_at = :'paused_at' AS same, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT * FROM wee5_cron.next_runs('nightly', 3);
SELECT wee5_cron.resume('nightly');
SELECT job_name, paused_at, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT active FROM cron.job WHERE jobname = 'nightly';

-- A job that we did not make can be paused, and is still not ours.
SELECT wee5_cron.pause('theirs', 'not ours');
SELECT job_name, jobid, endpoint_path, pause_note FROM wee5_cron.job WHERE job_name = 'theirs';
SELECT wee5_cron.resume('theirs');
SELECT count(*) FROM wee5_cron.job WHERE job_name = 'theirs';

-- What comes next: local times of pg_cron's clock, one after the other.
SELECT count(*), min(t) > now() AS in_the_future, bool_and(extract(minute FROM t) = 15) AS at_the_minute,
       max(t) - min(t) BETWEEN interval '3 days 23 hours' AND interval '4 days 1 hour' AS once_a_day
FROM wee5_cron.next_runs('nightly', 5) t;
SELECT count(*) FROM wee5_cron.next_runs('nightly') t;
SELECT min(t) = (SELECT next_run FROM wee5_cron.job_status WHERE job_name = 'nightly') AS as_job_status_says FROM wee5_cron.next_runs('nightly', 1) t;
SELECT wee5_cron.next_runs('nightly', 0);
\echo :SQLSTATE
SELECT wee5_cron.next_runs('nightly', NULL);
\echo :SQLSTATE
SELECT wee5_cron.schedule('at start', '@reboot', '/api/x') > 0 AS made;
SELECT count(*) FROM wee5_cron.next_runs('at start', 3);

-- Unknown, of another kind, ambiguous.
SELECT wee5_cron.pause('no such job');
\echo :SQLSTATE
SELECT wee5_cron.resume(NULL);
\echo :SQLSTATE
SELECT wee5_cron.unschedule('vacuum');
\echo :SQLSTATE
SELECT cron.schedule_in_database('theirs', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, current_database()) > 0 AS made;
SELECT wee5_cron.unschedule('theirs');
\echo :SQLSTATE

-- unschedule() removes the job, whoever made it; a default job does not come back by itself.
SELECT wee5_cron.unschedule('of the operator');
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.unschedule('daily-analytics');
SELECT jobname FROM cron.job WHERE database = current_database() ORDER BY jobid;
SELECT wee5_cron.register_jobs();
SELECT job_name, registered FROM wee5_cron.job ORDER BY job_name COLLATE "C";

-- unregister_jobs() leaves what schedule() made; DROP EXTENSION takes it along, or it would fail at every tick.
SELECT wee5_cron.unregister_jobs();
SELECT jobname FROM cron.job ORDER BY jobid;
DROP VIEW jobs;
DROP EXTENSION wee5_cron;
SELECT jobname FROM cron.job ORDER BY jobid;

DELETE FROM cron.job;
DROP EXTENSION pg_cron;

-- The SQL of a pg_cron before 1.4. A newer library reads the name in a call of its cron.schedule() wrongly, so that must
-- not be tried.
CREATE EXTENSION pg_cron VERSION '1.3';
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.schedule('nightly', '1 1 1 1 *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.register_jobs();
SELECT count(*) FROM cron.job;
ALTER EXTENSION pg_cron UPDATE;
SELECT wee5_cron.schedule('nightly', '1 1 1 1 *', '/x') > 0 AS made;
SELECT jobname, username FROM cron.job ORDER BY jobid;
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_cron;
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_operator;
DROP ROLE regress_operator;
DROP OWNED BY regress_admin;
DROP ROLE regress_admin;
