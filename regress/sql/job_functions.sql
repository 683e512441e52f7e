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

-- A new job, then the same name with another schedule and path: it stays one job.
SELECT wee5_cron.schedule('nightly', '15 3 * * *', '/api/reports/nightly') AS jobid \gset
SELECT wee5_cron.schedule('nightly', '15 4 * * *', '/api/reports/it''s nightly?of=germany') = :jobid AS same_job;
TABLE jobs;
SELECT job_name, endpoint_path, state FROM wee5_cron.job_status;

-- Invalid input is refused and creates nothing.
SELECT wee5_cron.schedule(NULL, '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', NULL, '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * * *', NULL);
\echo :SQLSTATE
SELECT wee5_cron.schedule('', '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule(repeat('n', 64), '* * * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * * *', 'https://evil.example/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '* * * *', '/x');
\echo :SQLSTATE
SELECT wee5_cron.schedule('x', '61 * * * *', '/x');
\echo :SQLSTATE

-- schedule() does not replace a job of another role, in another database, or that does not call the app.
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

-- A role with the profile operate works with the jobs of all roles. It owns the jobs that it creates.
SET SESSION AUTHORIZATION regress_operator;
SELECT wee5_cron.schedule('of the operator', '0 5 * * *', '/api/x') > 0 AS made;
SELECT wee5_cron.pause('nightly', 'until the report is mended');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_admin;
SELECT jobname, username, active FROM cron.job WHERE jobname IN ('nightly', 'of the operator') ORDER BY 1;
SELECT job_name, paused_at IS NOT NULL AS paused, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT job_name, active, state, next_run FROM wee5_cron.job_status WHERE job_name = 'nightly';

-- Paused again: the time is kept, and so is the note if there is no new one.
SELECT paused_at FROM wee5_cron.job WHERE job_name = 'nightly' \gset
SELECT wee5_cron.pause('nightly');
SELECT paused_at = :'paused_at' AS same, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT * FROM wee5_cron.next_runs('nightly', 3);
SELECT wee5_cron.resume('nightly');
SELECT job_name, paused_at, pause_note FROM wee5_cron.job WHERE job_name = 'nightly';
SELECT active FROM cron.job WHERE jobname = 'nightly';

-- A job of another role can be paused, and still does not belong to the extension.
SELECT wee5_cron.pause('theirs', 'not ours');
SELECT job_name, jobid, endpoint_path, pause_note FROM wee5_cron.job WHERE job_name = 'theirs';
SELECT wee5_cron.resume('theirs');
SELECT count(*) FROM wee5_cron.job WHERE job_name = 'theirs';

-- The next runs, in local times of pg_cron's clock.
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

-- A schedule that pg_cron accepts although it never fires.
SELECT wee5_cron.schedule('at start', '0 0 30 2 *', '/api/x') > 0 AS made;
SELECT wee5_cron.schedule('at start', '0 0 31 4,6,9,11 *', '/api/x') > 0 AS made;
SELECT status, regexp_replace(detail, '[0-9]{4,}', 'N') FROM wee5_cron.doctor() WHERE check_name = 'job_schedule';
SELECT wee5_cron.schedule('at start', '0 0 29 2 *', '/api/x') > 0 AS made;
SELECT wee5_cron.schedule('at start', '0 0 29 2 */7', '/api/x') > 0 AS made;
SELECT status, detail FROM wee5_cron.doctor() WHERE check_name = 'job_schedule';
SELECT count(*) FROM wee5_cron.next_runs('at start', 1);

-- A login role that has the privilege only by SET ROLE, not by inheritance: its job may not call.
CREATE ROLE regress_noinherit LOGIN NOINHERIT;
GRANT regress_operator TO regress_noinherit;
SET SESSION AUTHORIZATION regress_noinherit;
SET ROLE regress_operator;
SELECT wee5_cron.schedule('of nobody', '0 5 1 1 *', '/api/x') > 0 AS made;
RESET ROLE;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_admin;
SELECT status, detail, hint FROM wee5_cron.doctor() WHERE check_name = 'job_owner';
SELECT wee5_cron.grant_to('regress_noinherit', 'call');
SELECT status, detail, hint FROM wee5_cron.doctor() WHERE check_name = 'job_owner';
SELECT wee5_cron.unschedule('of nobody');
DROP OWNED BY regress_noinherit;
DROP ROLE regress_noinherit;

-- An unknown job, one that does not call the app, an ambiguous name.
SELECT wee5_cron.pause('no such job');
\echo :SQLSTATE
SELECT wee5_cron.resume(NULL);
\echo :SQLSTATE
SELECT wee5_cron.unschedule('vacuum');
\echo :SQLSTATE
SELECT cron.schedule_in_database('theirs', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, current_database()) > 0 AS made;
SELECT wee5_cron.unschedule('theirs');
\echo :SQLSTATE

-- unschedule() removes the job, whoever created it. A default job does not come back on its own.
SELECT wee5_cron.unschedule('of the operator');
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.unschedule('daily-analytics');
SELECT jobname FROM cron.job WHERE database = current_database() ORDER BY jobid;
SELECT wee5_cron.register_jobs();
SELECT job_name, registered FROM wee5_cron.job ORDER BY job_name COLLATE "C";

-- Whatever the name, the schedule or the number is, the error has an SQLSTATE, names the value, and says what to do.
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
BEGIN;
SELECT f AS function, left(j, 20) AS name, answer(format('SELECT wee5_cron.%I(%L)', f, j))
FROM unnest('{unschedule,pause,resume,run_now,next_runs}'::text[]) f
CROSS JOIN unnest(array[NULL, '', 'nobody', 'NIGHTLY', ' nightly', E'night\nly', 'Ü"''x', repeat('x', 1000)]) j;
SELECT left(s, 20) AS schedule, answer(format('SELECT wee5_cron.schedule(%L, %L, %L)', 'hostile', s, '/x'))
FROM unnest(array['', 'x', '* * * *', '-1 * * * *', 'ü * * * *', '0 seconds', repeat('*', 5000)]) s;
SELECT n, answer(format('SELECT wee5_cron.next_runs(%L, %L)', 'nightly', n)) FROM unnest(array[NULL, 0, -1, 10001, 2147483647, -2147483648]) n;
SELECT i AS older_than, answer(format('SELECT wee5_cron.prune_cron_history(%L)', i))
FROM unnest(array[NULL, '0', '-1 us', '178000000 years', '-178000000 years', '1 mon -31 days']) i;
ROLLBACK;
DROP FUNCTION answer(text);

-- unregister_jobs() leaves the jobs that schedule() created. DROP EXTENSION removes them: they would fail at every tick.
SELECT wee5_cron.unregister_jobs();
SELECT jobname FROM cron.job ORDER BY jobid;
DROP VIEW jobs;

-- DROP EXTENSION (in C++) and unregister_jobs() (in SQL) agree on which jobs are ours, whatever users made of them.
BEGIN;
CREATE TEMP TABLE changed (n int, command text);
INSERT INTO changed VALUES
  (1, $$SELECT public.invoke_cron_endpoint('/case/1')$$),
  (2, $$/* mine */ SELECT invoke_cron_endpoint ( '/case/2' ) ; -- kept$$),
  (3, $$CALL wee5_cron.run('/case/3')$$),
  (4, $$SELECT wee5_cron.invoke(endpoint_path => '/case/4', timeout => '1 s')$$),
  (5, $$SELECT invoke_cron_endpoint('/other')$$),
  (6, 'VACUUM'),
  (7, $$SELECT invoke_cron_endpoint('/case/7' || '')$$),
  (8, $$SELECT invoke_cron_endpoint(E'/case/\070')$$),
  (9, 'SELECT invoke_cron_endpoint($x$/case/9$x$)'),
  (10, ''),
  (11, $$DO 'BEGIN PERFORM invoke_cron_endpoint(''/case/11''); END'$$),
  (12, $$SELECT invoke_cron_endpoint('/case/12$$),
  (13, $$SELECT invoke_cron_endpoint('/case/13'), invoke_cron_endpoint('/other')$$),
  (14, $$SELECT invoke_cron_endpoint('/case/14')$$),
  (15, $$SELECT invoke_cron_endpoint('/case/15')$$),
  (16, 'SELECT wee5_cron.harvest()'),
  (17, $$SELECT 'wee5_cron.harvest()'$$),
  (18, $$SELECT my.invoke('/case/18')$$);
SELECT count(wee5_cron.schedule('case ' || n, '1 1 1 1 *', '/case/' || n)) FROM changed;
UPDATE cron.job c SET command = x.command FROM changed x WHERE c.jobname = 'case ' || x.n;
UPDATE cron.job SET jobname = 'renamed' WHERE jobname = 'case 14';
UPDATE cron.job SET jobid = jobid + 1000 WHERE jobname = 'case 15';
UPDATE wee5_cron.job SET endpoint_path = NULL WHERE job_name IN ('case 16', 'case 17');
CREATE TEMP TABLE judged AS
  SELECT c.jobid, c.jobname, coalesce(wee5_cron.is_remembered(c.jobid, c.jobname, c.command), false) AS ours FROM cron.job c;
DROP EXTENSION wee5_cron;
SELECT j.jobname, j.ours, c.jobid IS NULL AS removed FROM judged j LEFT JOIN cron.job c USING (jobid) ORDER BY j.jobid;
ROLLBACK;

DROP EXTENSION wee5_cron;
SELECT jobname FROM cron.job ORDER BY jobid;

DELETE FROM cron.job;
DROP EXTENSION pg_cron;

-- The SQL of a pg_cron before 1.4. A newer library misreads the name in a call of its cron.schedule(), so we must not
-- call it.
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
