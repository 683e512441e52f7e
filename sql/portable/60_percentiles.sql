-- Percentiles of durations that are already in an array. The twin of src/core/outcome/percentile.cpp.

CREATE FUNCTION wee5_cron.percentiles(durations interval[], fractions double precision[]) RETURNS double precision[]
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT percentile_cont(fractions) WITHIN GROUP (ORDER BY date_part('epoch', duration)) FROM unnest(durations) AS d (duration) $$;
COMMENT ON FUNCTION wee5_cron.percentiles(interval[], double precision[]) IS
  'Internal, for job_status: percentile_cont(fractions) of the durations that are not NULL, in seconds; NULL if there are none';
