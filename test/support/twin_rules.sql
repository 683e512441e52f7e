-- Asks the twins in PL/pgSQL the questions that core_rules.cpp answers, in the same form.

CREATE FUNCTION pg_temp.arguments_of(question text) RETURNS text[] LANGUAGE sql AS $$
  SELECT coalesce(array_agg(convert_from(decode(hex, 'hex'), 'UTF8') ORDER BY place), '{}')
  FROM unnest((string_to_array(question, E'\t'))[2:]) WITH ORDINALITY AS t(hex, place)
$$;

CREATE FUNCTION pg_temp.policy_of(a text[], place int) RETURNS wee5_cron.endpoint LANGUAGE sql AS $$
  SELECT jsonb_populate_record(NULL::wee5_cron.endpoint, jsonb_build_object('max_attempts', a[place]::int, 'retry_on', a[place + 1],
    'retry_window', a[place + 3]::bigint * interval '1 millisecond',
    'retry_delays', (SELECT array_agg(ms::bigint * interval '1 millisecond') FROM unnest(string_to_array(a[place + 2], ',')) ms)))
$$;

CREATE FUNCTION pg_temp.headers_from(a text[], place int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_object_agg(a[n], a[n + 1]), '{}') FROM generate_series(place, cardinality(a) - 1, 2) n
$$;

-- Of half of the calls, the further headers are NULL if there are none.
CREATE FUNCTION pg_temp.request_headers_of(a text[]) RETURNS text[] LANGUAGE sql AS $$
  WITH further AS (
    SELECT pg_temp.headers_from(a[:12 + 2 * a[12]::int], 13) AS secret, pg_temp.headers_from(a, 13 + 2 * a[12]::int) AS custom
  )
  SELECT array_agg(h.key || ': ' || h.value ORDER BY h.key || ': ' || h.value COLLATE "C")
  FROM further f CROSS JOIN LATERAL jsonb_each_text(wee5_cron.request_headers(
    a[1], jsonb_build_object('header', a[10], 'prefix', a[11], 'headers', f.secret), a[2]::bigint, a[3]::int, nullif(a[4], '')::uuid,
    nullif(a[5], ''), nullif(a[6], '')::timestamptz, a[7]::boolean, a[8]::int, a[9],
    CASE WHEN f.custom = '{}' AND a[3]::int % 2 = 0 THEN NULL ELSE f.custom END)) h
$$;

CREATE FUNCTION pg_temp.schedule_of(a text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  r record;
  minute constant bigint := wee5_cron.minute_start(a[4]::bigint);
BEGIN
  SELECT * INTO r FROM wee5_cron.read_cron_schedule(a[1], a[2]::boolean, a[3]::boolean);
  IF NOT r.readable THEN
    RETURN ARRAY[NULL];
  END IF;
  RETURN ARRAY[coalesce(r.interval_seconds, 0)::text, left(r.at_reboot::text, 1),
    wee5_cron.find_tick(minute, -1, 'GMT', r.minutes, r.hours, r.days, r.months, r.weekdays, r.any_of_days, r.on_last_day)::text,
    wee5_cron.find_tick(minute + 60, 1, 'GMT', r.minutes, r.hours, r.days, r.months, r.weekdays, r.any_of_days, r.on_last_day)::text];
END
$$;

CREATE FUNCTION pg_temp.next_attempt_of(a text[]) RETURNS bigint LANGUAGE sql AS $$
  SELECT wee5_cron.next_attempt_us(p.max_attempts, p.retry_on, p.delays_ms, p.window_ms, a[5]::int, a[6], a[7]::int, a[8],
                                   a[9]::bigint, a[10]::bigint, a[11]::float8)
  FROM wee5_cron.retry_policy_of(pg_temp.policy_of(a, 1)) p
$$;

CREATE FUNCTION pg_temp.may_begin_of(a text[]) RETURNS boolean LANGUAGE sql AS $$
  SELECT wee5_cron.retry_may_begin(p.retry_on, p.max_attempts, p.window_ms, a[5]::int, a[6]::bigint, a[7]::bigint)
  FROM wee5_cron.retry_policy_of(pg_temp.policy_of(a, 1)) p
$$;

CREATE FUNCTION pg_temp.outcome_of(a text[]) RETURNS text[] LANGUAGE sql AS $$
  SELECT ARRAY[o.status, o.reason, o.error, o.hint, o.next_attempt_us::text, o.response_content_type, o.response_body,
               left(o.response_truncated::text, 1)]
  FROM wee5_cron.pg_net_outcome(a[1]::boolean, a[2]::int, a[3]::boolean, CASE WHEN a[4]::boolean THEN a[5] END, a[6], a[7],
    pg_temp.headers_from(a, 24), a[8], a[9], a[10], a[11]::bigint, a[12]::int, a[13]::bigint, a[14]::boolean,
    string_to_array(a[22], ' '), a[21]::int, jsonb_populate_record(pg_temp.policy_of(a, 15), jsonb_build_object('complete_within', a[23]::bigint * interval '1 ms')), a[19]::bigint, a[20]::float8) o
$$;

CREATE FUNCTION pg_temp.previous_of(document text) RETURNS text[] LANGUAGE sql AS $$
  SELECT CASE WHEN p.secret IS NULL THEN ARRAY[wee5_cron.secret_of_document(document), NULL]
         ELSE ARRAY[wee5_cron.secret_of_document(document), p.secret, p.api_url, p.until_us::text,
                    wee5_cron.previous_secret_hint(wee5_cron.time_of_unix_us(p.until_us)),
                    wee5_cron.write_previous_secret(p.secret, p.api_url, p.until_us)] END
  FROM wee5_cron.read_previous_secret(document) p
$$;

CREATE FUNCTION pg_temp.target_of(document text, name text) RETURNS text[] LANGUAGE sql AS $$
  SELECT CASE WHEN t.source IS NULL THEN ARRAY['none'] ELSE
    ARRAY[t.api_url, t.secret, t.header, t.prefix]
    || ARRAY(SELECT p.secret || ' ' || p.until_us FROM wee5_cron.read_previous_secret(t.previous) p WHERE p.secret IS NOT NULL)
    || ARRAY(SELECT h.key || ': ' || h.value || E'\n' FROM jsonb_each_text(t.headers) h ORDER BY h.key || ': ' || h.value COLLATE "C") END
  FROM wee5_cron.find_target(name, document) t
$$;

CREATE FUNCTION pg_temp.results_of(rule text, a text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
  CASE rule
  WHEN 'path' THEN PERFORM wee5_cron.check_endpoint_path(a[1]); RETURN '{}';
  WHEN 'encoded_path' THEN RETURN ARRAY[wee5_cron.encode_endpoint_path(a[1])];
  WHEN 'api_url' THEN RETURN (SELECT ARRAY[u.scheme, u.host, u.port, u.url] FROM wee5_cron.parse_api_url(a[1], a[2]) u);
  WHEN 'join_url' THEN RETURN ARRAY[wee5_cron.join_url(a[1], a[2], a[3])];
  WHEN 'webhook' THEN RETURN (SELECT ARRAY[w.url, w.origin, w.secret, wee5_cron.alert_receiver_of(w.host)]
                              FROM wee5_cron.parse_webhook(a[1], a[2]) w);
  WHEN 'host' THEN RETURN ARRAY[left(wee5_cron.is_private_host(a[1])::text, 1), left(wee5_cron.is_loopback_host(a[1])::text, 1)];
  WHEN 'plain_http' THEN RETURN ARRAY[wee5_cron.read_plain_http_rule(a[1])];
  WHEN 'plain_http_host' THEN RETURN ARRAY[left(wee5_cron.plain_http_allowed(a[1], a[2])::text, 1)];
  WHEN 'printable' THEN RETURN ARRAY[wee5_cron.printable(a[1], a[2]::int)];
  WHEN 'previous_secret' THEN RETURN pg_temp.previous_of(a[1]);
  WHEN 'rotation' THEN RETURN ARRAY[wee5_cron.rotation_step(a[1], a[2], wee5_cron.same_origin(a[3], a[4]), a[5]::boolean)];
  WHEN 'target' THEN RETURN pg_temp.target_of(a[1], a[2]);
  WHEN 'request_secrets' THEN RETURN ARRAY(SELECT DISTINCT s COLLATE "C" FROM unnest(wee5_cron.secrets_of_request(a[1], pg_temp.headers_from(a, 2))) s ORDER BY 1);
  WHEN 'target_secrets' THEN RETURN ARRAY(SELECT s COLLATE "C" FROM unnest(wee5_cron.secrets_of_targets(a[1])) s ORDER BY 1);
  WHEN 'url_of_target' THEN RETURN ARRAY[wee5_cron.join_url(a[1], a[2], a[3], a[4])];
  WHEN 'redact_all' THEN RETURN ARRAY[wee5_cron.without_secrets(a[1], a[2:4])];
  WHEN 'redact' THEN RETURN ARRAY[wee5_cron.redact(a[1], a[2])];
  WHEN 'secret' THEN PERFORM wee5_cron.check_secret(a[1]); RETURN '{}';
  WHEN 'method' THEN RETURN ARRAY[wee5_cron.parse_method(a[1]), left(wee5_cron.takes_body(wee5_cron.parse_method(a[1]))::text, 1),
                                  left(wee5_cron.needs_body(wee5_cron.parse_method(a[1]))::text, 1)];
  WHEN 'header' THEN PERFORM wee5_cron.check_header(a[1], a[2]); RETURN '{}';
  WHEN 'headers' THEN
    RETURN (SELECT array_agg(h.key || ': ' || h.value ORDER BY h.key COLLATE "C")
            FROM jsonb_each_text(wee5_cron.own_headers(a[1], a[2]::bigint, a[3]::int, a[4], a[5], nullif(a[6], '')::timestamptz,
              a[7]::boolean, a[8]::int, a[9], pg_temp.headers_from(a, 10)) || pg_temp.headers_from(a, 10)) h);
  WHEN 'request_headers' THEN RETURN pg_temp.request_headers_of(a);
  WHEN 'occurrence' THEN
    RETURN ARRAY[wee5_cron.occurrence_key(convert_to(a[1], 'UTF8'), a[2], a[3], to_timestamp(a[4]::bigint), a[5], a[6], nullif(a[7], ''),
                                          a[8]::bigint)::text];
  WHEN 'retry_after' THEN RETURN ARRAY[wee5_cron.retry_after_us(a[1], a[2]::bigint)::text];
  WHEN 'next_attempt' THEN RETURN ARRAY[pg_temp.next_attempt_of(a)::text];
  WHEN 'may_begin' THEN RETURN ARRAY[left(pg_temp.may_begin_of(a)::text, 1)];
  WHEN 'pg_net' THEN RETURN pg_temp.outcome_of(a);
  WHEN 'schedule' THEN RETURN pg_temp.schedule_of(a);
  WHEN 'job_command' THEN
    RETURN (SELECT ARRAY[array_to_string(c.functions, ','), c.endpoint_path, left(c.is_plain::text, 1), left(c.harvests::text, 1),
                         c.other_schema, c.other_path]
            FROM wee5_cron.read_job_command(a[1], a[2]) c);
  END CASE;
END
$$;

CREATE FUNCTION pg_temp.hex_of(value text) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(upper(encode(convert_to(value, 'UTF8'), 'hex')), '-')
$$;

CREATE FUNCTION pg_temp.answer_to(question text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  state text;
  message text;
  hint text;
  answer text;
BEGIN
  SELECT coalesce(string_agg(E'\t' || pg_temp.hex_of(r.result), '' ORDER BY r.place), '') INTO answer
  FROM unnest(pg_temp.results_of(split_part(question, E'\t', 1), pg_temp.arguments_of(question))) WITH ORDINALITY AS r(result, place);
  RETURN '=' || answer;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN format(E'!\t%s\t%s\t%s', pg_temp.hex_of(state), pg_temp.hex_of(message), pg_temp.hex_of(hint));
END
$$;
