\set ON_ERROR_STOP on
SET synchronous_commit = off;
INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status, reason, total_ms)
SELECT n, 1, at, at + took, CASE WHEN failed THEN 500 ELSE 200 END, CASE WHEN failed THEN 'http' END, 50 FROM bench_call;
SET maintenance_work_mem = '1GB';
SELECT definition FROM bench_index WHERE of_table = 'wee5_cron.attempt'::regclass \gexec
VACUUM (ANALYZE) wee5_cron.attempt;
