-- Which run of pg_cron made which call.

-- pg_cron may commit the row of a run after the call that the run made. So this looks for the run when the call ends or the
-- app accepts it, and again until the run shows up. The operating system reuses pids, so the time of the run has to match, too.
-- start_time comes from pg_cron's clock, which pg_cron may read a moment after the job's transaction began.
CREATE FUNCTION wee5_cron.bind_cron_runs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bound bigint := 0;
BEGIN
  IF NOT EXISTS (SELECT FROM wee5_cron.cron_caller) THEN
    RETURN 0;
  END IF;
  IF wee5_cron.pg_cron_installed() THEN
    -- Dynamic SQL: the plan must not outlive the statistics in the session of the worker.
    EXECUTE $query$
      WITH run AS MATERIALIZED (
        SELECT r.* FROM wee5_cron.cron_runs_by_pid(ARRAY(SELECT c.pid FROM wee5_cron.cron_caller c)) r
      ), hit AS MATERIALIZED (
        SELECT c.invocation_id, max(run.runid) AS runid
        FROM wee5_cron.cron_caller c
        JOIN wee5_cron.invocation i ON i.id = c.invocation_id AND (i.finished_at IS NOT NULL OR i.status = 'accepted')
        JOIN run ON run.job_pid = c.pid AND run.username = i.requested_by
          AND run.start_time <= i.requested_at + interval '1 minute'
          AND (run.end_time IS NULL OR run.end_time >= i.requested_at - interval '1 minute')
        GROUP BY c.invocation_id
      ), locked AS MATERIALIZED (
        SELECT i.id, hit.runid
        FROM hit
        JOIN wee5_cron.cron_caller c ON c.invocation_id = hit.invocation_id
        JOIN wee5_cron.invocation i ON i.id = hit.invocation_id
        FOR UPDATE OF c, i SKIP LOCKED
      ), done AS (
        DELETE FROM wee5_cron.cron_caller c USING locked WHERE c.invocation_id = locked.id
      )
      UPDATE wee5_cron.invocation i SET cron_run_id = locked.runid FROM locked WHERE i.id = locked.id
    $query$;
    GET DIAGNOSTICS bound = ROW_COUNT;
  END IF;
  -- The run never showed up: cron.log_run is off, or somebody deleted pg_cron's history.
  DELETE FROM wee5_cron.cron_caller c
  WHERE c.invocation_id IN (
    SELECT o.invocation_id
    FROM wee5_cron.cron_caller o
    LEFT JOIN wee5_cron.invocation i ON i.id = o.invocation_id
    WHERE i.id IS NULL OR i.finished_at < clock_timestamp() - interval '1 minute'
       OR i.status = 'accepted' AND clock_timestamp() - interval '1 minute'
         > ALL (SELECT a.finished_at FROM wee5_cron.attempt a WHERE a.invocation_id = i.id)
    FOR UPDATE OF o SKIP LOCKED);
  RETURN bound;
END
$$;
COMMENT ON FUNCTION wee5_cron.bind_cron_runs() IS
  'Internal, for the worker and harvest(): sets invocation.cron_run_id of the calls whose run pg_cron has logged';
