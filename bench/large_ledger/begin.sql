-- Prepares a ledger as :days days of traffic leave it: :rows finished calls of :jobs jobs that run every few minutes, one
-- call in a hundred failed, each with its run in pg_cron's history. A worker is stopped meanwhile
-- (wee5_cron.enabled = off). Then calls.sql, attempts.sql and runs.sql fill a table each, build its indexes and clean it
-- up, at the same time; end.sql comes last.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

DELETE FROM cron.job;
TRUNCATE wee5_cron.invocation, wee5_cron.attempt, wee5_cron.newest_call, wee5_cron.cron_caller, wee5_cron.job_watch,
         wee5_cron.trouble, wee5_cron.pending_alert, cron.job_run_details;

-- The jobs become active once all rows are there.
BEGIN;
SELECT cron.schedule(format('job-%s', n), '* * * * *', format('SELECT invoke_cron_endpoint(%L)', '/api/job/' || n))
FROM generate_series(1, :jobs) n \g /dev/null
UPDATE cron.job SET active = false;
COMMIT;

-- What the tables have in common. now() is that of this moment in all of them.
SELECT format($$
  CREATE OR REPLACE VIEW bench_call AS
  SELECT n, 1 + n %% %1$s AS job, n %% 101 = 0 AS failed,
         %2$L::timestamptz - interval '1 day' * %3$s + n * (interval '1 day' * %3$s / %4$s) AS at,
         (20 + n %% 211) * interval '1 millisecond' AS took
  FROM generate_series(1::bigint, %4$s) n $$, :jobs, now(), :days, :rows) \gexec

-- Indexes that are built afterwards take a third of the time.
DROP TABLE IF EXISTS bench_index;
CREATE TABLE bench_index AS
SELECT i.indrelid AS of_table, i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i
WHERE i.indrelid IN ('wee5_cron.invocation'::regclass, 'wee5_cron.attempt'::regclass) AND NOT i.indisprimary;
SELECT format('DROP INDEX %s', name) FROM bench_index \gexec
