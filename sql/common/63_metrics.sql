-- The view metrics, for exporters. Each of three functions measures a group of metrics. A query for metrics of one group does
-- not run the others: the list of names is filtered first, and a join with an empty list reads nothing more.

-- Labels are the job's name and owner, never a path or an id of a call.
CREATE FUNCTION wee5_cron.job_metrics(OUT name text, OUT labels jsonb, OUT value float8) RETURNS SETOF record
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
DECLARE
  owners jsonb := '{}';
BEGIN
  IF wee5_cron.pg_cron_installed() THEN
    EXECUTE 'SELECT jsonb_object_agg(j.jobid, j.username) FROM cron.job j WHERE j.database = current_database()' INTO owners;
  END IF;
  RETURN QUERY
    WITH trouble AS MATERIALIZED (
      SELECT 'failing' AS kind, f.* FROM wee5_cron.failing_jobs() f
      UNION ALL SELECT 'late', l.* FROM wee5_cron.late_jobs() l
      UNION ALL SELECT 'waiting', w.* FROM wee5_cron.waiting_jobs() w
    ), job AS (
      -- The name of a job that has one may look like the jobid of one that has none.
      SELECT DISTINCT ON (1) jsonb_build_object('job', coalesce(s.job_name, '#' || s.jobid),
                                                'owner', coalesce(owners->>(s.jobid::text), '')) AS labels, s.*,
             coalesce((SELECT array_agg(t.kind) FROM trouble t
                       WHERE t.jobid = s.jobid OR s.jobid IS NULL AND t.label = s.job_name), '{}') AS troubles
      FROM wee5_cron.job_status_rows() s ORDER BY 1, s.job_name
    )
    SELECT m.name, j.labels || m.more, m.value
    FROM job j CROSS JOIN LATERAL (VALUES
      ('wee5_cron_job_last_success_timestamp_seconds', '{}'::jsonb, extract(epoch FROM j.last_success_at)::float8),
      ('wee5_cron_job_last_run_timestamp_seconds', '{}', extract(epoch FROM j.last_finished_at)::float8),
      ('wee5_cron_job_next_run_timestamp_seconds', '{}', extract(epoch FROM j.next_run)::float8),
      ('wee5_cron_job_consecutive_failures', '{}', j.consecutive_failures::float8),
      ('wee5_cron_job_failing', '{}', ('failing' = ANY (j.troubles))::int::float8),
      ('wee5_cron_job_late', '{}', ('late' = ANY (j.troubles))::int::float8),
      ('wee5_cron_job_waiting', '{}', ('waiting' = ANY (j.troubles))::int::float8),
      ('wee5_cron_job_paused', '{}', (j.state = 'paused')::int::float8),
      ('wee5_cron_job_missed_runs_total', '{}', j.missed_runs::float8),
      ('wee5_cron_job_success_ratio', '{}', j.success_rate_24h::float8),
      ('wee5_cron_job_duration_seconds', '{"quantile": "0.5"}', extract(epoch FROM j.p50_24h)::float8),
      ('wee5_cron_job_duration_seconds', '{"quantile": "0.95"}', extract(epoch FROM j.p95_24h)::float8)
    ) AS m (name, more, value)
    WHERE m.value IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.job_metrics() IS 'Internal, for the view metrics: what is measured of each job';

CREATE FUNCTION wee5_cron.call_metrics(OUT name text, OUT labels jsonb, OUT value float8) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
    SELECT 'wee5_cron_calls_24h', jsonb_build_object('status', s.status), coalesce(c.calls, 0)::float8
    FROM unnest('{queued,sending,retrying,accepted,succeeded,failed,skipped,cancelled}'::text[]) AS s (status)
    LEFT JOIN (SELECT i.status, count(*) AS calls FROM wee5_cron.invocation i
               WHERE i.id > wee5_cron.ended_before(now() - interval '24 hours') AND i.requested_at > now() - interval '24 hours'
                 AND (i.next_attempt_at = i.due_at) IS NOT TRUE
               GROUP BY i.status) c ON c.status = s.status
  $$;
COMMENT ON FUNCTION wee5_cron.call_metrics() IS 'Internal, for the view metrics: the calls of the last day by their status';

-- Metrics that an edition or transport does not count are left out.
CREATE FUNCTION wee5_cron.server_metrics(OUT name text, OUT labels jsonb, OUT value float8) RETURNS SETOF record
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
DECLARE
  worker record;
  oldest constant timestamptz := least(wee5_cron.oldest_queued(), wee5_cron.oldest_at_pg_net());
BEGIN
  SELECT s.* INTO worker FROM wee5_cron.worker_slots() s WHERE s.datid = wee5_cron.database_oid();
  RETURN QUERY
    SELECT m.name, m.labels, m.value
    FROM (VALUES
      ('wee5_cron_build_info', jsonb_build_object('version', wee5_cron.library_version(), 'edition', wee5_cron.edition()), 1::float8),
      ('wee5_cron_armed', '{}', (wee5_cron.has_mark() AND wee5_cron.is_armed())::int::float8),
      ('wee5_cron_enabled', '{}', (wee5_cron.setting('enabled') <> 'off')::int::float8),
      ('wee5_cron_worker_up', '{}', (wee5_cron.worker_health() <> 'down')::int::float8),
      ('wee5_cron_worker_sent_total', '{}', worker.sent::float8),
      ('wee5_cron_worker_succeeded_total', '{}', worker.succeeded::float8),
      ('wee5_cron_worker_failed_total', '{}', worker.failed::float8),
      ('wee5_cron_worker_in_flight', '{}', worker.in_flight::float8),
      ('wee5_cron_queue_length', '{}', ((SELECT count(*) FROM wee5_cron.invocation i
                                         WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL AND i.status = 'queued')
                                        + (SELECT count(*) FROM wee5_cron.invocation i
                                           WHERE i.finished_at IS NULL AND i.next_attempt_at <= now() AND i.status = 'queued'))::float8),
      ('wee5_cron_queue_age_seconds', '{}', greatest(0, coalesce(extract(epoch FROM clock_timestamp() - oldest), 0))::float8)
    ) AS m (name, labels, value)
    WHERE m.value IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.server_metrics() IS 'Internal, for the view metrics: the queue, the worker, and whether calls are switched on';

CREATE VIEW wee5_cron.metrics AS
  SELECT d.name, m.labels, m.value, d.type, d.help
  FROM (VALUES
    ('wee5_cron_job_last_success_timestamp_seconds', 'gauge', 'When a call of the job last succeeded'),
    ('wee5_cron_job_last_run_timestamp_seconds', 'gauge', 'When a call of the job last ended'),
    ('wee5_cron_job_next_run_timestamp_seconds', 'gauge', 'When pg_cron starts the job next; absent while it is paused'),
    ('wee5_cron_job_consecutive_failures', 'gauge', 'Failed calls and runs since the last success'),
    ('wee5_cron_job_failing', 'gauge', '1 if the job has failed alert_after times in a row'),
    ('wee5_cron_job_late', 'gauge', '1 if the newest due run was missed, and the job has not run since'),
    ('wee5_cron_job_waiting', 'gauge', '1 if calls are skipped while an earlier call waits to be retried'),
    ('wee5_cron_job_paused', 'gauge', '1 if pg_cron does not start the job'),
    ('wee5_cron_job_missed_runs_total', 'counter', 'Due runs that were missed since wee5_cron first saw the job'),
    ('wee5_cron_job_success_ratio', 'gauge', 'Share of the calls of the last 24 hours that succeeded, 0 to 1'),
    ('wee5_cron_job_duration_seconds', 'gauge', 'Quantiles of the duration of the calls that succeeded in the last 24 hours')
  ) AS d (name, type, help)
  JOIN wee5_cron.job_metrics() m ON m.name OPERATOR(pg_catalog.=) d.name
  UNION ALL
  SELECT d.name, m.labels, m.value, d.type, d.help
  FROM (VALUES
    ('wee5_cron_calls_24h', 'gauge', 'Calls that were made in the last 24 hours, by their status now')
  ) AS d (name, type, help)
  JOIN wee5_cron.call_metrics() m ON m.name OPERATOR(pg_catalog.=) d.name
  UNION ALL
  SELECT d.name, m.labels, m.value, d.type, d.help
  FROM (VALUES
    ('wee5_cron_build_info', 'gauge', 'Version and edition of wee5_cron; the value is always 1'),
    ('wee5_cron_armed', 'gauge', '1 if this database is armed'),
    ('wee5_cron_enabled', 'gauge', '1 if wee5_cron.enabled is on'),
    ('wee5_cron_worker_up', 'gauge', '1 if the worker is up or asleep; in the portable edition and without the preload, if pg_net and the job wee5-cron-harvest run'),
    ('wee5_cron_worker_sent_total', 'counter', 'Requests sent since the server started'),
    ('wee5_cron_worker_succeeded_total', 'counter', 'Calls that succeeded since the server started'),
    ('wee5_cron_worker_failed_total', 'counter', 'Calls that failed since the server started'),
    ('wee5_cron_worker_in_flight', 'gauge', 'Requests in flight'),
    ('wee5_cron_queue_length', 'gauge', 'Calls that are due and have not begun'),
    ('wee5_cron_queue_age_seconds', 'gauge', 'How long the oldest call has waited that is due and has not begun')
  ) AS d (name, type, help)
  JOIN wee5_cron.server_metrics() m ON m.name OPERATOR(pg_catalog.=) d.name;
COMMENT ON VIEW wee5_cron.metrics IS
  'Metrics for an exporter, one row per value, unique by name and labels. Names and units as Prometheus has them. No label is a path, or the id of a call';
COMMENT ON COLUMN wee5_cron.metrics.name IS 'Name of the metric, with its unit at the end if it has one';
COMMENT ON COLUMN wee5_cron.metrics.labels IS 'Labels: of metrics of a job, job and owner; if the job has no name, job is # and its jobid';
COMMENT ON COLUMN wee5_cron.metrics.value IS 'The value; durations are in seconds, times in seconds since 1970';
COMMENT ON COLUMN wee5_cron.metrics.type IS 'gauge or counter';
COMMENT ON COLUMN wee5_cron.metrics.help IS 'What is measured';
