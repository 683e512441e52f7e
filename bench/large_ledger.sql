-- Fills the ledger as :days days of traffic would: :rows finished calls of :jobs jobs that run every few minutes, one call in
-- a hundred failed, each with its run in pg_cron's history. A worker is stopped meanwhile (wee5_cron.enabled = off).
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
SET maintenance_work_mem = '1GB';

DELETE FROM cron.job;
TRUNCATE wee5_cron.invocation, wee5_cron.attempt, wee5_cron.newest_call, wee5_cron.cron_caller, wee5_cron.job_watch,
         wee5_cron.trouble, wee5_cron.pending_alert, cron.job_run_details;

-- The jobs become active once all rows are there.
BEGIN;
SELECT cron.schedule(format('job-%s', n), '* * * * *', format('SELECT invoke_cron_endpoint(%L)', '/api/job/' || n))
FROM generate_series(1, :jobs) n \g /dev/null
UPDATE cron.job SET active = false;
COMMIT;

-- The indexes are built afterwards, which takes a third of the time.
CREATE TEMPORARY TABLE built_later AS
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i
WHERE i.indrelid IN ('wee5_cron.invocation'::regclass, 'wee5_cron.attempt'::regclass) AND NOT i.indisprimary;
SELECT format('DROP INDEX %s', name) FROM built_later \gexec

INSERT INTO wee5_cron.invocation (id, job_name, endpoint_path, transport, status, reason, error, http_status, attempts,
    requested_at, scheduled_at, first_sent_at, finished_at, duration, cron_run_id, response_content_type, response_body)
SELECT n, 'job-' || job, '/api/job/' || job, :'transport', CASE WHEN failed THEN 'failed' ELSE 'succeeded' END,
       CASE WHEN failed THEN 'http' END, CASE WHEN failed THEN 'HTTP 500 Internal Server Error' END,
       CASE WHEN failed THEN 500 ELSE 200 END, 1, at, date_trunc('minute', at), at, at + took, took, n,
       'application/json', '{"ok":true}'
FROM (SELECT n, 1 + n % :jobs AS job, n % 101 = 0 AS failed,
             now() - interval '1 day' * :days + n * (interval '1 day' * :days / :rows) AS at,
             (20 + n % 211) * interval '1 millisecond' AS took
      FROM generate_series(1::bigint, :rows) n) call;
INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status, reason, total_ms)
SELECT i.id, 1, i.first_sent_at, i.finished_at, i.http_status, i.reason, 50 FROM wee5_cron.invocation i;
SELECT setval('wee5_cron.invocation_id_seq', :rows) \g /dev/null

INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time)
SELECT j.jobid, i.id, 1, current_database(), j.username, j.command, 'succeeded', '1 row', i.requested_at, i.requested_at
FROM wee5_cron.invocation i JOIN cron.job j ON j.jobname = i.job_name;
SELECT setval('cron.runid_seq', :rows) \g /dev/null

SELECT definition FROM built_later \gexec
VACUUM (ANALYZE) wee5_cron.invocation;
VACUUM (ANALYZE) wee5_cron.attempt;
VACUUM (ANALYZE) cron.job_run_details;
CHECKPOINT;
UPDATE cron.job SET active = true;
