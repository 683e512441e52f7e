\set ON_ERROR_STOP on
DROP TABLE bench_index;
DROP VIEW bench_call;
CHECKPOINT;
UPDATE cron.job SET active = true;
