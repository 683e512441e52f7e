-- Percentiles of numbers that are already in an array.

CREATE FUNCTION wee5_cron.percentiles(numbers double precision[], fractions double precision[]) RETURNS double precision[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_percentiles';
COMMENT ON FUNCTION wee5_cron.percentiles(double precision[], double precision[]) IS
  'Internal, for job_status: the same as percentile_cont(fractions) of the numbers that are not NULL; NULL if there are none';
