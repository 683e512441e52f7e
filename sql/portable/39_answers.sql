-- What an answer that pg_net received means for the ledger. The twin of pg_net_answer.cpp and decision.cpp in src/core/outcome.

-- pg_net reports a failure only in words: libcurl's, or "Timeout of 5000 ms reached ...". Only some versions also set timed_out.
-- Look for the words of a timeout first, because that message goes on with the DNS and TLS phases.
CREATE FUNCTION wee5_cron.reason_of_pg_net(error_msg text, timed_out boolean) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN timed_out OR said ~ 'timeout|timed out' THEN 'timeout'
                WHEN said ~ 'resolve host|resolve proxy|resolving host|could not resolve' THEN 'dns'
                WHEN said ~ 'connect to server|failed to connect|connection refused|proxy handshake' THEN 'connect'
                WHEN said ~ 'ssl|tls|certificate|ca cert|issuer check|crl file' THEN 'tls'
                WHEN said ~ 'redirect' THEN 'redirect'
                WHEN said ~ 'url using bad|unsupported protocol|malformed|bad/illegal' THEN 'config'
                ELSE 'response' END
    FROM lower(coalesce(error_msg, '') COLLATE "C") AS said
  $$;
COMMENT ON FUNCTION wee5_cron.reason_of_pg_net(text, boolean) IS 'Internal: the reason that the words of pg_net stand for';

CREATE FUNCTION wee5_cron.without_secrets(value text, secrets text[]) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  secret text;
BEGIN
  -- The longest first: a shorter secret may be a part of it.
  FOR secret IN SELECT s.secret FROM unnest(secrets) WITH ORDINALITY AS s (secret, place) ORDER BY octet_length(s.secret) DESC, s.place LOOP
    -- No spelling of a secret is shorter than the secret itself.
    IF octet_length(value) >= octet_length(secret) THEN
      value := wee5_cron.redact(value, secret);
    END IF;
  END LOOP;
  RETURN value;
END
$$;
COMMENT ON FUNCTION wee5_cron.without_secrets(text, text[]) IS 'Internal: a text without any of the secrets';

-- A spelling of a secret has at most six bytes for each byte of the secret. wee5_cron reads only the beginning of a long answer,
-- so the end of that may cut a secret in two.
CREATE FUNCTION wee5_cron.longest_spelling(secrets text[]) RETURNS int
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(6 * max(octet_length(secret)), 0) FROM unnest(secrets) AS secret $$;
COMMENT ON FUNCTION wee5_cron.longest_spelling(text[]) IS 'Internal: the most bytes that a spelling of one of the secrets has';

-- The part of an answer that the ledger may keep. Redact first and cut then, because nothing finds half a secret. If the secrets
-- are not known, a fixed text replaces the answer.
CREATE FUNCTION wee5_cron.kept_text(value text, secrets text[], most int) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  looked_at constant int := most + 8192;
  head text;
BEGIN
  IF value = '' THEN
    RETURN '';
  ELSIF secrets IS NULL THEN
    RETURN wee5_cron.withheld();
  END IF;
  head := wee5_cron.first_received_bytes(value, looked_at);
  IF octet_length(value) <= looked_at THEN
    RETURN wee5_cron.shorten(wee5_cron.without_secrets(head, secrets), most);
  END IF;
  IF octet_length(head) < looked_at THEN
    head := head || U&'\FFFD';
  END IF;
  head := wee5_cron.without_secrets(head, secrets);
  RETURN wee5_cron.shorten(wee5_cron.first_bytes(head, octet_length(head) - wee5_cron.longest_spelling(secrets)), most);
END
$$;
COMMENT ON FUNCTION wee5_cron.kept_text(text, text[], int) IS 'Internal: a text of an answer as the ledger may keep it';

CREATE FUNCTION wee5_cron.withheld() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '[not kept: Vault cannot be read, so the secret could not be struck out]' $$;
COMMENT ON FUNCTION wee5_cron.withheld() IS 'Internal: what stands for an answer if the secrets in it are not known';

CREATE FUNCTION wee5_cron.kept_body(content text, secrets text[], most int, OUT body text, OUT truncated boolean)
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes constant int := coalesce(octet_length(content), 0);
  looked_at constant int := least(bytes, most + 8192);
  head text;
  length int;
BEGIN
  truncated := bytes > most AND secrets IS NOT NULL;
  IF bytes = 0 OR secrets IS NULL THEN
    body := CASE WHEN bytes > 0 THEN wee5_cron.withheld() ELSE content END;
    RETURN;
  END IF;
  head := wee5_cron.first_received_bytes(content, looked_at);
  body := wee5_cron.without_secrets(head, secrets);
  -- Includes the bytes of a character that the cut halved.
  length := octet_length(body) + greatest(looked_at - octet_length(head), 0);
  IF bytes > looked_at THEN
    length := length - wee5_cron.longest_spelling(secrets);
  END IF;
  body := wee5_cron.first_bytes(body, CASE WHEN truncated THEN least(length, most) ELSE length END);
END
$$;
COMMENT ON FUNCTION wee5_cron.kept_body(text, text[], int) IS 'Internal: the body of an answer as the ledger may keep it';

-- `secrets`: NULL if they are not known. Times are Unix times in microseconds.
CREATE FUNCTION wee5_cron.pg_net_outcome(
    lost boolean, status_code int, timed_out boolean, error_msg text, content_type text, content text, answer_headers jsonb,
    endpoint_path text, url text, method text, timeout_ms bigint, attempt int, first_begun_us bigint, may_retry boolean,
    secrets text[], max_response_bytes int, policy wee5_cron.endpoint, now_us bigint, random float8,
    OUT status text, OUT reason text, OUT error text, OUT hint text, OUT next_attempt_us bigint, OUT response_content_type text,
    OUT response_body text, OUT response_truncated boolean)
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  http_status constant int := coalesce(status_code, 0);
  seen constant text := CASE WHEN lost THEN 'lost'
                             WHEN http_status = 0 OR error_msg IS NOT NULL OR timed_out THEN wee5_cron.reason_of_pg_net(error_msg, timed_out)
                             ELSE '' END;
  retries record;
  accepted boolean;
BEGIN
  SELECT * INTO retries FROM wee5_cron.retry_policy_of(policy);
  response_content_type := wee5_cron.kept_text(coalesce(content_type, ''), secrets, 200);
  SELECT k.body, k.truncated INTO response_body, response_truncated
  FROM wee5_cron.kept_body(content, secrets, max_response_bytes) k;
  SELECT e.reason, e.error, e.hint INTO reason, error, hint
  FROM wee5_cron.explain(seen, http_status, coalesce(url, ''), endpoint_path, coalesce(method, ''), response_content_type,
                         wee5_cron.kept_text(coalesce(error_msg, ''), secrets, 512), timeout_ms,
                         wee5_cron.cache_signs(answer_headers)) e;
  response_content_type := nullif(response_content_type, '');
  -- A webhook completes nothing later.
  accepted := reason IS NULL AND http_status = 202 AND endpoint_path <> 'wee5_cron.alert' AND wee5_cron.says_accepted(answer_headers);
  IF accepted THEN
    next_attempt_us := wee5_cron.completion_deadline_us(retries.complete_within_ms, now_us);
  ELSIF reason IS NOT NULL AND may_retry THEN
    next_attempt_us := wee5_cron.next_attempt_us(retries.max_attempts, retries.retry_on, retries.delays_ms, retries.window_ms,
      attempt, reason, http_status, wee5_cron.retry_after_of(answer_headers), first_begun_us, now_us, random);
  END IF;
  status := CASE WHEN accepted THEN 'accepted' WHEN reason IS NULL THEN 'succeeded' WHEN next_attempt_us IS NOT NULL THEN 'retrying' ELSE 'failed' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.pg_net_outcome(boolean, int, boolean, text, text, text, jsonb, text, text, text, bigint, int, bigint, boolean, text[], int, wee5_cron.endpoint, bigint, float8) IS
  'Internal: what an answer of pg_net means for the row of its call';

CREATE FUNCTION wee5_cron.says_accepted(answer_headers jsonb) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (SELECT FROM wee5_cron.header_lines(answer_headers) l
                   WHERE l.name = 'wee5-cron' AND lower(l.value COLLATE "C") = 'accepted')
  $$;
COMMENT ON FUNCTION wee5_cron.says_accepted(jsonb) IS 'Internal: whether an answer''s headers say Wee5-Cron: accepted';

CREATE FUNCTION wee5_cron.retry_after_of(answer_headers jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT h.value #>> '{}'
    FROM jsonb_each(CASE jsonb_typeof(answer_headers) WHEN 'object' THEN answer_headers ELSE '{}' END)
      WITH ORDINALITY AS h(key, value, place)
    WHERE lower(h.key COLLATE "C") = 'retry-after' AND jsonb_typeof(h.value) IN ('string', 'number')
    ORDER BY h.place LIMIT 1
  $$;
COMMENT ON FUNCTION wee5_cron.retry_after_of(jsonb) IS 'Internal: the Retry-After of an answer''s headers; NULL: none';

-- What it takes to decide the answers to a role's calls. harvest() reads it once, because that takes longer than the decisions.
CREATE FUNCTION wee5_cron.answer_settings(role name, OUT secrets text[], OUT timeout_ms bigint, OUT max_response_bytes int)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  secrets := wee5_cron.secrets_of(role);
  timeout_ms := wee5_cron.setting_ms('request_timeout');
  max_response_bytes := wee5_cron.setting_bytes('max_response_bytes');
END
$$;
COMMENT ON FUNCTION wee5_cron.answer_settings(name) IS
  'Internal, for harvest(): secrets and settings for decide_pg_net_answer()';

-- The same secret has the same digest in each row of pg_net_request, so all rows together tell no more than 32 bits of it. In
-- PL/pgSQL, because each call runs it: Postgres plans a function in SQL anew each time.
CREATE FUNCTION wee5_cron.digests_of(secrets text[]) RETURNS int[]
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  digests int[];
  secret text;
BEGIN
  IF secrets IS NULL THEN
    RETURN NULL;
  END IF;
  digests := '{}';
  FOREACH secret IN ARRAY secrets LOOP
    digests := digests || hashtext(secret);
  END LOOP;
  RETURN digests;
END
$$;
COMMENT ON FUNCTION wee5_cron.digests_of(text[]) IS 'Internal: pg_net_request.secret_digests of these secrets; NULL: they are not known';

CREATE FUNCTION wee5_cron.decide_pg_net_answer(
    endpoint_path text, method text, url text, timeout interval, requested_by name, requested_at timestamptz, attempts int,
    lost boolean, status_code int, content_type text, content text, timed_out boolean, error_msg text, answer_headers jsonb,
    may_retry boolean, random float8, secrets text[], timeout_ms bigint, max_response_bytes int,
    secret_digests int[],
    OUT status text, OUT reason text, OUT error text, OUT hint text, OUT next_attempt_at timestamptz, OUT ended_at timestamptz,
    OUT finished_at timestamptz, OUT response_content_type text, OUT response_body text, OUT response_truncated boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ms constant bigint := wee5_cron.interval_milliseconds(timeout);
  policy constant wee5_cron.endpoint := wee5_cron.policy_of(endpoint_path);
  -- Then nobody could find that secret in the answer.
  forgotten constant boolean := (secret_digests <@ wee5_cron.digests_of(secrets)) IS FALSE;
  outcome record;
BEGIN
  IF endpoint_path IS NULL OR requested_at IS NULL OR attempts IS NULL THEN
    RETURN;
  END IF;
  ended_at := clock_timestamp();
  SELECT * INTO outcome FROM wee5_cron.pg_net_outcome(
    coalesce(lost, false), status_code, coalesce(timed_out, false), error_msg, CASE WHEN NOT forgotten THEN content_type END,
    CASE WHEN forgotten AND content <> '' THEN '[not kept: a secret of this call is not stored any more, so it could not be struck out]'
         ELSE content END, answer_headers, endpoint_path, url, method, CASE WHEN ms > 0 THEN least(ms, 2147483647) ELSE timeout_ms END,
    attempts + 1, wee5_cron.unix_us(requested_at), coalesce(may_retry, false), secrets,
    CASE WHEN policy.max_response_bytes BETWEEN 0 AND 1048576 THEN policy.max_response_bytes
         ELSE decide_pg_net_answer.max_response_bytes END,
    policy, wee5_cron.unix_us(ended_at), coalesce(random, 0.5));
  status := outcome.status;
  reason := outcome.reason;
  error := outcome.error;
  hint := outcome.hint;
  next_attempt_at := wee5_cron.time_of_unix_us(outcome.next_attempt_us);
  finished_at := CASE WHEN outcome.next_attempt_us IS NULL THEN ended_at END;
  response_content_type := outcome.response_content_type;
  response_body := outcome.response_body;
  response_truncated := outcome.response_truncated;
END
$$;
COMMENT ON FUNCTION wee5_cron.decide_pg_net_answer(text, text, text, interval, name, timestamptz, int, boolean, int, text, text, boolean, text, jsonb, boolean, float8, text[], bigint, int, int[]) IS
  'Internal, for harvest(): what an answer of pg_net means for the row of its call; random from 0 to 1 spreads the delay of a retry; secret_digests: see pg_net_request';

-- The row of an accepted call that the app did not complete in time.
CREATE FUNCTION wee5_cron.decide_incomplete(endpoint_path text, attempts int, first_begun timestamptz, random float8,
                                            OUT status text, OUT reason text, OUT error text, OUT hint text,
                                            OUT next_attempt_at timestamptz, OUT finished_at timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ended_at constant timestamptz := clock_timestamp();
BEGIN
  IF endpoint_path IS NULL OR attempts IS NULL OR first_begun IS NULL OR random IS NULL THEN
    RETURN;
  END IF;
  reason := 'incomplete';
  SELECT wee5_cron.shorten(e.error, 4096), wee5_cron.shorten(e.hint, 4096) INTO error, hint
  FROM wee5_cron.explain(reason, 0, '', endpoint_path, '', '', '', 0, '') e;
  next_attempt_at := wee5_cron.next_attempt(wee5_cron.policy_of(endpoint_path), attempts, reason, 0, NULL, first_begun,
                                            ended_at, random);
  finished_at := CASE WHEN next_attempt_at IS NULL THEN ended_at END;
  status := CASE WHEN next_attempt_at IS NULL THEN 'failed' ELSE 'retrying' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.decide_incomplete(text, int, timestamptz, float8) IS
  'Internal: what becomes of a call that the app accepted and did not complete in time; random from 0 to 1 spreads the delay of a retry';

CREATE FUNCTION wee5_cron.redact_for(role name, value text) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  secrets constant text[] := wee5_cron.secrets_of(role);
BEGIN
  RETURN CASE WHEN value IS NULL THEN NULL WHEN secrets IS NULL THEN wee5_cron.withheld()
              ELSE wee5_cron.without_secrets(value, secrets) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.redact_for(name, text) IS
  'Internal: the text without the secret that calls of the role carry';

CREATE FUNCTION wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  retries record;
BEGIN
  SELECT * INTO retries FROM wee5_cron.retry_policy_of(wee5_cron.policy_of(endpoint_path));
  RETURN wee5_cron.retry_may_begin(retries.retry_on, retries.max_attempts, retries.window_ms, attempt,
                                   wee5_cron.unix_us(first_begun), wee5_cron.unix_us(clock_timestamp()));
END
$$;
COMMENT ON FUNCTION wee5_cron.may_still_begin(text, int, timestamptz) IS
  'Internal, for harvest(): whether the path''s policy, as it is now, still allows a retry that is due';
