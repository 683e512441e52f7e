-- pg_cron keeps a row for each of the 1,440 runs of harvest() a day. This deletes those that succeeded.
CREATE FUNCTION wee5_cron.prune_own_runs() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN;
  END IF;
  EXECUTE $query$
    DELETE FROM cron.job_run_details d
    WHERE d.runid = ANY (ARRAY(
      SELECT r.runid FROM (SELECT * FROM cron.job_run_details n ORDER BY n.runid DESC LIMIT 500) r
      WHERE r.status = 'succeeded' AND r.end_time < now() - interval '10 minutes'
        AND r.jobid = (SELECT j.jobid FROM wee5_cron.job j WHERE j.job_name = 'wee5-cron-harvest')))
  $query$;
EXCEPTION WHEN insufficient_privilege THEN
  NULL;  -- the history grows, and doctor() says how large it is
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_own_runs() IS 'Internal, for harvest(): deletes its own runs from pg_cron''s history';
