-- Alerts: when calls of a path fail in a row, when a job is late, and when that is over; once each. The transaction
-- that records a result also records the alert. Another transaction sends it, so that a failure to send (a full NOTIFY
-- queue, for example) does not stop results from being recorded.

-- The current troubles. A path whose calls succeed has no row here, and costs nothing.
CREATE TABLE wee5_cron.trouble (
  kind text CHECK (kind IN ('failing', 'late')),
  name text COLLATE "C",
  failures int NOT NULL DEFAULT 0,
  since timestamptz NOT NULL,
  told boolean NOT NULL DEFAULT false,
  last_failed_at timestamptz,
  by_job boolean NOT NULL DEFAULT false,
  told_at timestamptz,
  alert jsonb,
  PRIMARY KEY (kind, name)
);
COMMENT ON TABLE wee5_cron.trouble IS 'Paths whose last calls failed, jobs that are late, and whether an alert was sent';
COMMENT ON COLUMN wee5_cron.trouble.kind IS 'failing: a path, or a job whose path is not known. late: a job';
COMMENT ON COLUMN wee5_cron.trouble.name IS
  'failing: the path as in wee5_cron.endpoint, or without its query. If the path is not known, and for late: the job''s name, or # and the jobid of a job that has no name or shares it with another user''s job';
COMMENT ON COLUMN wee5_cron.trouble.failures IS 'Failures in a row';
COMMENT ON COLUMN wee5_cron.trouble.since IS 'failing: when the first of them ended. late: the run that did not begin';
COMMENT ON COLUMN wee5_cron.trouble.told IS 'Whether an alert was sent';
COMMENT ON COLUMN wee5_cron.trouble.last_failed_at IS 'failing: when the newest of them ended';
COMMENT ON COLUMN wee5_cron.trouble.by_job IS 'failing: a job made some of the calls; the row goes away with the job';
COMMENT ON COLUMN wee5_cron.trouble.told_at IS 'When the last alert was sent';
COMMENT ON COLUMN wee5_cron.trouble.alert IS 'The alert as it is now. wee5_cron.alert_repeat says when it is sent again';

CREATE TABLE wee5_cron.pending_alert (
  id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  content jsonb NOT NULL
);
COMMENT ON TABLE wee5_cron.pending_alert IS 'Internal: alerts that are still to be sent';

-- A session that ends calls, such as one that calls complete(), adds them here. It locks no row of wee5_cron.trouble, which
-- others need for the same path.
CREATE TABLE wee5_cron.pending_outcome (
  invocation_id bigint PRIMARY KEY
);
COMMENT ON TABLE wee5_cron.pending_outcome IS 'Internal: calls that have ended and are still to be counted for alerts';

-- A payload of NOTIFY is shorter than 8000 bytes, so long texts are cut.
CREATE FUNCTION wee5_cron.make_alert(event text, job_name text, endpoint_path text, invocation_id bigint, status text,
                                     reason text, http_status int, error text, failures int, text text) RETURNS jsonb
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH short AS (
      SELECT jsonb_build_object(
        'event', event, 'job_name', left(job_name, 255), 'endpoint_path', left(endpoint_path, 2048 / c.width),
        'invocation_id', invocation_id, 'status', status, 'reason', reason, 'http_status', http_status,
        'error', left(error, 1200 / c.width), 'failures', failures, 'at', clock_timestamp(), 'database', current_database(),
        'text', left(text, 1600 / c.width)) AS content
      FROM (VALUES (1), (4), (16)) AS c (width)
    )
    SELECT s.content FROM short s WHERE octet_length(s.content::text) < 7900 ORDER BY octet_length(s.content::text) DESC LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.make_alert(text, text, text, bigint, text, text, int, text, int, text) IS
  'Internal: an alert as a payload of NOTIFY. event: failing, late, recovered or disarmed';

CREATE FUNCTION wee5_cron.add_alert(alert jsonb) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ INSERT INTO wee5_cron.pending_alert (content) SELECT alert WHERE alert IS NOT NULL $$;
COMMENT ON FUNCTION wee5_cron.add_alert(jsonb) IS 'Internal: records an alert that is to be sent';

CREATE FUNCTION wee5_cron.alert_subject(job_name text, endpoint_path text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN job_name IS NULL THEN coalesce(left(endpoint_path, 200), 'a job')
                ELSE format(CASE WHEN job_name ~ '^#[0-9]+$' THEN 'job %s%s' ELSE 'job "%s"%s' END, job_name,
                            coalesce(' (' || left(endpoint_path, 200) || ')', '')) END
  $$;
COMMENT ON FUNCTION wee5_cron.alert_subject(text, text) IS 'Internal: what an alert calls the job or path that it is about';

CREATE FUNCTION wee5_cron.failing_alert(job_name text, endpoint_path text, invocation_id bigint, reason text, http_status int,
                                        error text, failures int) RETURNS jsonb
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.make_alert('failing', job_name, endpoint_path, invocation_id, 'failed', reason, http_status, error, failures,
      format('%s in database "%s" %s: %s', wee5_cron.alert_subject(job_name, endpoint_path), current_database(),
             CASE failures WHEN 1 THEN 'failed' ELSE format('failed %s times in a row', failures) END,
             coalesce(error, 'pg_cron does not say why')))
  $$;
COMMENT ON FUNCTION wee5_cron.failing_alert(text, text, bigint, text, int, text, int) IS
  'Internal: the alert that the calls of a path, or the runs of a job, fail';

-- unit: what failed, a call or a run.
CREATE FUNCTION wee5_cron.alert_recovered(job_name text, endpoint_path text, invocation_id bigint, http_status int, unit text,
                                          failures int, since timestamptz) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.add_alert(wee5_cron.make_alert('recovered', job_name, endpoint_path, invocation_id, 'succeeded', NULL, http_status, NULL, failures,
      format('%s in database "%s" works again, after %s failed since %s', wee5_cron.alert_subject(job_name, endpoint_path),
             current_database(), CASE failures WHEN 1 THEN 'a ' || unit ELSE failures || ' ' || unit || 's' END,
             to_char(since, 'YYYY-MM-DD HH24:MI:SS TZ'))))
  $$;
COMMENT ON FUNCTION wee5_cron.alert_recovered(text, text, bigint, int, text, int, timestamptz) IS
  'Internal: records the alert that the calls of a path, or the runs of a job, succeed again';

-- A path that has not failed before has no row to lock. Paths share 1024 locks.
CREATE FUNCTION wee5_cron.lock_failures(path text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('wee5_cron.trouble'), hashtext(path) & 1023) THEN
    RAISE EXCEPTION 'another transaction counts the failures of %', path USING ERRCODE = 'lock_not_available';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.lock_failures(text) IS
  'Internal: lets one transaction at a time count the failures of a path; raises 55P03, without waiting, while another one does';

CREATE FUNCTION wee5_cron.store_failures(path text, counted wee5_cron.trouble) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF counted.failures > 0 THEN
    INSERT INTO wee5_cron.trouble AS t (kind, name, failures, since, told, last_failed_at, by_job, told_at, alert)
    VALUES ('failing', path, counted.failures, counted.since, counted.told, counted.last_failed_at, counted.by_job,
            counted.told_at, counted.alert)
    ON CONFLICT (kind, name) DO UPDATE
    SET failures = excluded.failures, since = excluded.since, told = excluded.told,
        last_failed_at = excluded.last_failed_at, by_job = excluded.by_job, told_at = excluded.told_at, alert = excluded.alert;
  ELSIF counted.kind IS NOT NULL THEN
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = path;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.store_failures(text, wee5_cron.trouble) IS
  'Internal, for note_outcomes(): stores the failures of a path, or deletes its row. kind is NULL if there is no row yet';

-- path: the name under which the call counts. The call of an alert itself has no path, and causes no alert.
CREATE FUNCTION wee5_cron.counted_calls(ids bigint[], OUT id bigint, OUT job_name text, OUT endpoint_path text, OUT status text,
                                        OUT reason text, OUT http_status int, OUT error text, OUT finished_at timestamptz,
                                        OUT by_job boolean, OUT path text, OUT alert_after int) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT i.id, i.job_name, i.endpoint_path, i.status, i.reason, i.http_status, i.error, i.finished_at,
           i.job_name IS NOT NULL OR i.scheduled_at IS NOT NULL,
           coalesce(whole.endpoint_path, split_part(i.endpoint_path, '?', 1)),
           -- A policy that was restored may say less than 1.
           coalesce(nullif(greatest(CASE WHEN whole.endpoint_path IS NULL THEN route.alert_after
                                         ELSE whole.alert_after END, 0), 0), 3)
    FROM wee5_cron.invocation i
    LEFT JOIN wee5_cron.endpoint whole ON whole.endpoint_path = i.endpoint_path
    LEFT JOIN wee5_cron.endpoint route ON route.endpoint_path = split_part(i.endpoint_path, '?', 1)
    WHERE i.id = ANY (ids) AND i.status IN ('succeeded', 'failed') AND i.finished_at IS NOT NULL
      AND i.endpoint_path <> 'wee5_cron.alert'
  $$;
COMMENT ON FUNCTION wee5_cron.counted_calls(bigint[]) IS
  'Internal, for note_outcomes(): those of the calls that count for alerts, with the policy of their path';

-- The calls have just ended. True if there is an alert to send.
CREATE FUNCTION wee5_cron.note_outcomes(ids bigint[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  call record;
  path text;
  known wee5_cron.trouble;
  alerts boolean := false;
BEGIN
  FOR call IN
    SELECT * FROM wee5_cron.counted_calls(ids) ORDER BY path, finished_at, id
  LOOP
    IF call.path IS DISTINCT FROM path THEN
      IF path IS NOT NULL THEN
        PERFORM wee5_cron.store_failures(path, known);
      END IF;
      path := call.path;
      PERFORM wee5_cron.lock_failures(path);
      SELECT * INTO known FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = path FOR UPDATE NOWAIT;
      known.failures := coalesce(known.failures, 0);
      known.told := coalesce(known.told, false);
      known.by_job := coalesce(known.by_job, false);
    END IF;
    IF call.status = 'failed' THEN
      known.since := CASE WHEN known.failures = 0 THEN call.finished_at ELSE known.since END;
      known.failures := known.failures + 1;
      known.last_failed_at := call.finished_at;
      known.by_job := known.by_job OR call.by_job;
      IF known.told OR known.failures >= call.alert_after THEN
        known.alert := wee5_cron.failing_alert(call.job_name, call.endpoint_path, call.id, call.reason, call.http_status,
                                               call.error, known.failures);
        known.told_at := coalesce(known.told_at, clock_timestamp());
      END IF;
      IF NOT known.told AND known.failures >= call.alert_after THEN
        known.told := true;
        alerts := true;
        PERFORM wee5_cron.add_alert(known.alert);
      END IF;
    ELSE
      IF known.told THEN
        alerts := true;
        PERFORM wee5_cron.alert_recovered(call.job_name, call.endpoint_path, call.id, call.http_status, 'call', known.failures,
                                          known.since);
      END IF;
      known.failures := 0;
      known.told := false;
      known.by_job := false;
      known.told_at := NULL;
      known.alert := NULL;
    END IF;
  END LOOP;
  IF path IS NOT NULL THEN
    PERFORM wee5_cron.store_failures(path, known);
  END IF;
  RETURN alerts;
EXCEPTION WHEN lock_not_available THEN
  -- A harvest() that has not committed counts the same path. The results are recorded now, and counted later.
  PERFORM wee5_cron.count_later(ids);
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_outcomes(bigint[]) IS
  'Internal, for the worker and harvest(): counts failures in a row. True if there is an alert to send';

CREATE FUNCTION wee5_cron.count_later(ids bigint[]) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ INSERT INTO wee5_cron.pending_outcome (invocation_id) SELECT * FROM unnest(ids) ON CONFLICT DO NOTHING $$;
COMMENT ON FUNCTION wee5_cron.count_later(bigint[]) IS
  'Internal: leaves calls that have ended to the worker or harvest(), which counts them for alerts';

CREATE FUNCTION wee5_cron.note_pending_outcomes() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ids bigint[];
BEGIN
  WITH taken AS (
    DELETE FROM wee5_cron.pending_outcome p
    WHERE p.invocation_id IN (SELECT o.invocation_id FROM wee5_cron.pending_outcome o FOR UPDATE SKIP LOCKED)
    RETURNING p.invocation_id
  )
  SELECT array_agg(t.invocation_id) INTO ids FROM taken t;
  RETURN ids IS NOT NULL AND wee5_cron.note_outcomes(ids);
END
$$;
COMMENT ON FUNCTION wee5_cron.note_pending_outcomes() IS
  'Internal, for the worker and harvest(): counts the calls that count_later() left. True if there is an alert to send';

CREATE FUNCTION wee5_cron.trouble_name(endpoint_path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce((SELECT e.endpoint_path FROM wee5_cron.endpoint e WHERE e.endpoint_path = $1), split_part($1, '?', 1))
  $$;
COMMENT ON FUNCTION wee5_cron.trouble_name(text) IS 'Internal: the name under which wee5_cron.trouble counts the failures of a path';

-- A run that failed before it made a call leaves no row, and is a failure like any other. If the path cannot be read
-- from the job's command, the failure counts for the job itself.
CREATE FUNCTION wee5_cron.note_failures(job_label text, endpoint_path text, failed int, error text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  path constant text := coalesce(wee5_cron.trouble_name($2), $1);
  known wee5_cron.trouble;
BEGIN
  PERFORM wee5_cron.lock_failures(path);
  INSERT INTO wee5_cron.trouble AS t (kind, name, failures, since, last_failed_at, by_job)
  VALUES ('failing', path, failed, clock_timestamp(), clock_timestamp(), true)
  ON CONFLICT (kind, name) DO UPDATE
  SET failures = t.failures + excluded.failures, last_failed_at = excluded.last_failed_at, by_job = true
  RETURNING * INTO known;
  IF known.told OR known.failures >= coalesce((SELECT e.alert_after FROM wee5_cron.endpoint e
                                                WHERE e.endpoint_path = known.name AND e.alert_after >= 1), 3) THEN
    known.alert := wee5_cron.failing_alert($1, $2, NULL, NULL, NULL, $4, known.failures);
    UPDATE wee5_cron.trouble t
    SET told = true, alert = known.alert, told_at = coalesce(t.told_at, clock_timestamp())
    WHERE t.kind = 'failing' AND t.name = known.name;
    IF NOT known.told THEN
      PERFORM wee5_cron.add_alert(known.alert);
    END IF;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_failures(text, text, int, text) IS
  'Internal, for watch_jobs(): counts runs of a job that failed before they made a call';

-- If the path of a job is not known, no call shows that the job works again.
CREATE FUNCTION wee5_cron.note_recovery(job_label text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  known wee5_cron.trouble;
BEGIN
  DELETE FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = $1 RETURNING * INTO known;
  IF known.told THEN
    PERFORM wee5_cron.alert_recovered($1, NULL, NULL, NULL, 'run', known.failures, known.since);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_recovery(text) IS
  'Internal, for watch_jobs(): notes that a run of a job whose path is not known succeeded';

-- missed: a tick for which there is neither a run nor a later one. NULL: the job has run at its newest tick.
CREATE FUNCTION wee5_cron.note_lateness(job_name text, endpoint_path text, missed timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  late_since timestamptz;
  alert jsonb;
BEGIN
  IF missed IS NOT NULL THEN
    alert := wee5_cron.make_alert('late', job_name, endpoint_path, NULL, NULL, NULL, NULL, NULL, NULL,
      format('%s in database "%s" is late: its run of %s did not begin', wee5_cron.alert_subject(job_name, endpoint_path),
             current_database(), to_char(missed, 'YYYY-MM-DD HH24:MI TZ')));
    INSERT INTO wee5_cron.trouble (kind, name, since, told, told_at, alert)
    VALUES ('late', job_name, missed, true, clock_timestamp(), alert)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
      PERFORM wee5_cron.add_alert(alert);
    END IF;
  ELSE
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'late' AND t.name = job_name RETURNING t.since INTO late_since;
    IF FOUND THEN
      PERFORM wee5_cron.add_alert(wee5_cron.make_alert('recovered', job_name, endpoint_path, NULL, NULL, NULL, NULL, NULL, NULL,
        format('%s in database "%s" runs again, after it missed %s', wee5_cron.alert_subject(job_name, endpoint_path),
               current_database(), to_char(late_since, 'YYYY-MM-DD HH24:MI TZ'))));
    END IF;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_lateness(text, text, timestamptz) IS
  'Internal, for watch_jobs(): records that a job is late, or not any more, with the alert';

-- every: wee5_cron.alert_repeat. Returns when the next alert is to be repeated; NULL: there is no trouble.
CREATE FUNCTION wee5_cron.repeat_alerts(every interval) RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  known wee5_cron.trouble;
BEGIN
  IF (every > interval '0') IS NOT TRUE THEN
    RETURN NULL;
  END IF;
  FOR known IN
    SELECT * FROM wee5_cron.trouble t WHERE t.told AND t.told_at <= clock_timestamp() - every AND t.alert IS NOT NULL
    FOR UPDATE SKIP LOCKED
  LOOP
    UPDATE wee5_cron.trouble t SET told_at = clock_timestamp() WHERE t.kind = known.kind AND t.name = known.name;
    PERFORM wee5_cron.add_alert(known.alert || jsonb_build_object('at', clock_timestamp()));
  END LOOP;
  RETURN (SELECT min(t.told_at) + every FROM wee5_cron.trouble t WHERE t.told AND t.alert IS NOT NULL);
END
$$;
COMMENT ON FUNCTION wee5_cron.repeat_alerts(interval) IS
  'Internal, for the worker and harvest(): records again the alerts of troubles that last';

-- receiver: as alert_receiver() names it. The text of an app must not notify anybody on Discord or Slack.
CREATE FUNCTION wee5_cron.webhook_message(alert jsonb, receiver text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE receiver
      WHEN 'discord' THEN alert || jsonb_build_object('content', alert->>'text', 'allowed_mentions', '{"parse": []}'::jsonb)
      WHEN 'slack' THEN jsonb_build_object(
        'text', replace(replace(replace(alert->>'text', '&', '&amp;'), '<', '&lt;'), '>', '&gt;'))
      WHEN 'teams' THEN jsonb_build_object('type', 'message', 'attachments', jsonb_build_array(jsonb_build_object(
        'contentType', 'application/vnd.microsoft.card.adaptive', 'contentUrl', NULL, 'content', jsonb_build_object(
          '$schema', 'http://adaptivecards.io/schemas/adaptive-card.json', 'type', 'AdaptiveCard', 'version', '1.2',
          'body', jsonb_build_array(jsonb_build_object('type', 'TextBlock', 'text', alert->>'text', 'wrap', true))))))
      ELSE alert END
  $$;
COMMENT ON FUNCTION wee5_cron.webhook_message(jsonb, text) IS 'Internal, for send_alerts(): an alert as the receiver understands it';

CREATE FUNCTION wee5_cron.send_alerts(by_webhook boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  alert record;
  sent bigint := 0;
BEGIN
  FOR alert IN SELECT * FROM wee5_cron.pending_alert p ORDER BY p.at FOR UPDATE SKIP LOCKED LOOP
    PERFORM pg_notify('wee5_cron', alert.content::text);
    IF by_webhook THEN
      PERFORM wee5_cron.call_webhook(wee5_cron.webhook_message(alert.content, wee5_cron.alert_receiver()));
    END IF;
    DELETE FROM wee5_cron.pending_alert p WHERE p.id = alert.id;
    sent := sent + 1;
  END LOOP;
  RETURN sent;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_alerts(boolean) IS 'Internal, for the worker and harvest(): sends the recorded alerts by NOTIFY wee5_cron, and to the webhook';
