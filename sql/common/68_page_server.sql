-- What the status page says about the queue, the worker, doctor()'s findings and the day to come.

CREATE FUNCTION wee5_cron.page_fact(name text, value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT format('<div><dt>%s</dt><dd>%s</dd></div>', name, coalesce(value, '-')) $$;
COMMENT ON FUNCTION wee5_cron.page_fact(text, text) IS 'Internal, for status_page(): a fact and its name';

CREATE FUNCTION wee5_cron.page_queue() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  open record;
  worker record;
BEGIN
  -- Not the calls that wait for their time, of which there may be a million.
  SELECT count(*) FILTER (WHERE i.status = 'queued') AS queued, count(*) FILTER (WHERE i.status = 'sending') AS sending,
         count(*) FILTER (WHERE i.status = 'retrying') AS retrying,
         min(i.next_attempt_at) FILTER (WHERE i.status = 'retrying') AS next_attempt,
         count(*) FILTER (WHERE i.status = 'accepted') AS accepted,
         min(coalesce(i.due_at, i.requested_at)) FILTER (WHERE i.status = 'queued') AS oldest
  INTO open
  FROM (SELECT i.* FROM wee5_cron.invocation i WHERE i.finished_at IS NULL AND i.due_at IS NULL
        UNION ALL
        SELECT i.* FROM wee5_cron.invocation i
        WHERE i.finished_at IS NULL AND i.due_at IS NOT NULL AND (i.next_attempt_at = i.due_at) IS NOT TRUE) i;
  SELECT * INTO worker FROM wee5_cron.worker w WHERE w.datname = current_database();
  RETURN '<dl class="facts">' || concat(
    wee5_cron.page_fact('Worker', coalesce(wee5_cron.html_state(worker.state), 'none here')),
    wee5_cron.page_fact('In flight', coalesce(worker.in_flight::text, open.sending::text)),
    wee5_cron.page_fact('Queued', open.queued::text),
    wee5_cron.page_fact('Oldest queued', wee5_cron.span_in_words(now() - open.oldest)),
    wee5_cron.page_fact('Accepted, not complete', open.accepted::text),
    wee5_cron.page_fact('To be retried', open.retrying::text),
    wee5_cron.page_fact('Next retry',
                        CASE WHEN open.next_attempt IS NOT NULL THEN wee5_cron.html_time(open.next_attempt) END)) || '</dl>'
    || coalesce(wee5_cron.html_advice(worker.last_error, NULL), '');
END
$$;
COMMENT ON FUNCTION wee5_cron.page_queue() IS 'Internal, for status_page(): the queue and the worker';

-- Errors that are not about a single job or call stand at the top of the page. While calls are switched off, the worker
-- reports that, too.
CREATE FUNCTION wee5_cron.page_findings() RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(to_jsonb(f) || jsonb_build_object('urgent',
             f.status = 'error' AND f.check_name !~ '^(job_|last_outcome$|retrying$)'
             AND (f.check_name <> 'worker' OR wee5_cron.may_call())) ORDER BY f.status, f.check_name), '[]')
    FROM wee5_cron.doctor() f WHERE f.status <> 'ok');
EXCEPTION WHEN OTHERS THEN
  RETURN jsonb_build_array(jsonb_build_object('check_name', 'doctor', 'status', 'error', 'urgent', true,
                                              'detail', 'doctor() failed: ' || SQLERRM));
END
$$;
COMMENT ON FUNCTION wee5_cron.page_findings() IS
  'Internal, for status_page(): what doctor() finds, as an array. urgent: it stands at the top of the page';

CREATE FUNCTION wee5_cron.page_doctor(findings jsonb, urgent boolean DEFAULT false) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format(E'<article class="card %s">\n<h3>%s %s</h3>\n%s</article>',
                             CASE f->>'status' WHEN 'warning' THEN 'warning' END, wee5_cron.html(replace(f->>'check_name', '_', ' ')),
                             wee5_cron.html_state(f->>'status'), wee5_cron.html_advice(f->>'detail', f->>'hint')), E'\n' ORDER BY n)
    FROM jsonb_array_elements(findings) WITH ORDINALITY AS e (f, n) WHERE (f->>'urgent')::boolean = urgent
  $$;
COMMENT ON FUNCTION wee5_cron.page_doctor(jsonb, boolean) IS 'Internal, for status_page(): findings of doctor() as cards';

-- How many calls start in each of the next 24 hours. Each job counts 1,440 ticks at most: one each minute.
-- Jobs that start at the same times are counted together: with many jobs that is most of the work.
CREATE FUNCTION wee5_cron.page_next_day(jobs wee5_cron.job_status[]) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (
    WITH alike AS (
      SELECT s.schedule, s.next_run, count(*) AS jobs
      FROM unnest(jobs) s WHERE s.next_run IS NOT NULL GROUP BY s.schedule, s.next_run
    ), tick AS (
      SELECT date_trunc('hour', t.at) AS hour, a.jobs
      FROM alike a
      -- The first one is next_run itself.
      CROSS JOIN LATERAL unnest(a.next_run || wee5_cron.ticks(a.schedule, a.next_run, 1440, a.next_run,
                                                              now() + interval '24 hours')) AS t (at)
      UNION ALL
      SELECT date_trunc('hour', i.due_at), 1 FROM wee5_cron.invocation i
      WHERE i.finished_at IS NULL AND i.next_attempt_at IS NOT NULL AND i.next_attempt_at = i.due_at
        AND i.next_attempt_at > now() AND i.next_attempt_at < date_trunc('hour', now()) + interval '24 hours'
    ), busy AS (
      SELECT t.hour, sum(t.jobs) AS starts FROM tick t GROUP BY t.hour
    ), counted AS (
      SELECT h.hour, coalesce(b.starts, 0) AS starts, max(b.starts) OVER () AS most
      FROM generate_series(date_trunc('hour', now()), date_trunc('hour', now()) + interval '23 hours',
                           interval '1 hour') AS h (hour)
      LEFT JOIN busy b ON b.hour = h.hour
    )
    SELECT '<ol class="hours">' || string_agg(format(
      '<li><span class="unseen">%1$s:00 UTC, %2$s runs</span><i style="height:%3$s%%" title="%1$s:00 UTC: %2$s runs"></i>'
      '<span aria-hidden="true">%1$s</span></li>',
      to_char(c.hour AT TIME ZONE 'UTC', 'HH24'), c.starts, round(85.0 * c.starts / c.most)), '' ORDER BY c.hour) || '</ol>'
      || format('<p class="quiet">Runs in each hour, %s at most. The hours are in UTC.</p>', max(c.most))
    FROM counted c HAVING max(c.most) > 0);
END
$$;
COMMENT ON FUNCTION wee5_cron.page_next_day(wee5_cron.job_status[]) IS 'Internal, for status_page(): the runs of the next 24 hours';
