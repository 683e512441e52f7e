-- plan(), apply() and export_config().
\set SHOW_CONTEXT never
CREATE ROLE regress_admin SUPERUSER LOGIN;
CREATE ROLE regress_operator LOGIN;
SET SESSION AUTHORIZATION regress_admin;
CREATE EXTENSION pg_cron;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.grant_to('regress_operator', 'operate');
CREATE VIEW jobs AS
  SELECT c.jobname, c.schedule, c.command, c.username, c.active, j.jobid = c.jobid AS ours, j.applied, j.catch_up, j.pause_note
  FROM cron.job c LEFT JOIN wee5_cron.job j ON j.job_name = c.jobname ORDER BY c.jobname COLLATE "C";

-- plan() lists what apply() would do, and changes nothing.
SELECT '{"jobs": {
  "nightly": {"schedule": "15 3 * * *", "path": "/api/reports/it''s nightly?of=germany", "method": "post", "body": {"format": "pdf"},
              "headers": {"X-Tenant": "7"}, "timeout": "20 minutes", "max_attempts": 2, "retry_on": "transient",
              "retry_delays": ["10s", "1 min"], "retry_window": "2 hours", "overlap": "skip", "alert_after": 1, "note": "a report",
              "keep_succeeded": "1 day", "keep_failed": "60 days", "max_in_flight": 3, "max_response_bytes": 0, "catch_up": "none"},
  "poll": {"schedule": "*/30 * * * *", "path": "/api/poll"},
  "weekly": {"schedule": "0 9 * * 1", "path": "/api/weekly", "active": false}}}' AS config \gset
SELECT * FROM wee5_cron.plan(:'config');
TABLE jobs;
SELECT * FROM wee5_cron.apply(:'config');
TABLE jobs;
SELECT * FROM wee5_cron.endpoint;
-- There is nothing left to do, for what was applied as well as for what is exported.
SELECT * FROM wee5_cron.apply(:'config');
SELECT jsonb_pretty(wee5_cron.export_config());
SELECT * FROM wee5_cron.apply(wee5_cron.export_config());
SET intervalstyle = 'iso_8601';
SELECT wee5_cron.export_config()->'jobs'->'nightly'->'timeout' AS timeout, (SELECT count(*) FROM wee5_cron.plan(wee5_cron.export_config()));
RESET intervalstyle;

-- plan() shows what was changed by hand, and apply() restores it. A job that was paused by hand stays paused.
UPDATE wee5_cron.endpoint SET timeout = '25 minutes', max_attempts = NULL WHERE endpoint_path LIKE '/api/reports/%';
INSERT INTO wee5_cron.endpoint (endpoint_path, note) VALUES ('/api/other', 'not in the configuration');
SELECT cron.alter_job(jobid, schedule => '20 * * * *') FROM cron.job WHERE jobname = 'poll';
SELECT wee5_cron.pause('poll', 'the vendor is down');
SELECT wee5_cron.schedule('weekly', '0 9 * * 1', '/api/weekly/report') > 0 AS changed;
SELECT * FROM wee5_cron.plan(:'config');
SELECT * FROM wee5_cron.apply(:'config');
TABLE jobs;
SELECT * FROM wee5_cron.plan(:'config');
SELECT endpoint_path, timeout, max_attempts, note FROM wee5_cron.endpoint;
-- ... unless the configuration says that it is active.
SELECT * FROM wee5_cron.apply(jsonb_set(:'config', '{jobs,poll,active}', 'true'));
-- A key that is missing or null means the default. Equal intervals are no change.
SELECT * FROM wee5_cron.plan(jsonb_set(:'config' #- '{jobs,nightly,note}', '{jobs,nightly,overlap}', 'null'));
SELECT * FROM wee5_cron.plan(jsonb_set(:'config', '{jobs,nightly,timeout}', '"1200 s"'));
-- A job is deleted by hand.
SELECT cron.unschedule('weekly');
SELECT * FROM wee5_cron.apply(:'config');

-- apply() adopts jobs that it did not make if the configuration has them. It never removes any other.
SELECT wee5_cron.schedule('by hand', '5 5 * * *', '/api/by-hand') > 0 AS made;
SELECT cron.schedule_in_database('unknown to us', '6 6 * * *', 'SELECT public.invoke_cron_endpoint(''/api/unknown'');', current_database()) > 0 AS made;
SELECT cron.schedule_in_database('waits', '7 7 * * *', 'CALL wee5_cron.run(''/api/waits'')', current_database()) > 0 AS made;
SELECT jsonb_pretty(wee5_cron.export_config()->'jobs'->'unknown to us');
SELECT * FROM wee5_cron.plan(wee5_cron.export_config());
SELECT * FROM wee5_cron.apply('{"jobs": {
  "unknown to us": {"schedule": "6 6 * * *", "path": "/api/unknown"}, "waits": {"schedule": "8 7 * * *", "path": "/api/waits"}}}');
TABLE jobs;
SELECT * FROM wee5_cron.apply('{"jobs": {}}', prune => true);
TABLE jobs;
SELECT job_name, jobid IS NULL AS gone, applied FROM wee5_cron.job ORDER BY 1;
SELECT endpoint_path FROM wee5_cron.endpoint;
-- Nor does it remove a job that was made again by hand under the same name, or that calls another path by now.
SELECT count(*) FROM wee5_cron.apply(:'config');
SELECT cron.unschedule('poll');
SELECT cron.schedule_in_database('poll', '1 1 * * *', 'SELECT public.invoke_cron_endpoint(''/api/poll'')', current_database()) > 0 AS made;
SELECT cron.schedule_in_database('weekly', '2 2 * * *', 'SELECT public.invoke_cron_endpoint(''/api/mine'')', current_database()) > 0 AS changed;
SELECT * FROM wee5_cron.apply('{"jobs": {}}', prune => true);
SELECT jobname FROM cron.job ORDER BY 1;
SELECT wee5_cron.unschedule('weekly'), wee5_cron.unschedule('poll');

-- A registered job that was removed does not come back on its own.
SET wee5_cron.default_jobs = on;
SELECT wee5_cron.register_jobs();
SELECT * FROM wee5_cron.apply('{"jobs": {"daily-analytics": {"schedule": "0 0 * * *", "path": "/api/analytics/cron"}}}');
SELECT * FROM wee5_cron.apply('{"jobs": {}}', true);
SELECT wee5_cron.register_jobs();
SELECT wee5_cron.unregister_jobs();

-- Jobs belong to session_user. Each role has its own configuration.
SELECT wee5_cron.apply(:'config') IS NOT NULL AS applied;
SELECT cron.schedule_in_database('elsewhere', '1 1 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$, 'postgres') > 0 AS made;
SELECT cron.schedule_in_database('vacuum', '1 1 1 1 *', 'VACUUM', current_database()) > 0 AS made;
SET SESSION AUTHORIZATION regress_operator;
SELECT * FROM wee5_cron.apply('{"jobs": {"of the operator": {"schedule": "0 5 * * *", "path": "/api/x"}}}', prune => true);
SELECT wee5_cron.export_config();
SET SESSION AUTHORIZATION regress_admin;
SELECT username, jobname FROM cron.job ORDER BY 1, 2;
CREATE FUNCTION refused(config jsonb, without_pg_cron text = 'error') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  hint text;
BEGIN
  PERFORM wee5_cron.apply(config, without_pg_cron => without_pg_cron);
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  RETURN format(E'%s %s\n      %s', SQLSTATE, regexp_replace(SQLERRM, 'jobid \d+', 'jobid N'), regexp_replace(hint, 'jobid \d+', 'jobid N'));
END $$;
\pset tuples_only on
\pset format unaligned
SELECT refused(format('{"jobs": {%s: {"schedule": "2 2 2 2 *", "path": "/mine"}}}', to_json(name))::jsonb)
FROM unnest('{of the operator,elsewhere,vacuum}'::text[]) AS name;

-- Errors name the place in the document and the nearest known key.
SELECT refused(NULL);
SELECT refused(:'config', 'ignore');
SELECT refused(config::jsonb) FROM (VALUES
  (1, '[]'), (2, '{}'), (3, '{"jbos": {}}'), (4, '{"jobs": []}'), (5, '{"jobs": {"": {}}}'), (6, '{"jobs": {"a": "/x"}}'),
  (7, '{"jobs": {"a": {"schedule": "* * * * *"}}}'), (8, '{"jobs": {"a": {"path": "/x"}}}'),
  (9, '{"jobs": {"a": {"schedule": "* * * *", "path": "/x"}}}'), (10, '{"jobs": {"my job": {"schedule": 5, "path": "/x"}}}'),
  (11, '{"jobs": {"a": {"schedule": "* * * * *", "path": ["/x"]}}}')) AS c (n, config) ORDER BY n;
SELECT refused(jsonb_build_object('jobs', jsonb_build_object('my job', '{"schedule": "* * * * *", "path": "/x"}'::jsonb || keys::jsonb)))
FROM (VALUES
  (1, '{"timeot": "1s"}'), (2, '{"endpoint_path": "/y"}'), (3, '{"Retry_On": "never"}'), (4, '{"zzz": null}'),
  (5, '{"timeout": 30}'), (6, '{"timeout": "soon"}'), (7, '{"timeout": "0"}'), (8, '{"max_attempts": "2"}'),
  (9, '{"max_attempts": 2.5}'), (10, '{"max_attempts": 1e10}'), (11, '{"max_attempts": 0}'), (12, '{"retry_on": "sometimes"}'),
  (13, '{"retry_delays": "10s"}'), (14, '{"retry_delays": [10]}'), (15, '{"retry_delays": ["x"]}'), (16, '{"retry_delays": []}'),
  (17, '{"headers": {"Authorization": "x"}}'), (18, '{"headers": 5}'), (19, '{"body": 5}'), (20, '{"method": "BREW"}'),
  (21, '{"path": "https://evil.example/x"}'), (22, '{"active": "yes"}'), (23, '{"catch_up": "twice"}'), (24, '{"catch_up": true}'),
  (25, '{"overlap": "queu"}')) AS k (n, keys) ORDER BY n;
-- One path has one policy.
SELECT refused('{"jobs": {"b": {"schedule": "1 1 * * *", "path": "/x", "timeout": "1 min"}, "a": {"schedule": "2 2 * * *", "path": "/x"}}}');
SELECT refused('{"jobs": {"b": {"schedule": "1 1 * * *", "path": "/x?y=1", "body": 1, "method": "POST"},
                          "a": {"schedule": "2 2 * * *", "path": "/x?y=1", "body": 2, "method": "POST"}}}');
SELECT action, job_name FROM wee5_cron.plan('{"jobs": {
  "b": {"schedule": "1 1 * * *", "path": "/x", "timeout": "60 s", "catch_up": "none"},
  "a": {"schedule": "2 2 * * *", "path": "/x", "timeout": "1 min"}}}') WHERE action = 'create';
-- A path with a query and without keys has the defaults, even if its route has a policy.
\set queries '{"jobs": {"a": {"schedule": "1 1 1 1 *", "path": "/q?job=1"}, "b": {"schedule": "1 1 1 1 *", "path": "/q", "max_attempts": 1}, "c": {"schedule": "1 1 1 1 *", "path": "/q?job=3", "max_attempts": 1}}}'
SELECT action, job_name, detail FROM wee5_cron.apply(:'queries') WHERE action <> 'keep';
SELECT endpoint_path, max_attempts FROM wee5_cron.endpoint WHERE endpoint_path LIKE '/q%' ORDER BY 1;
SELECT action, job_name, detail FROM wee5_cron.plan(:'queries') WHERE action <> 'keep';
DELETE FROM wee5_cron.endpoint WHERE endpoint_path = '/q?job=1';
SELECT jsonb_path_query(wee5_cron.export_config(), '$.jobs.a');
SELECT action, job_name, detail FROM wee5_cron.plan(wee5_cron.export_config());
SELECT action, job_name, detail FROM wee5_cron.apply(:'queries') WHERE action <> 'keep';
SELECT wee5_cron.unschedule(name) FROM unnest('{a,b,c}'::text[]) name;
-- A path of a target is a path like any other.
\set targets '{"jobs": {"t": {"schedule": "1 1 1 1 *", "path": "billing:/t", "max_attempts": 1}}}'
SELECT action, job_name, detail FROM wee5_cron.apply(:'targets') WHERE action <> 'keep';
SELECT command FROM cron.job WHERE jobname = 't';
SELECT endpoint_path, max_attempts FROM wee5_cron.endpoint WHERE endpoint_path LIKE 'billing:%';
SELECT jsonb_path_query(wee5_cron.export_config(), '$.jobs.t');
SELECT count(*) FROM wee5_cron.plan(wee5_cron.export_config()) WHERE job_name = 't';
SELECT refused('{"jobs": {"t": {"schedule": "1 1 1 1 *", "path": "app:/t"}}}');
SELECT wee5_cron.unschedule('t');
-- A name that pg_cron would cut could become the name of another job.
SELECT cron.schedule_in_database(repeat('n', 63), '1 1 1 1 *', 'VACUUM', current_database()) > 0 AS made;
SELECT left(refused(jsonb_build_object('jobs', jsonb_build_object(repeat('n', 64), '{"schedule": "1 1 1 1 *", "path": "/x"}'::jsonb))), 34);
SELECT command, cron.unschedule(jobid) FROM cron.job WHERE jobname = repeat('n', 63);
-- Jobs that a document cannot hold are left out.
SELECT cron.schedule_in_database('', '1 1 1 1 *', 'SELECT public.invoke_cron_endpoint(''/x'')', current_database()) > 0 AS made;
SELECT cron.schedule_in_database('bad path', '1 1 1 1 *', 'SELECT public.invoke_cron_endpoint(''//x'')', current_database()) > 0 AS made;
SELECT cron.schedule_in_database('null', '1 1 1 1 *', 'SELECT public.invoke_cron_endpoint(''/null'')', current_database()) > 0 AS made;
INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/null', 'POST', 'null');
SELECT wee5_cron.export_config()->'jobs' ?| '{"",bad path,null}' AS exported;
SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname IN ('', 'bad path', 'null');
-- Columns of a type that has no equality. A session that has called plan() before keeps its plans: hence the new ones.
ALTER TABLE wee5_cron.endpoint ALTER note TYPE json USING to_json(note), ADD COLUMN owners json;
\c -
SET SESSION AUTHORIZATION regress_admin;
\set owned '{"jobs": {"a": {"schedule": "1 1 1 1 *", "path": "/owned", "note": {"team": 1}, "owners": ["me"]}}}'
SELECT action, job_name, detail FROM wee5_cron.apply(:'owned') WHERE action <> 'keep';
SELECT action, job_name, detail FROM wee5_cron.plan(:'owned') WHERE action <> 'keep';
SELECT action, job_name, detail FROM wee5_cron.plan(replace(:'owned', '"me"', '"you"')::jsonb) WHERE action <> 'keep';
SELECT jsonb_path_query(wee5_cron.export_config(), '$.jobs.a');
SELECT action, job_name, detail FROM wee5_cron.plan(wee5_cron.export_config());
SELECT wee5_cron.unschedule('a');
DELETE FROM wee5_cron.endpoint WHERE endpoint_path = '/owned';
ALTER TABLE wee5_cron.endpoint ALTER note TYPE text USING note #>> '{}', DROP COLUMN owners;
\c -
SET SESSION AUTHORIZATION regress_admin;
-- A schedule that never fires.
SELECT action FROM wee5_cron.plan('{"jobs": {"a": {"schedule": "0 0 30 2 *", "path": "/x"}}}') WHERE action = 'create';

-- Without pg_cron.
SELECT cron.unschedule('elsewhere'), cron.unschedule('vacuum');
DROP VIEW jobs;
DROP EXTENSION pg_cron;
SELECT refused('{"jobs": {"b": {"schedule": "1 1 * * *", "path": "/x"}, "a": {"schedule": "2 2 * * *", "path": "/it''s"}}}');
SELECT refused('{"jobs": {"b": {"schedul": "1 1 * * *"}}}', 'notice');
SELECT * FROM wee5_cron.apply(:'config', without_pg_cron => 'notice');
SELECT * FROM wee5_cron.apply(:'config', without_pg_cron => 'notice');
SELECT * FROM wee5_cron.apply('{"jobs": {"x": {"schedule": "1 1 * * *", "path": "/x", "timeout": "1 min"}}}', true, 'notice');
SELECT * FROM wee5_cron.apply('{"jobs": {}}', true, 'notice');
SELECT job_name, jobid, endpoint_path, applied FROM wee5_cron.job WHERE job_name = 'x';
-- Once pg_cron is there, the jobs are made.
CREATE EXTENSION pg_cron;
SELECT * FROM wee5_cron.apply('{"jobs": {"x": {"schedule": "1 1 * * *", "path": "/x", "timeout": "1 min"}}}');
DROP EXTENSION wee5_cron;
SELECT count(*) FROM cron.job;
DROP EXTENSION pg_cron;
DROP FUNCTION refused(jsonb, text);
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_operator;
DROP ROLE regress_operator;
DROP OWNED BY regress_admin;
DROP ROLE regress_admin;
