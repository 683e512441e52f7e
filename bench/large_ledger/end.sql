\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET maintenance_work_mem = '1GB';
SELECT definition FROM bench_index \gexec
DROP TABLE bench_index;
DROP VIEW bench_call;
VACUUM (ANALYZE) wee5_cron.invocation;
VACUUM (ANALYZE) wee5_cron.attempt;
VACUUM (ANALYZE) cron.job_run_details;
CHECKPOINT;
UPDATE cron.job SET active = true;
