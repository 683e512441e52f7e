-- doctor(): the newest outcomes, and how much history is kept.

-- The hint of a ledger row, for pasting. A hint may end with a statement. It is taken over only if all of it is ours: a
-- hint also contains a path that a caller chose, which must not become SQL that an administrator pastes.
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
  'Internal, for doctor(): the hint of a ledger row, for pasting into psql';

-- Calls whose last attempt failed and that have not ended. Most wait for their next attempt, some are due, some are in
-- flight again. The index of waiting calls is read in the order of time. Of the due calls, which may be very many, the
-- front is read.
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
      WHERE i.finished_at IS NULL AND i.next_attempt_at IS NOT NULL AND (i.next_attempt_at = i.due_at) IS NOT TRUE
      ORDER BY i.next_attempt_at LIMIT 10000
    ), due AS MATERIALIZED (
      SELECT i.id, i.job_name, i.endpoint_path, i.attempts, i.next_attempt_at, i.reason, i.error, i.hint
      FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL
      ORDER BY i.transport, split_part(i.endpoint_path, '?', 1) COLLATE "C", i.id LIMIT 10000
    )
    SELECT DISTINCT ON (r.endpoint_path, r.job_name) r.*,
           count(*) OVER (PARTITION BY r.endpoint_path, r.job_name) AS calls,
           (SELECT a.finished_at FROM wee5_cron.attempt a
            WHERE a.invocation_id = r.id ORDER BY a.attempt DESC LIMIT 1) AS failed_at
    FROM (SELECT * FROM waiting UNION ALL SELECT * FROM due) r
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
    RETURN NEXT ('retrying', 'warning', format('%s more paths are not listed', lines - 50),
                 'SELECT * FROM wee5_cron.invocation WHERE finished_at IS NULL AND reason IS NOT NULL'
                 ' ORDER BY id DESC LIMIT 100;')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_retrying() IS
  'Internal, for doctor(): calls that failed and are retried, with the error of the last attempt';

-- The newest finished call of each job, however old, and of each path that was called by hand within a day, as far as
-- it is among the newest calls. A path that was called by hand after its job says more than the job's own call.
CREATE FUNCTION wee5_cron.newest_outcomes(OUT id bigint, OUT job_name text, OUT endpoint_path text, OUT status text,
                                          OUT reason text, OUT error text, OUT hint text, OUT finished_at timestamptz)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH of_job AS MATERIALIZED (
      SELECT newest.*
      FROM wee5_cron.known_jobs() j
      CROSS JOIN LATERAL (
        SELECT r.id, r.job_name, r.endpoint_path, r.status, r.reason, r.error, r.hint, r.finished_at
        FROM (
          -- A range: for an equality the planner may walk the primary key instead, through all other rows.
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
    SELECT DISTINCT ON (c.endpoint_path, c.job_name) c.*
    FROM (SELECT o.* FROM of_job o
          WHERE NOT EXISTS (SELECT FROM by_hand h WHERE h.endpoint_path = o.endpoint_path AND h.id > o.id)
          UNION ALL SELECT h.* FROM by_hand h
          WHERE NOT EXISTS (SELECT FROM of_job o WHERE o.endpoint_path = h.endpoint_path AND o.id >= h.id)) c
    ORDER BY c.endpoint_path, c.job_name, c.id DESC
  $$;
COMMENT ON FUNCTION wee5_cron.newest_outcomes() IS 'Internal, for doctor(): the newest finished call of each job and path';

CREATE FUNCTION wee5_cron.doctor_last_outcome() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  fine bigint := 0;
  lines bigint := 0;
  errors_left_out boolean := false;
BEGIN
  FOR call IN SELECT * FROM wee5_cron.newest_outcomes() LOOP
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
                        CASE call.status WHEN 'succeeded' THEN 'succeeded, but: ' || call.hint
                                         ELSE coalesce(call.error, call.status) END),
                 coalesce(wee5_cron.doctor_outcome_hint(call.reason, call.hint),
                          format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call.id)))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('last_outcome', 'ok',
                 CASE fine WHEN 0 THEN 'no call has ended yet'
                           ELSE format('the newest finished call of every path is fine (paths: %s)', fine) END,
                 NULL)::wee5_cron.finding;
  ELSIF lines > 50 THEN
    RETURN NEXT ('last_outcome', CASE WHEN errors_left_out THEN 'error' ELSE 'warning' END,
                 format('%s more paths are not listed', lines - 50),
                 'SELECT * FROM wee5_cron.invocation WHERE status = ''failed'' OR status = ''succeeded'' AND hint IS NOT NULL'
                 ' ORDER BY id DESC LIMIT 100;')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_last_outcome() IS 'Internal, for doctor(): the newest outcome of each job and path';

-- How large the ledger is, and whether rows are deleted when their time is over.
CREATE FUNCTION wee5_cron.doctor_history(max_bytes bigint DEFAULT 1073741824) RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes constant bigint := pg_total_relation_size('wee5_cron.invocation') + pg_total_relation_size('wee5_cron.attempt');
  keep_succeeded constant interval := wee5_cron.kept_for('keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('keep_failed');
  summary constant text := format('the ledger takes %s; calls that succeeded are kept %s, others %s', pg_size_pretty(bytes),
                                  coalesce('for ' || justify_interval(keep_succeeded), 'for ever'),
                                  coalesce('for ' || justify_interval(keep_failed), 'for ever'));
  overdue timestamptz;
BEGIN
  -- A standby deletes nothing itself, and cannot read an unlogged table.
  IF NOT pg_is_in_recovery() THEN
    -- If rows are a day late, the worker may be in trouble. The newest calls of each job and route stay on purpose.
    SELECT min(i.finished_at) INTO overdue
    FROM wee5_cron.lifetimes(0, 1000, keep_succeeded, keep_failed) i
    WHERE i.expires_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM wee5_cron.newest_call n
                      WHERE n.route = CASE WHEN i.job_name IS NULL THEN i.route ELSE '' END
                        AND n.job_name = coalesce(i.job_name, '')
                        AND i.id IN (n.run_id, n.success_id));
  END IF;
  IF overdue IS NOT NULL THEN
    RETURN NEXT ('ledger_history', 'warning', summary || to_char(overdue, '"; but it still has calls from "YYYY-MM-DD'),
                 E'SELECT wee5_cron.prune();\nVACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                 '-- the worker does this on its own; without a worker, schedule a nightly job')::wee5_cron.finding;
  ELSIF bytes > max_bytes THEN
    RETURN NEXT ('ledger_history', 'warning', summary,
                 format(E'ALTER DATABASE %I SET wee5_cron.keep_succeeded = ''1d'';\n'
                        'VACUUM wee5_cron.invocation, wee5_cron.attempt;\n'
                        '-- the worker then deletes older rows; VACUUM FULL frees the disk space, but calls wait meanwhile',
                        current_database()))::wee5_cron.finding;
  ELSE
    RETURN NEXT ('ledger_history', 'ok', summary, NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_history(bigint) IS
  'Internal, for doctor(): how large the ledger is, and whether old rows are deleted';

CREATE FUNCTION wee5_cron.doctor_pg_cron_history(max_bytes bigint DEFAULT 1073741824, max_age interval DEFAULT '90 days')
  RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  history constant record := wee5_cron.cron_history_extent();
  summary constant text := format('pg_cron''s history takes %s%s', pg_size_pretty(history.bytes),
                                  to_char(history.oldest, '", its oldest run is from "YYYY-MM-DD'));
BEGIN
  IF history.bytes <= max_bytes AND (history.oldest IS NULL OR history.oldest >= now() - max_age) THEN
    RETURN NEXT ('pg_cron_history', 'ok', summary, NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_cron_history', 'warning', summary,
                 E'SELECT wee5_cron.prune_cron_history(''30 days'');\nVACUUM cron.job_run_details;\n'
                 '-- docs/history.md has a job that does so every night')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_cron_history(bigint, interval) IS
  'Internal, for doctor(): how large and how old pg_cron''s history is';
