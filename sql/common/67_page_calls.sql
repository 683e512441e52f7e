-- Calls on the pages.

-- The phases of an attempt as parts of a bar, whose full width is `whole` milliseconds. The times are lengths, in the order
-- in which they pass; those that a transport does not measure are NULL.
CREATE FUNCTION wee5_cron.page_bar(a wee5_cron.attempt, whole real) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH phase AS (
      SELECT p.n, p.class, p.label, greatest(p.ms, 0) AS ms
      FROM (SELECT a.total_ms - coalesce(a.dns_ms, 0) - coalesce(a.connect_ms, 0) - coalesce(a.tls_ms, 0)
                   - coalesce(a.first_byte_ms, 0) AS ms) rest
      CROSS JOIN LATERAL (VALUES (1, 'dns', 'name look-up', a.dns_ms),
                   (2, 'connect', 'connection', a.connect_ms),
                   (3, 'tls', 'TLS', a.tls_ms),
                   (4, 'wait', 'wait for the first byte', coalesce(a.first_byte_ms, rest.ms)),
                   (5, 'body', 'rest of the answer', CASE WHEN a.first_byte_ms IS NOT NULL THEN rest.ms END))
             AS p (n, class, label, ms)
      WHERE p.ms IS NOT NULL
    )
    SELECT CASE WHEN a.total_ms IS NULL THEN '<span class="quiet">not measured</span>' ELSE
      format('<span class="bar" role="img" aria-label="%s">%s</span>',
             (SELECT string_agg(format('%s %s', label, wee5_cron.span_in_words(ms * interval '1 ms')), ', ' ORDER BY n)
              FROM phase),
             (SELECT string_agg(format('<i class="%s" style="width:%s%%"></i>', class,
                                       round((100 * ms / greatest(whole, 0.001))::numeric, 2)), '' ORDER BY n)
              FROM phase WHERE ms > 0)) END
  $$;
COMMENT ON FUNCTION wee5_cron.page_bar(wee5_cron.attempt, real) IS 'Internal, for pages: the phases of an attempt as a bar';

CREATE FUNCTION wee5_cron.page_key() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT '<ul class="key"><li><i class="dns"></i>name look-up</li><li><i class="connect"></i>connection</li>'
           '<li><i class="tls"></i>TLS</li><li><i></i>wait for the first byte</li>'
           '<li><i class="body"></i>rest of the answer</li></ul>'
  $$;
COMMENT ON FUNCTION wee5_cron.page_key() IS 'Internal, for pages: what the parts of the bars stand for';

-- Who made a call: its job, or a role by hand.
CREATE FUNCTION wee5_cron.page_origin(job_name text, requested_by name) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN job_name IS NULL THEN 'by hand, by ' || wee5_cron.html_name(requested_by)
                ELSE 'job ' || wee5_cron.html_name(job_name) END
  $$;
COMMENT ON FUNCTION wee5_cron.page_origin(text, name) IS 'Internal, for pages: the job or the role that made a call';

-- No index has the status, so it looks at the newest calls only, and says so if the day has more. Failures that differ only in
-- their time share a card.
CREATE FUNCTION wee5_cron.page_failures() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  looked_at constant int := 10000;
  begins constant timestamptz := (SELECT i.requested_at FROM wee5_cron.invocation i ORDER BY i.id DESC OFFSET looked_at LIMIT 1);
BEGIN
  RETURN (
    SELECT string_agg(format(
      E'<article class="card">\n<h3>%s %s</h3>\n<p class="quiet">%s%s, newest %s: call %s, %s</p>\n%s</article>',
      wee5_cron.html_path(f.endpoint_path), wee5_cron.html_state(f.status),
      wee5_cron.page_origin(f.job_name, f.requested_by),
      CASE f.calls WHEN 1 THEN '' ELSE format(', %s times', f.calls) END, wee5_cron.html_time(f.newest_at), f.newest,
      wee5_cron.html(concat_ws(' ', f.reason, f.http_status)), wee5_cron.html_advice(f.error, f.hint, f.endpoint_path)), E'\n'
      ORDER BY f.newest DESC)
      || CASE WHEN begins > now() - interval '24 hours' THEN format(
           '<p class="quiet">Among the newest %s calls, which began %s.</p>', looked_at, wee5_cron.html_time(begins)) ELSE '' END
    FROM (SELECT i.endpoint_path, i.job_name, i.requested_by, i.status, i.reason, i.http_status, i.error, i.hint,
                 count(*) AS calls, max(i.id) AS newest, max(coalesce(i.finished_at, i.requested_at)) AS newest_at
          FROM (SELECT * FROM wee5_cron.invocation ORDER BY id DESC LIMIT looked_at) i
          WHERE i.status IN ('failed', 'skipped') AND i.requested_at > now() - interval '24 hours'
          GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY newest DESC LIMIT 50) f);
END
$$;
COMMENT ON FUNCTION wee5_cron.page_failures() IS
  'Internal, for status_page(): the calls of the last day that failed or were skipped';

CREATE FUNCTION wee5_cron.page_newest_calls() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (
    WITH call AS MATERIALIZED (
      SELECT i.*, a.last, max(a.total_ms) OVER () AS longest
      FROM (SELECT * FROM wee5_cron.invocation ORDER BY id DESC LIMIT 20) i
      LEFT JOIN LATERAL (SELECT t AS last, t.total_ms FROM wee5_cron.attempt t
                         WHERE t.invocation_id = i.id ORDER BY t.attempt DESC LIMIT 1) a ON true
    )
    SELECT wee5_cron.html_table('Newest calls', '{Call,Path,Status,Time,Phases}', string_agg(format(
      '<tr><td>%s<small>%s</small></td><th scope="row">%s<small>%s</small></th><td>%s<small>%s</small></td>'
      '<td>%s</td><td>%s</td></tr>',
      c.id, wee5_cron.html_time(c.requested_at), wee5_cron.html_path(c.endpoint_path),
      wee5_cron.page_origin(c.job_name, c.requested_by), wee5_cron.html_state(c.status),
      wee5_cron.html(concat_ws(' ', c.http_status, CASE WHEN c.attempts > 1 THEN c.attempts || ' attempts' END)),
      coalesce(wee5_cron.span_in_words(c.duration), '-'), wee5_cron.page_bar(c.last, c.longest)), E'\n' ORDER BY c.id DESC))
      || wee5_cron.page_key()
    FROM call c);
END
$$;
COMMENT ON FUNCTION wee5_cron.page_newest_calls() IS 'Internal, for status_page(): the newest calls with their phases';
