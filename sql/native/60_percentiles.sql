-- Percentiles of durations that are already in an array.

CREATE FUNCTION wee5_cron.percentiles(durations interval[], fractions double precision[]) RETURNS double precision[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_percentiles';
COMMENT ON FUNCTION wee5_cron.percentiles(interval[], double precision[]) IS
  'Internal, for job_status: percentile_cont(fractions) of the durations that are not NULL, in seconds; NULL if there are none';
