-- The jobs on the status page.

-- The newest calls of each job, oldest first, as bars whose height and colour show the outcome. Only bars of failures say
-- more, so that the page stays small. Jobs with the same filter of known_jobs() share a query. In job_name's order, so that
-- its index is read and not that of the ids.
CREATE FUNCTION wee5_cron.page_strips(filter text, jobs jsonb, OUT n int, OUT html text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY EXECUTE format($query$
    SELECT j.n, format('<span class="strip" role="img" aria-label="%%s of the last %%s calls succeeded">%%s</span>',
                       count(*) FILTER (WHERE c.status = 'succeeded'), count(*), string_agg(
             CASE c.status WHEN 'succeeded' THEN '<i></i>' ELSE
               format('<i class="%%s" title="%%s UTC: %%s"></i>', CASE WHEN c.finished_at IS NULL THEN 'open' ELSE c.status END,
                      to_char(c.requested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                      concat_ws(', ', c.status, c.http_status, wee5_cron.span_in_words(c.duration))) END, '' ORDER BY c.id))
    FROM jsonb_to_recordset($1) AS j (n int, job_name text, username text, jobid bigint, endpoint_path text)
    CROSS JOIN LATERAL (SELECT i.id, i.status, i.http_status, i.requested_at, i.finished_at, i.duration
                        FROM wee5_cron.invocation i WHERE %s ORDER BY i.job_name DESC, i.id DESC LIMIT 20) c
    GROUP BY j.n
  $query$, replace(filter, 'i.job_name = j.job_name', 'i.job_name >= j.job_name AND i.job_name <= j.job_name')) USING jobs;
END
$$;
COMMENT ON FUNCTION wee5_cron.page_strips(text, jsonb) IS
  'Internal, for status_page(): the newest calls of jobs as bars. jobs: rows of known_jobs() with a number n';

-- Worst first: you should not have to look for what needs you.
CREATE FUNCTION wee5_cron.state_rank(state text) RETURNS int
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(array_position('{failing,late,waiting,never_ran,ok,paused}', state), 0) $$;
COMMENT ON FUNCTION wee5_cron.state_rank(text) IS 'Internal, for pages: the order of the states of job_status';

-- A schedule as it is, and in words. The schedule of a job is what pg_cron accepted, but may be one of another version's.
CREATE FUNCTION wee5_cron.html_schedule(schedule text) RETURNS text
  LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN format('%s<small>%s</small>', wee5_cron.html(wee5_cron.describe_schedule(schedule)), wee5_cron.html(schedule));
EXCEPTION WHEN invalid_parameter_value THEN
  RETURN wee5_cron.html(schedule);
END
$$;
COMMENT ON FUNCTION wee5_cron.html_schedule(text) IS 'Internal, for pages: a schedule in words';

CREATE FUNCTION wee5_cron.page_jobs(jobs wee5_cron.job_status[]) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (
    WITH known AS MATERIALIZED (
      SELECT row_number() OVER () AS n, k.* FROM wee5_cron.known_jobs() k
    ), strip AS MATERIALIZED (
      SELECT p.* FROM (SELECT k.filter, jsonb_agg(to_jsonb(k)) AS jobs FROM known k GROUP BY k.filter) alike
      CROSS JOIN LATERAL wee5_cron.page_strips(alike.filter, alike.jobs) p
    ), words AS MATERIALIZED (
      SELECT d.schedule, wee5_cron.html_schedule(d.schedule) AS html FROM (SELECT DISTINCT s.schedule FROM unnest(jobs) s) d
    ), job_row AS (
      SELECT s.state, s.job_name, format(
        '<tr><th scope="row">%s<small>%s</small>%s</th><td>%s</td><td>%s</td><td>%s<small>%s</small></td><td>%s</td>'
        '<td class="words">%s</td>'
        '<td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
        wee5_cron.html_name(coalesce(s.job_name, '#' || s.jobid)), wee5_cron.html_path(s.endpoint_path),
        CASE WHEN s.state = 'paused' AND own.pause_note <> '' THEN
          '<small>paused: ' || wee5_cron.html_name(own.pause_note) || '</small>' END,
        wee5_cron.html_state(s.state),
        coalesce(strip.html, '<span class="quiet">no calls yet</span>'),
        wee5_cron.html(concat_ws(' ', s.last_status, s.last_http_status)), wee5_cron.html_time(s.last_finished_at),
        CASE WHEN s.next_run IS NULL THEN '<span class="quiet">none</span>' ELSE wee5_cron.html_time(s.next_run) END,
        coalesce(words.html, '<span class="quiet">in another database</span>'),
        s.consecutive_failures, coalesce(round(100 * s.success_rate_24h) || ' %', '-'),
        coalesce(wee5_cron.span_in_words(s.p95_24h), '-'), coalesce(s.missed_runs::text, '-')) AS html
      FROM unnest(jobs) s
      JOIN known k ON k.jobid IS NOT DISTINCT FROM s.jobid AND k.job_name IS NOT DISTINCT FROM s.job_name
      LEFT JOIN strip ON strip.n = k.n
      LEFT JOIN words ON words.schedule = s.schedule
      LEFT JOIN wee5_cron.job own ON own.job_name = s.job_name
    )
    SELECT wee5_cron.html_table(
      'Jobs',
      '{Job,State,"Last 20 calls","Last result","Next run",Schedule,"Failed in a row","Success, 24 h","p95 time","Missed runs"}',
      string_agg(j.html, E'\n' ORDER BY wee5_cron.state_rank(j.state), j.job_name))
    FROM job_row j);
END
$$;
COMMENT ON FUNCTION wee5_cron.page_jobs(wee5_cron.job_status[]) IS 'Internal, for status_page(): the table of the jobs';

-- A job that never ran although it was due is late, too.
CREATE FUNCTION wee5_cron.needs_somebody(job wee5_cron.job_status) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT job.state IN ('failing', 'late') OR job.state = 'never_ran' AND job.missed_runs > 0 $$;
COMMENT ON FUNCTION wee5_cron.needs_somebody(wee5_cron.job_status) IS 'Internal, for pages: whether a job needs somebody';

-- What needs you, each with what to do: first what concerns all jobs, then the jobs.
CREATE FUNCTION wee5_cron.page_troubles(jobs wee5_cron.job_status[], findings jsonb) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN concat_ws(E'\n', wee5_cron.page_doctor(findings, true), (
    SELECT string_agg(format(
      E'<article class="card">\n<h3>%s %s</h3>\n<p class="quiet">%s</p>\n%s</article>',
      wee5_cron.html_name(coalesce(s.job_name, '#' || s.jobid)), wee5_cron.html_state(s.state),
      concat_ws('; ',
        CASE WHEN s.consecutive_failures > 0 THEN
          s.consecutive_failures || CASE s.consecutive_failures WHEN 1 THEN ' failure' ELSE ' failures' END || ' in a row' END,
        CASE WHEN s.last_success_at IS NULL THEN 'never succeeded'
             ELSE 'last success ' || wee5_cron.html_time(s.last_success_at) END,
        CASE WHEN s.missed_runs > 0 THEN
          s.missed_runs || CASE s.missed_runs WHEN 1 THEN ' missed run' ELSE ' missed runs' END END,
        'newest call ' || s.last_invocation_id),
      wee5_cron.html_advice(s.last_error, CASE s.state
        WHEN 'failing' THEN (SELECT i.hint FROM wee5_cron.invocation i WHERE i.id = s.last_invocation_id)
        ELSE 'The last run did not begin in time. To see why: SELECT * FROM wee5_cron.doctor() WHERE status <> ''ok'';' END,
        s.endpoint_path)), E'\n' ORDER BY wee5_cron.state_rank(s.state), s.job_name)
    FROM unnest(jobs) s WHERE wee5_cron.needs_somebody(s)));
END
$$;
COMMENT ON FUNCTION wee5_cron.page_troubles(wee5_cron.job_status[], jsonb) IS 'Internal, for status_page(): what needs somebody';
