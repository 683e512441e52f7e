-- A route that answers with an HTML page although it answered with JSON before. Every page with 2xx has a hint already;
-- this adds to it if more is known. It looks at pages only: a call that is answered with JSON costs nothing.

-- The calls have just been recorded. There is no index by route and time, which would cost every call. So this looks at
-- the calls shortly before, at the newest calls of the same job, and at the newest success that prune() knows. A page
-- passes on what was found for it, so that a route that keeps answering with pages is not forgotten.
CREATE FUNCTION wee5_cron.note_html_pages(ids bigint[]) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = on
  AS $$
DECLARE
  -- The same as core::is_html().
  html constant text[] := array['text/html%', 'application/xhtml%'];
BEGIN
  WITH page AS MATERIALIZED (
    SELECT i.id, i.job_name, split_part(i.endpoint_path, '?', 1) COLLATE "C" AS route
    FROM wee5_cron.invocation i
    -- The call of an alert has no path.
    WHERE i.id = ANY (ids) AND i.status = 'succeeded' AND lower(i.response_content_type COLLATE "C") LIKE ANY (html)
      AND i.endpoint_path <> 'wee5_cron.alert' AND i.hint !~ 'spoke JSON'
    FOR NO KEY UPDATE SKIP LOCKED
  ), span AS MATERIALIZED (
    SELECT min(p.id) AS first, max(p.id) AS last FROM page p
  ), looked_at (id) AS (
    SELECT b.id FROM span CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i WHERE i.id < span.first ORDER BY i.id DESC LIMIT 500) b
    UNION ALL
    SELECT b.id FROM span CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i WHERE i.id > span.first AND i.id < span.last
      ORDER BY i.id DESC LIMIT 500) b
    UNION ALL
    SELECT b.id
    FROM (SELECT p.job_name, max(p.id) AS last FROM page p WHERE p.job_name IS NOT NULL GROUP BY p.job_name) job
    CROSS JOIN LATERAL (
      SELECT i.id FROM wee5_cron.invocation i
      -- A range: for an equality the planner may walk the primary key instead, through all other rows.
      WHERE i.job_name >= job.job_name AND i.job_name <= job.job_name AND i.id < job.last
      ORDER BY i.job_name DESC, i.id DESC LIMIT 100) b
    UNION ALL
    SELECT n.success_id FROM wee5_cron.newest_call n WHERE n.route IN (SELECT p.route FROM page p)
    UNION ALL
    SELECT n.success_id FROM wee5_cron.newest_call n
    WHERE n.route = '' AND n.job_name IN (SELECT p.job_name COLLATE "C" FROM page p)
  ), success AS MATERIALIZED (
    SELECT i.id, i.finished_at, i.hint, split_part(i.endpoint_path, '?', 1) COLLATE "C" AS route,
           lower(coalesce(i.response_content_type, '') COLLATE "C") AS content_type
    FROM looked_at l
    JOIN wee5_cron.invocation i ON i.id = l.id
    WHERE i.status = 'succeeded'
  ), newest AS (
    SELECT DISTINCT ON (s.route) s.* FROM success s
    WHERE s.content_type NOT LIKE ALL (html) OR s.hint ~ 'spoke JSON'
    ORDER BY s.route, s.id DESC
  ), known AS MATERIALIZED (
    SELECT n.route,
           CASE WHEN n.content_type LIKE ANY (html)
                THEN substring(n.hint FROM ' The last success of this route that was no page, .* spoke JSON: .*$')
                WHEN n.content_type ~ '^(application|text)/([^;,]+\+)?json\s*([;,]|$)'
                THEN format(' The last success of this route that was no page, call %s of %s, spoke JSON: something '
                            'else answers in its place since.', n.id, to_char(n.finished_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
                END AS words
    FROM newest n
  )
  UPDATE wee5_cron.invocation i
  SET hint = i.hint || known.words
  FROM page p
  JOIN known ON known.route = p.route
  WHERE i.id = p.id AND known.words IS NOT NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_html_pages(bigint[]) IS
  'Internal, for the worker and harvest(): adds to the hint of an HTML page that its route answered with JSON before';
