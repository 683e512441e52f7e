-- watch_jobs() and the troubles that it records, with job_status and doctor(). The path of a job is read from its command.
-- All in one transaction, so that now() is one moment and no worker sees the rows.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_one LOGIN;
CREATE ROLE regress_two LOGIN;
CREATE EXTENSION pg_cron;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.grant_to('regress_one', 'call'), wee5_cron.grant_to('regress_two', 'call');
RESET client_min_messages;

BEGIN;
CREATE FUNCTION pg_temp.job(name text, command text, schedule text DEFAULT '0 0 1 1 *', owner text DEFAULT 'regress_one')
RETURNS bigint LANGUAGE sql AS
  $$ INSERT INTO cron.job (jobname, schedule, command, nodeport, database, username)
     VALUES (name, schedule, command, 5432, current_database(), owner) RETURNING jobid $$;
CREATE FUNCTION pg_temp.runs(id bigint, outcome text, count int DEFAULT 3) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO cron.job_run_details (jobid, status, return_message, start_time, end_time)
     SELECT id, outcome, CASE outcome WHEN 'failed' THEN 'ERROR:  it raised' END, now(), now() FROM generate_series(1, count) $$;
-- Makes watch_jobs() judge the ticks of the last minutes.
CREATE FUNCTION pg_temp.watch(ago interval DEFAULT '0') RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN UPDATE wee5_cron.job_watch SET judged_until = now() - ago; PERFORM wee5_cron.watch_jobs(); END $$;
CREATE VIEW pg_temp.trouble AS SELECT kind, name, failures, told, by_job FROM wee5_cron.trouble ORDER BY kind, name;
CREATE FUNCTION pg_temp.alerts() RETURNS SETOF text LANGUAGE sql AS
  $$ WITH gone AS (DELETE FROM wee5_cron.pending_alert RETURNING content, at)
     SELECT concat_ws(' | ', content ->> 'event', content ->> 'job_name', content ->> 'endpoint_path',
                      regexp_replace(content ->> 'text', '[0-9]{4}-[0-9-]+ [0-9:]+ [A-Z0-9+-]+', 'T'))
     FROM gone ORDER BY content ->> 'event', content ->> 'job_name' $$;

-- Three failed runs each, of jobs whose path is behind another literal, in dollar quotes, in a DO block or in its EXECUTE, or nowhere.
SELECT pg_temp.job('one', $$SELECT wee5_cron.invoke(method => 'POST', endpoint_path => '/api/one')$$) AS one,
       pg_temp.job('two', $$SELECT wee5_cron.invoke(method := 'POST', endpoint_path := '/api/two')$$) AS two,
       pg_temp.job('dollar', $$SELECT INVOKE_CRON_ENDPOINT($p$/x$p$)$$) AS dollar,
       pg_temp.job('block', $$DO 'BEGIN PERFORM "public"."invoke_cron_endpoint"(E''/block''); END'$$) AS block,
       pg_temp.job('executed', $$DO 'BEGIN EXECUTE ''SELECT public.invoke_cron_endpoint($q$/executed$q$)''; END'$$) AS executed,
       pg_temp.job('format', $$DO 'BEGIN EXECUTE format(''SELECT wee5_cron.invoke(%L)'', ''/format''); END'$$) AS format,
       pg_temp.job('computed', $$SELECT wee5_cron.invoke(path) FROM paths$$) AS computed,
       pg_temp.job(NULL, $$SELECT /* the path */ invoke_cron_endpoint('/unnamed')$$) AS unnamed \gset
SELECT pg_temp.watch();
SELECT pg_temp.runs(id, 'failed') FROM unnest(array[:one, :two, :dollar, :block, :executed, :format, :computed, :unnamed]) id;
SELECT pg_temp.watch();
SELECT regexp_replace(name, '#\d+', '#N') AS name, failures, told, by_job FROM pg_temp.trouble;
SELECT regexp_replace(pg_temp.alerts(), '#\d+', '#N', 'g');
SELECT job_name, endpoint_path, consecutive_failures, last_error, state FROM wee5_cron.job_status ORDER BY 1;
-- No alert is sent twice. Each trouble ends with the next success: of a call, or of a run if the path is not known.
SELECT pg_temp.watch();
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, finished_at)
SELECT j.name, j.path, 'builtin', 'succeeded', now()
FROM (VALUES ('one', '/api/one'), ('two', '/api/two'), ('dollar', '/x')) AS j (name, path);
SELECT wee5_cron.note_outcomes((SELECT array_agg(id) FROM wee5_cron.invocation));
SELECT pg_temp.runs(:computed, 'succeeded', 1);
SELECT pg_temp.watch();
SELECT pg_temp.alerts();
SELECT regexp_replace(name, '#\d+', '#N') AS name, failures, told FROM pg_temp.trouble;
-- The other troubles are deleted with their jobs. A trouble of calls made by hand stays for a day.
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at) VALUES ('/by/hand', 'builtin', 'failed', now());
SELECT wee5_cron.note_outcomes((SELECT array_agg(id) FROM wee5_cron.invocation WHERE status = 'failed'));
UPDATE cron.job SET command = 'VACUUM' WHERE jobname = 'block';
DELETE FROM cron.job WHERE jobname IS NULL;
SELECT pg_temp.watch();
TABLE pg_temp.trouble;
UPDATE wee5_cron.trouble SET last_failed_at = now() - interval '25 hours';
SELECT pg_temp.watch();
TABLE pg_temp.trouble;
SELECT pg_temp.alerts();
DELETE FROM cron.job;
DELETE FROM cron.job_run_details;
DELETE FROM wee5_cron.invocation;

-- Late: if two users have a job of one name, each job has its own ticks.
SELECT pg_temp.job('shared', $$SELECT invoke_cron_endpoint('/one')$$, '* * * * *') AS one,
       pg_temp.job('shared', $$SELECT invoke_cron_endpoint('/two')$$, '* * * * *', 'regress_two') AS two \gset
UPDATE wee5_cron.job_watch SET judged_until = now();
SELECT pg_temp.watch();
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_by, scheduled_at, finished_at)
SELECT 'shared', '/two', 'builtin', 'succeeded', 'regress_two', date_trunc('minute', now()) - n * interval '1 minute', now()
FROM generate_series(0, 9) n;
-- A call by run_now() is not the missed run.
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_by, scheduled_at, finished_at)
VALUES ('shared', '/one', 'builtin', 'succeeded', 'regress_one', now(), now());
SELECT pg_temp.watch('10 minutes');
SELECT kind, name = '#' || :one AS of_the_first FROM pg_temp.trouble;
SELECT w.username, w.missed_runs > 5 AS missed FROM wee5_cron.job_watch w ORDER BY 1;
SELECT replace(pg_temp.alerts(), '#' || :one, '#N');
-- A job with a new command is not late, and neither is a job to which a new pg_cron gave the same jobid.
UPDATE cron.job SET command = 'VACUUM' WHERE jobid = :one;
SELECT pg_temp.watch();
TABLE pg_temp.trouble;
UPDATE cron.job SET jobname = 'another', command = $$SELECT invoke_cron_endpoint('/another')$$ WHERE jobid = :two;
UPDATE wee5_cron.job_watch SET judged_until = now() - interval '1 hour', missed_runs = 7, seen_run = 1000;
SELECT wee5_cron.watch_jobs() > now() AS looks_again;
SELECT w.job_name, w.missed_runs, w.seen_run, w.judged_until = now() AS from_now_on FROM wee5_cron.job_watch w;
UPDATE wee5_cron.job_watch SET judged_until = now() - interval '1 hour', missed_runs = 7, cron_job = 1;
SELECT wee5_cron.watch_jobs() > now() AS looks_again;
SELECT w.job_name, w.missed_runs, w.judged_until = now() AS from_now_on FROM wee5_cron.job_watch w;
DELETE FROM cron.job;
DELETE FROM wee5_cron.invocation;

-- As with cron.log_run = off, which only a restart can set: a job without a name, two jobs with one command, one that
-- calls only sometimes, and one that is really late.
SAVEPOINT runs_are_logged;
CREATE OR REPLACE FUNCTION wee5_cron.pg_cron_logs_runs() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT false';
SELECT pg_temp.job(NULL, $$SELECT invoke_cron_endpoint('/unnamed')$$, '* * * * *'),
       pg_temp.job('twin-1', $$SELECT invoke_cron_endpoint('/twins')$$, '* * * * *'),
       pg_temp.job('twin-2', $$SELECT invoke_cron_endpoint('/twins')$$, '* * * * *'),
       pg_temp.job('at times', $$SELECT invoke_cron_endpoint('/at/times') WHERE false$$, '* * * * *'),
       pg_temp.job('late', $$SELECT invoke_cron_endpoint('/late')$$, '* * * * *') \g /dev/null
UPDATE wee5_cron.job SET catch_up = 'none';
INSERT INTO wee5_cron.job (job_name, catch_up) VALUES ('late', 'none');
SELECT pg_temp.watch();
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_by, requested_at, scheduled_at, finished_at)
SELECT p.path, 'builtin', 'succeeded', 'regress_one', date_trunc('minute', now()) - n * interval '1 minute',
       CASE p.path WHEN '/unnamed' THEN date_trunc('minute', now()) - n * interval '1 minute' END, now()
FROM generate_series(0, 9) n, unnest('{/unnamed,/twins}'::text[]) AS p (path);
SELECT pg_temp.watch('10 minutes');
SELECT kind, name FROM pg_temp.trouble;
SELECT pg_temp.alerts();
SELECT job_name, last_status, missed_runs > 0 AS missed, state FROM wee5_cron.job_status ORDER BY 1;
ROLLBACK TO runs_are_logged;
DELETE FROM wee5_cron.pending_alert;

-- A part of a look ends after so many jobs, or when its time is over. The next one goes on with the job after it.
SAVEPOINT parts;
CREATE FUNCTION pg_temp.parts(most int, time_limit interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  reached bigint;
  ends text[] := '{}';
BEGIN
  UPDATE wee5_cron.job_watch SET judged_until = now() - interval '10 minutes', missed_runs = 0;
  LOOP
    SELECT p.watched_to INTO reached FROM wee5_cron.watch_some_jobs(reached, most, time_limit) p;
    ends := ends || coalesce((SELECT j.jobname FROM cron.job j WHERE j.jobid = reached), reached::text, 'the end');
    EXIT WHEN reached IS NULL;
  END LOOP;
  RETURN format('%s; missed runs of %s jobs', array_to_string(ends, ', '), (SELECT count(*) FROM wee5_cron.job_watch w WHERE w.missed_runs > 0));
END $$;
SELECT pg_temp.job(name, $$SELECT invoke_cron_endpoint('/late')$$, '* * * * *') FROM unnest('{a,b,c}'::text[]) name \g /dev/null
INSERT INTO wee5_cron.job (job_name, catch_up) SELECT name, 'none' FROM unnest('{a,b,c}'::text[]) name;
SELECT pg_temp.watch();
SELECT pg_temp.parts(10, NULL), pg_temp.parts(2, NULL), pg_temp.parts(3, '1 hour'), pg_temp.parts(10, '0') \gx
ROLLBACK TO parts;

-- A job that runs every ten seconds, which pg_cron counts from one run to the next. Each run starts a moment late, so there
-- fewer runs than ticks; none is missed before there is a pause. ticks() is replaced: older versions of pg_cron have no
-- such schedules.
SAVEPOINT seconds;
CREATE OR REPLACE FUNCTION wee5_cron.ticks(schedule text, after timestamptz, count int, last_start timestamptz DEFAULT NULL,
                                           until timestamptz DEFAULT NULL) RETURNS timestamptz[] LANGUAGE sql STABLE AS
  $$ SELECT array_agg(after + n * interval '10 seconds' ORDER BY n) FROM generate_series(1, least(count, 100)) n
     WHERE until IS NULL OR after + (n - 1) * interval '10 seconds' <= until $$;
CREATE FUNCTION pg_temp.judged(schedule text, began timestamptz[]) RETURNS text LANGUAGE sql AS
  $$ SELECT format('missed %s, last at %s, run since: %s, judged up to %s, looks again after %s', m.missed, m.last_missed - w.judged_until,
                   m.run_since, m.judged_until - w.judged_until, m.look_again - now())
     FROM (SELECT * FROM jsonb_populate_record(NULL::wee5_cron.job_watch,
                    jsonb_build_object('schedule', schedule, 'judged_until', now() - interval '5 minutes'))) w,
          wee5_cron.match_ticks(w, began, now() - interval '1 day') m $$;
CREATE FUNCTION pg_temp.runs_every(pause interval, VARIADIC between_seconds int[]) RETURNS timestamptz[] LANGUAGE sql AS
  $$ SELECT array_agg(now() - interval '5 minutes' + n * pause) FROM generate_series(1, 40) n
     WHERE n * pause <= interval '5 minutes'
       AND NOT n * pause BETWEEN between_seconds[1] * interval '1 second' AND between_seconds[2] * interval '1 second' $$;
SELECT pg_temp.judged(s, pg_temp.runs_every('10.4 s', -1, -1)) FROM unnest(array['10 seconds', ' 10 SECONDS ']) s;
SELECT pg_temp.judged('10 seconds', pg_temp.runs_every('10.4 s', 100, 200));
SELECT pg_temp.judged('10 seconds', pg_temp.runs_every('10.4 s', 200, 300));
SELECT pg_temp.judged('10 seconds', '{}');
ROLLBACK TO seconds;

-- Two jobs with one command, with logged runs: each job has the calls of its own runs.
SELECT pg_temp.job('twin-1', $$SELECT invoke_cron_endpoint('/twins')$$) AS one,
       pg_temp.job('twin-2', $$SELECT invoke_cron_endpoint('/twins')$$) AS two \gset
INSERT INTO cron.job_run_details (runid, jobid, status, start_time, end_time)
VALUES (1001, :one, 'succeeded', now(), now()), (1002, :two, 'succeeded', now(), now());
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_by, cron_run_id, finished_at, error)
VALUES ('/twins', 'builtin', 'succeeded', 'regress_one', 1001, now(), NULL),
       ('/twins', 'builtin', 'failed', 'regress_one', 1002, now(), 'The app answered 500.');
SELECT job_name, last_status, consecutive_failures, state FROM wee5_cron.job_status ORDER BY 1;
SELECT status, detail, replace(hint, :'two', 'N') AS hint FROM wee5_cron.doctor() WHERE check_name = 'job_command';
SELECT replace(hint, :'two', 'N') = replace(hint, :'one', 'N') AS names_one, hint FROM wee5_cron.doctor() WHERE check_name = 'job_command' \gset
\o /dev/null
:hint
\o
SELECT status, detail FROM wee5_cron.doctor() WHERE check_name = 'job_command';
SELECT job_name, wee5_cron.is_plain_call(command) AS plain FROM cron.job c JOIN wee5_cron.job_status s USING (jobid) ORDER BY 1;
DELETE FROM cron.job;
DELETE FROM wee5_cron.invocation;

-- Waiting: ticks are skipped because a call is to be retried in an hour. A slow call does not count, nor does a call from
-- before a tick was skipped.
SELECT pg_temp.job(n, $$SELECT invoke_cron_endpoint('/$$ || n || $$')$$) FROM unnest('{slow,waits,waits-not-yet,fails,queued}'::text[]) n \g /dev/null
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, reason, attempts, next_attempt_at, finished_at, exclusive, error)
SELECT j.name, '/' || j.name, 'builtin', c.status, c.reason, c.attempts, c.next_attempt_at, c.finished_at, 'path', c.error
FROM unnest('{slow,waits,waits-not-yet,fails,queued}'::text[]) WITH ORDINALITY AS j (name, n)
CROSS JOIN LATERAL (VALUES
  (0, 'succeeded', NULL, 1, NULL, now() - interval '1 hour', NULL),
  (1, CASE j.name WHEN 'fails' THEN 'failed' ELSE 'succeeded' END, NULL, 1, NULL, now() - interval '1 minute', NULL),
  (2, CASE j.name WHEN 'slow' THEN 'sending' WHEN 'queued' THEN 'queued' ELSE 'retrying' END,
      CASE WHEN j.name NOT IN ('slow', 'queued') THEN 'http' END, CASE j.name WHEN 'queued' THEN 0 ELSE 1 END,
      CASE WHEN j.name NOT IN ('slow', 'queued') THEN timestamptz '2100-01-01 19:32:00+00' END, NULL,
      CASE WHEN j.name NOT IN ('slow', 'queued') THEN 'The app answered 503.' END),
  (3, 'skipped', 'overlap', 0, NULL, now(), 'has not ended'),
  (4, 'skipped', 'overlap', 0, NULL, now(), 'has not ended')) AS c (step, status, reason, attempts, next_attempt_at, finished_at, error)
WHERE NOT (j.name = 'waits-not-yet' AND c.step > 2)
ORDER BY j.n, c.step;
SELECT job_name, last_status, state FROM wee5_cron.job_status ORDER BY 1;
SET LOCAL timezone = 'UTC';
SELECT status, regexp_replace(detail, 'call \d+', 'call N') AS detail, regexp_replace(hint, '\(\d+\)', '(N)') AS hint
FROM wee5_cron.doctor() WHERE check_name = 'job_waiting';
UPDATE wee5_cron.invocation SET status = 'cancelled', reason = 'cancelled', finished_at = now() WHERE status IN ('retrying', 'queued');
SELECT job_name, state FROM wee5_cron.job_status ORDER BY 1;
SELECT status, detail FROM wee5_cron.doctor() WHERE check_name = 'job_waiting';
DELETE FROM cron.job;

-- A job for a database that was renamed.
SELECT pg_temp.job('moved', $$SELECT invoke_cron_endpoint('/x')$$) AS jobid \gset
UPDATE cron.job SET database = 'under its old name' WHERE jobid = :jobid;
SELECT status, detail, replace(hint, :'jobid', 'N') AS hint FROM wee5_cron.doctor() WHERE check_name = 'job_database';
DELETE FROM cron.job;
-- ... which has no name itself.
SELECT pg_temp.job(NULL, $$SELECT invoke_cron_endpoint('/x')$$) AS jobid \gset
UPDATE cron.job SET database = 'under its old name' WHERE jobid = :jobid;
SELECT replace(detail, :'jobid', 'N') AS detail FROM wee5_cron.doctor() WHERE check_name = 'job_database';
DELETE FROM cron.job;
SELECT check_name, status, detail FROM wee5_cron.doctor() WHERE check_name IN ('job_owner', 'job_schedule', 'job_command', 'job_database');
ROLLBACK;

-- Without pg_cron here: a job that called every minute and then stopped, one that still calls, and one run only by run_now().
DROP EXTENSION pg_cron;
BEGIN;
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, scheduled_at, finished_at)
SELECT j.name, '/' || j.name, 'builtin', 'succeeded', t, CASE j.name WHEN 'by-hand' THEN t END, now()
FROM (VALUES ('silent', 20), ('calls', 1), ('by-hand', 20), ('hourly', 20)) AS j (name, minutes_ago), generate_series(0, 4) n,
     LATERAL (SELECT now() - j.minutes_ago * interval '1 minute' - n * CASE j.name WHEN 'hourly' THEN interval '1 hour' ELSE interval '1 minute' END AS t) t
ORDER BY t;
SELECT job_name, state FROM wee5_cron.job_status ORDER BY 1;
SELECT status, regexp_replace(detail, '[0-9]{4}-[0-9-]+ [0-9:]+', 'T') AS detail, hint FROM wee5_cron.doctor() WHERE check_name = 'jobs_made';
-- Jobs that rest at night, or on two days of the week, and one that called around the clock for more than a week and has stopped.
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, finished_at)
SELECT c.name, '/' || c.name, 'builtin', 'succeeded', c.at, now()
FROM (SELECT 'rests-at-night', date_trunc('hour', now()) - interval '2 hours 15 minutes' - day * interval '1 day' - n * interval '15 minutes'
      FROM generate_series(0, 2) day, generate_series(0, 35) n
      UNION ALL
      SELECT 'rests-for-days', date_trunc('hour', now()) - interval '49 hours' - day * interval '1 day' FROM generate_series(0, 4) day
      UNION ALL
      SELECT 'stopped', now() - interval '100 minutes' - n * interval '15 minutes' FROM generate_series(0, 800) n) AS c (name, at)
ORDER BY c.at;
SELECT job_name, state FROM wee5_cron.job_status WHERE job_name ~ '^(rests|stopped)' ORDER BY 1;
DELETE FROM wee5_cron.invocation WHERE job_name ~ '^(rests|stopped)';
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, finished_at) VALUES ('silent', '/silent', 'builtin', 'succeeded', now());
SELECT job_name, state FROM wee5_cron.job_status ORDER BY 1;
SELECT status, detail FROM wee5_cron.doctor() WHERE check_name = 'jobs_made';
ROLLBACK;
SELECT wee5_cron.watch_jobs() IS NULL AS nothing_to_watch;

DROP EXTENSION wee5_cron;
DROP OWNED BY regress_one, regress_two;
DROP ROLE regress_one, regress_two;
