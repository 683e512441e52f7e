-- status_page() and call_page(): whole pages without a script and without anything from outside. Their policy forbids both.

CREATE FUNCTION wee5_cron.page(title text, refresh_seconds int, content text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT concat(
      E'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
      '<meta http-equiv="Content-Security-Policy" ',
      E'content="default-src ''none''; style-src ''unsafe-inline''; base-uri ''none''; form-action ''none''">\n',
      E'<meta name="viewport" content="width=device-width, initial-scale=1">\n',
      E'<meta name="color-scheme" content="light dark">\n',
      E'<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex, nofollow">\n',
      format(E'<meta http-equiv="refresh" content="%s">\n', refresh_seconds),
      format(E'<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n', title, wee5_cron.page_style()), content,
      E'</body>\n</html>\n')
  $$;
COMMENT ON FUNCTION wee5_cron.page(text, int, text) IS
  'Internal, for pages: the frame. title: as HTML. refresh_seconds: NULL for a page that stays as it is';

-- A part that fails says why, and the others are still shown.
CREATE FUNCTION wee5_cron.page_part(id text, title text, statement text, jobs wee5_cron.job_status[], findings jsonb)
  RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  content text;
BEGIN
  EXECUTE statement INTO content USING jobs, findings;
  RETURN wee5_cron.html_section(id, title, content);
EXCEPTION WHEN OTHERS THEN
  RETURN wee5_cron.html_section(id, title, wee5_cron.html_advice('This part cannot be shown: ' || SQLERRM, NULL));
END
$$;
COMMENT ON FUNCTION wee5_cron.page_part(text, text, text, wee5_cron.job_status[], jsonb) IS
  'Internal, for status_page(): a part of the page. statement: returns its HTML; $1 are the jobs, $2 what doctor() finds';

-- Whether anything needs you, in a sentence. class: its colour.
CREATE FUNCTION wee5_cron.status_sentence(jobs wee5_cron.job_status[], errors bigint, OUT sentence text, OUT class text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  in_need constant bigint := (SELECT count(*) FROM unnest(jobs) j WHERE wee5_cron.needs_somebody(j));
  found constant text := CASE WHEN errors > 0 THEN
    format('doctor() finds %s %s.', errors, CASE errors WHEN 1 THEN 'error' ELSE 'errors' END) END;
BEGIN
  class := 'bad';
  sentence := CASE WHEN NOT wee5_cron.may_call() THEN 'Calls are switched off. '
                   WHEN EXISTS (SELECT FROM wee5_cron.worker w
                                WHERE w.datname = current_database() AND w.state IN ('blocked', 'incompatible'))
                   THEN 'The worker is blocked. ' ELSE '' END;
  IF in_need > 0 THEN
    sentence := sentence || format('%s of %s %s %s you.', in_need, cardinality(jobs),
                                   CASE cardinality(jobs) WHEN 1 THEN 'job' ELSE 'jobs' END,
                                   CASE in_need WHEN 1 THEN 'needs' ELSE 'need' END);
  ELSIF sentence = '' THEN
    sentence := CASE cardinality(jobs) WHEN 0 THEN 'There are no jobs yet' WHEN 1 THEN 'The only job is fine'
                                       ELSE format('All %s jobs are fine', cardinality(jobs)) END
                || coalesce(CASE cardinality(jobs) WHEN 0 THEN ', and ' ELSE ', but ' END || found, '.');
    class := CASE WHEN found IS NOT NULL THEN 'bad' WHEN jobs = '{}' THEN 'calm' ELSE 'good' END;
  END IF;
  sentence := rtrim(sentence);
END
$$;
COMMENT ON FUNCTION wee5_cron.status_sentence(wee5_cron.job_status[], bigint) IS
  'Internal, for status_page(): whether anything needs somebody. errors: how many doctor() finds that do not concern a job';

CREATE FUNCTION wee5_cron.status_page(title text DEFAULT NULL) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off SET jit = off
  SET standard_conforming_strings = on
  AS $$
DECLARE
  heading constant text := coalesce(nullif(btrim(title), ''), 'Cron jobs of ' || current_database());
  -- Read once: with many jobs it is most of the work.
  jobs constant wee5_cron.job_status[] := ARRAY(SELECT s FROM wee5_cron.job_status s);
  findings constant jsonb := wee5_cron.page_findings();
  summary constant record := wee5_cron.status_sentence(jobs, (SELECT count(*) FROM jsonb_array_elements(findings) f
                                                              WHERE (f->>'urgent')::boolean));
BEGIN
  RETURN wee5_cron.page(wee5_cron.html(left(summary.sentence || ' - ' || heading, 300)), 30, concat(
      format(E'<header>\n<h1>%s</h1>\n<p class="sentence %s">%s</p>\n', wee5_cron.html_name(heading), summary.class,
             wee5_cron.html(summary.sentence)),
      format(E'<p class="made">As of %s UTC. The page reloads every 30 seconds.</p>\n</header>\n<main>\n',
             to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')),
      wee5_cron.page_part('troubles', 'What needs you', 'SELECT wee5_cron.page_troubles($1, $2)', jobs, findings),
      wee5_cron.page_part('jobs', 'Jobs', 'SELECT wee5_cron.page_jobs($1)', jobs, findings),
      wee5_cron.page_part('failures', 'Failures of the last day', 'SELECT wee5_cron.page_failures()', jobs, findings),
      wee5_cron.page_part('calls', 'Newest calls', 'SELECT wee5_cron.page_newest_calls()', jobs, findings),
      wee5_cron.page_part('queue', 'Queue and worker', 'SELECT wee5_cron.page_queue()', jobs, findings),
      wee5_cron.page_part('findings', 'What doctor() finds', 'SELECT wee5_cron.page_doctor($2)', jobs, findings),
      wee5_cron.page_part('day', 'The next 24 hours', 'SELECT wee5_cron.page_next_day($1)', jobs, findings),
      E'</main>\n<footer><p>One call with its attempts and its answer: <code>SELECT wee5_cron.call_page(id)</code>.</p>',
      E'</footer>\n'));
END
$$;
COMMENT ON FUNCTION wee5_cron.status_page(text) IS
  'The state of the jobs as a page of HTML without scripts: psql -AtXc ''SELECT wee5_cron.status_page()'' > cron.html. title: its heading';

CREATE FUNCTION wee5_cron.call_facts(call wee5_cron.invocation) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT '<dl class="facts">' || concat(
      wee5_cron.page_fact('Method', wee5_cron.html(call.method)),
      wee5_cron.page_fact('HTTP status', call.http_status::text),
      wee5_cron.page_fact('Attempts', call.attempts::text),
      wee5_cron.page_fact('Duration', wee5_cron.span_in_words(call.duration)),
      wee5_cron.page_fact('Requested', wee5_cron.html_time(call.requested_at)),
      wee5_cron.page_fact('Scheduled for',
                          CASE WHEN call.scheduled_at IS NOT NULL THEN wee5_cron.html_time(call.scheduled_at) END),
      wee5_cron.page_fact(CASE call.status WHEN 'accepted' THEN 'Complete by' ELSE 'Next attempt' END,
                          CASE WHEN isfinite(call.next_attempt_at) THEN wee5_cron.html_time(call.next_attempt_at) END),
      wee5_cron.page_fact('Transport', wee5_cron.html(call.transport)),
      wee5_cron.page_fact('Run of pg_cron', call.cron_run_id::text),
      -- As in traceparent, where the key itself would be a capability.
      wee5_cron.page_fact('Trace', format('<code>%s</code>', encode(
        substr(sha256(convert_to('trace' || call.idempotency_key, 'UTF8')), 1, 16), 'hex')))) || '</dl>'
  $$;
COMMENT ON FUNCTION wee5_cron.call_facts(wee5_cron.invocation) IS
  'Internal, for call_page(): the columns of the ledger that may be shown';

CREATE FUNCTION wee5_cron.call_attempts(id bigint, endpoint_path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.html_table('Attempts', '{Attempt,Begun,Status,Time,Phases,Error}', string_agg(format(
      '<tr><th scope="row">%s</th><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td class="wide">%s</td></tr>',
      a.attempt, wee5_cron.html_time(a.started_at), wee5_cron.html(concat_ws(' ', a.reason, a.http_status)),
      coalesce(wee5_cron.span_in_words(a.total_ms * interval '1 ms'), '-'), wee5_cron.page_bar(a.whole, a.longest),
      wee5_cron.html_advice(a.error, NULL, endpoint_path)), E'\n' ORDER BY a.attempt)) || wee5_cron.page_key()
    FROM (SELECT t AS whole, t.*, max(t.total_ms) OVER () AS longest
          FROM wee5_cron.attempt t WHERE t.invocation_id = call_attempts.id) a
  $$;
COMMENT ON FUNCTION wee5_cron.call_attempts(bigint, text) IS 'Internal, for call_page(): the attempts of a call; NULL: none';

CREATE FUNCTION wee5_cron.call_page(id bigint) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  SET standard_conforming_strings = on
  AS $$
DECLARE
  call wee5_cron.invocation;
BEGIN
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_page.id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no call %', coalesce(id::text, 'NULL')
      USING ERRCODE = '02000', HINT = 'Old calls are deleted. The newest call: SELECT max(id) FROM wee5_cron.invocation;';
  END IF;
  RETURN wee5_cron.page(format('Call %s', call.id), NULL, concat(
    format(E'<header>\n<h1>Call %s</h1>\n<p class="sentence">%s</p>\n', call.id, wee5_cron.html_path(call.endpoint_path)),
    format(E'<p class="made">%s %s</p>\n</header>\n<main>\n', wee5_cron.html_state(call.status),
           wee5_cron.page_origin(call.job_name, call.requested_by)),
    wee5_cron.html_section('outcome', 'Outcome', wee5_cron.html_advice(call.error, call.hint, call.endpoint_path)),
    wee5_cron.html_section('facts', 'Facts', wee5_cron.call_facts(call)),
    wee5_cron.html_section('attempts', 'Attempts', wee5_cron.call_attempts(call.id, call.endpoint_path)),
    wee5_cron.html_section('answer', 'Answer', CASE WHEN call.response_body <> '' THEN format(
      '<p class="quiet">%s%s</p><pre class="answer" dir="auto" tabindex="0">%s</pre>', wee5_cron.html(call.response_content_type),
      CASE WHEN call.response_truncated THEN ' (cut)' END, wee5_cron.html(call.response_body)) END),
    E'</main>\n'));
END
$$;
COMMENT ON FUNCTION wee5_cron.call_page(bigint) IS
  'One call with its attempts and its answer as a page of HTML. It shows no header, and no query of its path';
