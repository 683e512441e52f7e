-- doctor(): what the calls came to lately, and how much of the past is kept.

-- The statement that a hint of the ledger ends with. Only where all of it is ours: a path that a caller chose stands in
-- a hint, too, and must not become SQL that an administrator pastes.
CREATE FUNCTION wee5_cron.doctor_outcome_hint(reason text, hint text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(
      (SELECT format(E'ALTER DATABASE %I SET app.settings.api_url = %L;\n', current_database(), m[1])
       FROM regexp_match(hint, '^Call the address that the app redirects to: ALTER DATABASE \.\.\. SET '
                               'app\.settings\.api_url = ''(https?://[[:alnum:]./:_~%-]+)''$') AS m
       WHERE reason = 'redirect' AND m IS NOT NULL),
      (SELECT format(E'ALTER DATABASE %I SET wee5_cron.request_timeout = %L;\n', current_database(), m[1])
       FROM regexp_match(hint, 'ALTER DATABASE \.\.\. SET wee5_cron\.request_timeout = ''(\d+s)''\.$') AS m
       WHERE reason = 'timeout' AND m IS NOT NULL), '')
    || wee5_cron.doctor_comment(hint)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_outcome_hint(text, text) IS
  'Internal, of doctor(): the hint of a ledger row, for pasting into psql';

-- Calls whose last attempt failed and that have not ended: most wait for their next attempt, some have its turn, and some
-- are on the wire again. The index of what waits is read in the order of time; of what has its turn, which may be very
-- much, the front is read.
CREATE FUNCTION wee5_cron.doctor_retrying() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
  AS $$
DECLARE
  call record;
  lines bigint := 0;
BEGIN
  FOR call IN
    WITH waiting AS MATERIALIZED (
      SELECT i.id, i.job_name, i.endpoint_path, i.attempts, i.next_attempt_at, i.reason, i.error, i.hint
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.next_attempt_at IS NOT NULL
      ORDER BY i.next_attempt_at LIMIT 10000
    ), taking_its_turn AS MATERIALIZED (
      SELECT i.id, i.job_name, i.endpoint_path, i.attempts, i.next_attempt_at, i.reason, i.error, i.hint
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL
      ORDER BY i.transport, split_part(i.endpoint_path, '?', 1) COLLATE "C", i.id LIMIT 10000
    )
    SELECT DISTINCT ON (r.endpoint_path, r.job_name) r.*,
           count(*) OVER (PARTITION BY r.endpoint_path, r.job_name) AS calls,
           (SELECT a.finished_at FROM wee5_cron.attempt a
            WHERE a.invocation_id = r.id ORDER BY a.attempt DESC LIMIT 1) AS failed_at
    FROM (SELECT * FROM waiting UNION ALL SELECT * FROM taking_its_turn) r
    WHERE r.reason IS NOT NULL
    ORDER BY r.endpoint_path, r.job_name, r.id DESC
  LOOP
    lines := lines + 1;
    CONTINUE WHEN lines > 50;
    RETURN NEXT ('retrying', 'warning',
                 format('call %s of %s%s failed%s and is retried%s%s: %s', call.id, left(call.endpoint_path, 200),
                        coalesce(' by job "' || call.job_name || '"', ''),
                        to_char(call.failed_at, '" at "YYYY-MM-DD HH24:MI:SS'),
                        CASE WHEN call.next_attempt_at > now() THEN to_char(call.next_attempt_at, '" at "YYYY-MM-DD HH24:MI:SS')
                             ELSE ' now' END,
                        CASE WHEN call.calls > 1 THEN format(' (and %s more of this path)', call.calls - 1) END,
                        coalesce(call.error, call.reason)),
                 coalesce(wee5_cron.doctor_outcome_hint(call.reason, call.hint),
                          format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call.id)))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('retrying', 'ok', 'no call is being retried', NULL)::wee5_cron.finding;
  ELSIF lines > 50 THEN
    RETURN NEXT ('retrying', 'warning', format('%s more paths', lines - 50),
                 'SELECT * FROM wee5_cron.invocation WHERE finished_at IS NULL AND reason IS NOT NULL'
                 ' ORDER BY id DESC LIMIT 100;')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_retrying() IS
  'Internal, of doctor(): calls that failed and are retried, with the error of the last attempt';

CREATE FUNCTION wee5_cron.doctor_last_outcome() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  fine bigint := 0;
  lines bigint := 0;
  errors_left_out boolean := false;
BEGIN
  -- The newest call of each job that there is, however old; and of each path that was called by hand within a day, as
  -- far as that is among the newest calls.
  FOR call IN
    WITH of_job AS MATERIALIZED (
      SELECT newest.*
      FROM wee5_cron.jobs_that_call() j
      CROSS JOIN LATERAL (
        SELECT r.id, r.job_name, r.endpoint_path, r.status, r.reason, r.error, r.hint, r.finished_at
        FROM (
          -- A range and not an equality: with that the planner may walk the primary key instead, through all other rows.
          SELECT i.* FROM wee5_cron.invocation i
          WHERE i.job_name >= j.job_name AND i.job_name <= j.job_name
          ORDER BY i.job_name DESC, i.id DESC LIMIT 200) r
        WHERE r.finished_at IS NOT NULL AND r.status <> 'cancelled'
        ORDER BY r.job_name DESC, r.id DESC LIMIT 1) newest
    ), recent AS MATERIALIZED (
      SELECT i.id, i.job_name, i.endpoint_path, i.status, i.reason, i.error, i.hint, i.finished_at
      FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000
    ), by_hand AS (
      SELECT DISTINCT ON (r.endpoint_path) r.*
      FROM recent r
      WHERE r.job_name IS NULL AND r.finished_at > now() - interval '1 day' AND r.status <> 'cancelled'
      ORDER BY r.endpoint_path, r.id DESC
    )
    -- A path that was tried by hand after its job says more than the job's own.
    SELECT DISTINCT ON (c.endpoint_path, c.job_name) c.*
    FROM (SELECT o.* FROM of_job o
          WHERE NOT EXISTS (SELECT FROM by_hand h WHERE h.endpoint_path = o.endpoint_path AND h.id > o.id)
          UNION ALL SELECT h.* FROM by_hand h
          WHERE NOT EXISTS (SELECT FROM of_job o WHERE o.endpoint_path = h.endpoint_path AND o.id >= h.id)) c
    ORDER BY c.endpoint_path, c.job_name, c.id DESC
  LOOP
    IF call.status = 'succeeded' AND call.hint IS NULL OR call.reason = 'overlap' THEN
      fine := fine + 1;
      CONTINUE;
    END IF;
    lines := lines + 1;
    IF lines > 50 THEN
      errors_left_out := errors_left_out OR call.status <> 'succeeded';
      CONTINUE;
    END IF;
    RETURN NEXT ('last_outcome', CASE call.status WHEN 'succeeded' THEN 'warning' ELSE 'error' END,
                 format('call %s of %s%s, %s: %s', call.id, left(call.endpoint_path, 200),
                        coalesce(' by job "' || call.job_name || '"', ''),
                        to_char(call.finished_at, 'YYYY-MM-DD HH24:MI:SS'),
                        coalesce(call.error, CASE call.status WHEN 'succeeded' THEN 'succeeded, and yet:'
                                                              ELSE call.status END)
                        || CASE call.status WHEN 'succeeded' THEN ' ' || call.hint ELSE '' END),
                 coalesce(wee5_cron.doctor_outcome_hint(call.reason, call.hint),
                          format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call.id)))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('last_outcome', 'ok',
                 CASE fine WHEN 0 THEN 'no call has ended yet'
                           ELSE format('the newest finished calls of all %s paths are fine', fine) END,
                 NULL)::wee5_cron.finding;
  ELSIF lines > 50 THEN
    RETURN NEXT ('last_outcome', CASE WHEN errors_left_out THEN 'error' ELSE 'warning' END, format('%s more paths', lines - 50),
                 'SELECT * FROM wee5_cron.invocation WHERE status = ''failed'' OR status = ''succeeded'' AND hint IS NOT NULL'
                 ' ORDER BY id DESC LIMIT 100;')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_last_outcome() IS 'Internal, of doctor(): the newest outcome of each job and path';

-- How much of the past there is, and whether what is over goes.
CREATE FUNCTION wee5_cron.doctor_history(max_bytes bigint DEFAULT 1073741824, max_age interval DEFAULT '90 days')
  RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes bigint := pg_total_relation_size('wee5_cron.invocation') + pg_total_relation_size('wee5_cron.attempt');
  keep_succeeded constant interval := wee5_cron.kept_for('wee5_cron.keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('wee5_cron.keep_failed');
  said text := format('the ledger takes %s; calls that succeeded are kept %s, others %s', pg_size_pretty(bytes),
                      coalesce('for ' || justify_interval(keep_succeeded), 'for ever'),
                      coalesce('for ' || justify_interval(keep_failed), 'for ever'));
  overdue timestamptz;
  oldest timestamptz;
BEGIN
  -- A standby deletes nothing itself, and may not look at an unlogged table.
  IF NOT pg_is_in_recovery() THEN
    -- A day late is what the worker may be in trouble for; the newest calls of each job and route stay by right.
    SELECT min(i.finished_at) INTO overdue
    FROM (SELECT * FROM wee5_cron.invocation o ORDER BY o.id LIMIT 1000) i
    WHERE i.finished_at + CASE i.status WHEN 'succeeded' THEN keep_succeeded ELSE keep_failed END < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM wee5_cron.newest_call n
                      WHERE n.route = CASE WHEN i.job_name IS NULL THEN split_part(i.endpoint_path, '?', 1) ELSE '' END
                        AND n.job_name = coalesce(i.job_name, '')
                        AND i.id IN (n.run_id, n.success_id));
  END IF;
  IF overdue IS NOT NULL THEN
    RETURN NEXT ('ledger_history', 'warning', said || to_char(overdue, '"; but there are older ones, of "YYYY-MM-DD'),
                 E'SELECT wee5_cron.prune();\nVACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                 '-- the worker does so by itself; where there is none, let a job do it every night')::wee5_cron.finding;
  ELSIF bytes > max_bytes THEN
    RETURN NEXT ('ledger_history', 'warning', said,
                 format(E'ALTER DATABASE %I SET wee5_cron.keep_succeeded = ''1d'';\n'
                        'VACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                        '-- the worker deletes what is over then; VACUUM FULL gives the disk space back, while calls wait',
                        current_database()))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('ledger_history', 'ok', said, NULL)::wee5_cron.finding;
  END IF;

  IF NOT wee5_cron.pg_cron_installed() THEN
    RETURN NEXT ('pg_cron_history', 'ok', 'does not apply: pg_cron is not in this database', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  bytes := pg_total_relation_size('cron.job_run_details');
  -- The newest run of a job is its last, however old. Of a long history both ends are looked at.
  EXECUTE $query$
    WITH newest AS MATERIALIZED (
      SELECT n.jobid, max(n.runid) AS runid
      FROM (SELECT d.jobid, d.runid FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 20000) n GROUP BY n.jobid
    )
    SELECT coalesce(d.start_time, d.end_time)
    FROM (SELECT * FROM cron.job_run_details o ORDER BY o.runid LIMIT 1000) d
    JOIN newest n ON n.jobid = d.jobid AND n.runid > d.runid
    ORDER BY d.runid LIMIT 1
  $query$ INTO oldest;
  said := format('pg_cron''s history takes %s%s', pg_size_pretty(bytes),
                 coalesce(to_char(oldest, '", its oldest run is of "YYYY-MM-DD'), ''));
  IF bytes <= max_bytes AND (oldest IS NULL OR oldest >= now() - max_age) THEN
    RETURN NEXT ('pg_cron_history', 'ok', said, NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_history', 'warning', said,
                 E'SELECT wee5_cron.prune_cron_history(''30 days'');\nVACUUM cron.job_run_details;\n'
                 '-- docs/history.md has a job that does so every night')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_history(bigint, interval) IS
  'Internal, of doctor(): how much the ledger and pg_cron''s history take, and whether what is over goes';
