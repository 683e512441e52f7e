\set ON_ERROR_STOP on
SET synchronous_commit = off;
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time)
SELECT j.jobid, c.n, 1, current_database(), j.username, j.command, 'succeeded', '1 row', c.at, c.at
FROM bench_call c JOIN cron.job j ON j.jobname = 'job-' || c.job;
SELECT setval('cron.runid_seq', max(n)) FROM bench_call \g /dev/null
VACUUM (ANALYZE) cron.job_run_details;
