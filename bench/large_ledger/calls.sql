\set ON_ERROR_STOP on
SET synchronous_commit = off;
INSERT INTO wee5_cron.invocation (id, job_name, endpoint_path, transport, status, reason, error, http_status, attempts,
    requested_at, scheduled_at, first_sent_at, finished_at, duration, cron_run_id, response_content_type, response_body)
SELECT n, 'job-' || job, '/api/job/' || job, :'transport', CASE WHEN failed THEN 'failed' ELSE 'succeeded' END,
       CASE WHEN failed THEN 'http' END, CASE WHEN failed THEN 'HTTP 500 Internal Server Error' END,
       CASE WHEN failed THEN 500 ELSE 200 END, 1, at, date_trunc('minute', at), at, at + took, took, n,
       'application/json', '{"ok":true}'
FROM bench_call;
SELECT setval('wee5_cron.invocation_id_seq', max(n)) FROM bench_call \g /dev/null
SET maintenance_work_mem = '1GB';
SELECT definition FROM bench_index WHERE of_table = 'wee5_cron.invocation'::regclass \gexec
VACUUM (ANALYZE) wee5_cron.invocation;
