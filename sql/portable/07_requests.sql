-- Method, headers and body of a request. The twins of src/core/request/request_headers.cpp, src/core/request/occurrence.cpp and
-- src/pg/boundary/json_headers.cpp.

CREATE FUNCTION wee5_cron.parse_method(method text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  name constant text := upper(method COLLATE "C");
BEGIN
  IF name IN ('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD') THEN
    RETURN name;
  END IF;
  RAISE EXCEPTION 'invalid method "%"', wee5_cron.printable(method)
    USING ERRCODE = 'invalid_parameter_value', HINT = 'Use GET, POST, PUT, PATCH, DELETE or HEAD.';
END
$$;
COMMENT ON FUNCTION wee5_cron.parse_method(text) IS 'Internal: a method in upper case; an error if there is no such method';

CREATE FUNCTION wee5_cron.takes_body(method text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN method NOT IN ('GET', 'HEAD'); END $$;
COMMENT ON FUNCTION wee5_cron.takes_body(text) IS 'Internal: whether a request of this method may have a body';

CREATE FUNCTION wee5_cron.needs_body(method text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN method NOT IN ('GET', 'HEAD', 'DELETE'); END $$;
COMMENT ON FUNCTION wee5_cron.needs_body(text) IS 'Internal: whether a request of this method sends {} if the caller gave no body';

CREATE FUNCTION wee5_cron.check_body_bytes(body jsonb, most int) RETURNS void
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes constant int := octet_length(body::text);
BEGIN
  IF bytes > most THEN
    RAISE EXCEPTION 'the body has % bytes, and wee5_cron.max_request_bytes allows %', bytes, most
      USING ERRCODE = 'invalid_parameter_value',
            HINT = wee5_cron.hint_here(format(
              'Send only what the app needs to find the data itself, or let a superuser raise the limit: ALTER '
              || 'DATABASE %I SET wee5_cron.max_request_bytes = ''%skB'';', current_database(), bytes / 1024 + 1));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_body_bytes(jsonb, int) IS 'Internal: raises an error if a body is too large';

CREATE FUNCTION wee5_cron.check_header(name text, value text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  lower_name constant text := lower(name COLLATE "C");
  -- If a caller gives a whole line "Name: value" as the name, the error must not show the value.
  shown constant text := wee5_cron.printable(split_part(name, ':', 1));
BEGIN
  IF name !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' THEN
    RAISE EXCEPTION 'invalid header name "%"', shown
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A header''s name holds letters, digits and hyphens, such as "X-Request-Source"; no blanks and no colon.';
  -- Headers of the transfer itself. A second one would let a caller choose the host, forge the bearer, split the request or
  -- change how the connection is used (RFC 9110, sections 7.6.1, 7.8, 10.1.1 and 10.1.4).
  ELSIF lower_name IN ('authorization', 'host', 'content-length', 'transfer-encoding', 'connection', 'expect', 'te',
                       'trailer', 'upgrade') OR starts_with(lower_name, 'proxy-') THEN
    RAISE EXCEPTION 'header "%" cannot be set by a caller', shown
      USING ERRCODE = 'invalid_parameter_value',
            HINT = CASE lower_name WHEN 'authorization' THEN 'The bearer comes from app.settings.cron_secret; leave the header out.'
                                   ELSE 'It is written with the request itself; leave it out.' END;
  ELSIF lower_name IN ('content-type', 'cache-control', 'idempotency-key', 'x-vercel-cron-schedule')
        OR starts_with(lower_name, 'x-wee5-cron-') THEN
    RAISE EXCEPTION 'header "%" cannot be set by a caller', shown
      USING ERRCODE = 'invalid_parameter_value', HINT = 'wee5_cron sends this header itself; choose another name.';
  ELSIF value ~ E'[\r\n]' THEN
    RAISE EXCEPTION 'the value of header "%" holds a line break or a NUL byte', shown
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Take it out, or encode the value, for instance as base64.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_header(text, text) IS 'Internal: raises an error if a caller may not set this header';

-- A secret header, which only the configuration of a target may give. It may be Authorization.
CREATE FUNCTION wee5_cron.check_secret_header(name text, value text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF lower(name COLLATE "C") <> 'authorization' THEN
    PERFORM wee5_cron.check_header(name, value);
  ELSIF value ~ E'[\r\n]' THEN
    RAISE EXCEPTION 'the value of header "%" holds a line break or a NUL byte', name
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Take it out, or encode the value, for instance as base64.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_secret_header(text, text) IS 'Internal: raises an error if a target may not have this header';

-- Servers accept 8 to 16 kB of headers in a request.
CREATE FUNCTION wee5_cron.headers_of(headers jsonb, OUT name text, OUT value text) RETURNS SETOF record
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  most constant int := 65536;
  bad text;
BEGIN
  IF headers IS NULL THEN
    RETURN;
  ELSIF jsonb_typeof(headers) <> 'object' THEN
    RAISE EXCEPTION 'headers must be a JSON object'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Write them as ''{"X-Name": "value"}''.';
  ELSIF (SELECT sum(octet_length(h.key) + CASE jsonb_typeof(h.value) WHEN 'string' THEN octet_length(h.value #>> '{}') ELSE 0 END)
         FROM jsonb_each(headers) h) > most THEN
    RAISE EXCEPTION 'the headers have more than % bytes, more than any server accepts', most
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Send large data in the body.';
  END IF;
  FOR name, value, bad IN
    SELECT h.key, h.value #>> '{}', nullif(jsonb_typeof(h.value), 'string') FROM jsonb_each(headers) h
  LOOP
    IF bad IS NOT NULL THEN
      RAISE EXCEPTION 'the value of header "%" is not a string', name
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Write every header''s value as a JSON string: ''{"X-Count": "5"}''.';
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.headers_of(jsonb) IS
  'Internal: the headers that a JSON object holds; an error if one cannot be a header';

-- Encodes a text so that decodeURIComponent() restores it. Printable ASCII stays, except '%' and except blanks at the ends,
-- which receivers remove.
CREATE FUNCTION wee5_cron.header_text(value text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF value !~ '[^\u0020-\u007E]|%|^ | $' THEN
    RETURN value;
  END IF;
  RETURN (
    SELECT string_agg(
      CASE WHEN c.value ~ '[^\u0020-\u007E]|%' OR c.value = ' ' AND c.place IN (1, length($1))
           THEN regexp_replace(upper(encode(convert_to(c.value, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
           ELSE c.value END, '' ORDER BY c.place)
    FROM regexp_split_to_table($1, '') WITH ORDINALITY AS c(value, place));
END
$$;
COMMENT ON FUNCTION wee5_cron.header_text(text) IS 'Internal: any text as a header can carry it';

-- `key`: as the Idempotency-Key header has it. The trace id goes to systems that must not learn the key.
CREATE FUNCTION wee5_cron.trace_id(idempotency_key text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN left(encode(sha256(convert_to('trace' || idempotency_key, 'UTF8')), 'hex'), 32);
END
$$;
COMMENT ON FUNCTION wee5_cron.trace_id(text) IS 'Internal: the trace id of a call (W3C Trace Context), the same on every attempt';

-- All zeros as the parent's id would make the header invalid.
CREATE FUNCTION wee5_cron.traceparent(idempotency_key text, invocation_id bigint, attempt int, sampled boolean) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN format('00-%s-%s-%s', wee5_cron.trace_id(idempotency_key),
    lpad(to_hex(coalesce(nullif(invocation_id << 16 | (attempt & 65535)::bigint, 0), 1)), 16, '0'),
    CASE WHEN sampled THEN '01' ELSE '00' END);
END
$$;
COMMENT ON FUNCTION wee5_cron.traceparent(text, bigint, int, boolean) IS 'Internal: the header traceparent of an attempt';

CREATE FUNCTION wee5_cron.has_header(headers jsonb, name text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF headers IS NULL OR headers = '{}' THEN
    RETURN false;
  END IF;
  RETURN EXISTS (SELECT FROM jsonb_object_keys(headers) AS key WHERE lower(key COLLATE "C") = lower(name COLLATE "C"));
END
$$;
COMMENT ON FUNCTION wee5_cron.has_header(jsonb, text) IS 'Internal: whether a header is among these, in any case';

-- `trace`: on, unsampled or off. Of the caller's headers, a User-Agent or traceparent replaces wee5_cron's own.
CREATE FUNCTION wee5_cron.own_headers(secret text, invocation_id bigint, attempt int, idempotency_key text, job_name text,
                                      scheduled_at timestamptz, has_body boolean, timeout_ms int, trace text, custom jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN jsonb_strip_nulls(jsonb_build_object(
    'Authorization', 'Bearer ' || secret,
    'Content-Type', CASE WHEN has_body THEN 'application/json' END,
    'User-Agent', CASE WHEN NOT wee5_cron.has_header(custom, 'User-Agent') THEN 'wee5_cron/' || wee5_cron.library_version() END,
    'Cache-Control', 'no-cache',
    'Idempotency-Key', nullif(idempotency_key, ''),
    'X-Wee5-Cron-Invocation', invocation_id::text,
    'X-Wee5-Cron-Attempt', attempt::text,
    'X-Wee5-Cron-Timeout-Ms', CASE WHEN timeout_ms > 0 THEN timeout_ms::text END,
    'X-Wee5-Cron-Job', wee5_cron.header_text(nullif(job_name, '')),
    'X-Wee5-Cron-Scheduled-At', to_char(scheduled_at AT TIME ZONE 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'traceparent', CASE WHEN trace <> 'off' AND idempotency_key <> '' AND NOT wee5_cron.has_header(custom, 'traceparent')
                        THEN wee5_cron.traceparent(idempotency_key, invocation_id, attempt, trace = 'on') END));
END
$$;
COMMENT ON FUNCTION wee5_cron.own_headers(text, bigint, int, text, text, timestamptz, boolean, int, text, jsonb) IS
  'Internal: the headers that wee5_cron itself sends with an attempt';

-- secret_headers: the header and the prefix that carry the secret, and further secret headers, which replace all others.
CREATE FUNCTION wee5_cron.with_secret_headers(headers jsonb, secret text, secret_headers jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  of_secret jsonb;
BEGIN
  of_secret := jsonb_build_object(secret_headers ->> 'header', (secret_headers ->> 'prefix') || secret) || (secret_headers -> 'headers');
  RETURN coalesce((SELECT jsonb_object_agg(h.key, h.value) FROM jsonb_each(headers - 'Authorization') h
                   WHERE NOT wee5_cron.has_header(of_secret, h.key)), '{}') || of_secret;
END
$$;
COMMENT ON FUNCTION wee5_cron.with_secret_headers(jsonb, text, jsonb) IS 'Internal: headers with those of a target in the place of Authorization';

CREATE FUNCTION wee5_cron.request_headers(secret text, secret_headers jsonb, invocation_id bigint, attempt int, idempotency_key uuid,
                                          job_name text, scheduled_at timestamptz, has_body boolean, timeout_ms int, trace text,
                                          custom jsonb) RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  own constant jsonb := wee5_cron.own_headers(secret, invocation_id, attempt, idempotency_key::text, job_name, scheduled_at, has_body,
                                              timeout_ms, trace, custom);
BEGIN
  -- Most calls: no further headers, and the secret as own_headers() writes it.
  IF coalesce(custom, '{}') = '{}' AND secret_headers = '{"header": "Authorization", "prefix": "Bearer ", "headers": {}}' THEN
    RETURN own;
  END IF;
  RETURN wee5_cron.with_secret_headers(own || coalesce(custom, '{}'), secret, secret_headers);
END
$$;
COMMENT ON FUNCTION wee5_cron.request_headers(text, jsonb, bigint, int, uuid, text, timestamptz, boolean, int, text, jsonb) IS
  'Internal: all headers of an attempt: wee5_cron''s own, those that the call or its endpoint adds, and the secret ones';

-- Two servers that run the same job for the same tick make the same key: a UUID of version 8 (RFC 9562) from the SHA-256 of
-- all fields, each as "<bytes>:<field>", so that no two occurrences have the same text. `number` counts from 1, and tells
-- apart the calls of one transaction that are equal in everything else.
CREATE FUNCTION wee5_cron.occurrence_key(arming_id bytea, job_owner text, job_name text, scheduled_at timestamptz, method text,
                                         endpoint_path text, body text, number bigint) RETURNS uuid
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT encode(set_byte(set_byte(d.digest, 6, get_byte(d.digest, 6) & 15 | 128), 8, get_byte(d.digest, 8) & 63 | 128),
                  'hex')::uuid
    FROM (
      SELECT substring(sha256(string_agg(convert_to(octet_length(f.field) || ':', 'UTF8') || f.field, '' ORDER BY f.place))
                       FOR 16) AS digest
      FROM unnest(ARRAY[arming_id, convert_to(job_owner, 'UTF8'), convert_to(job_name, 'UTF8'),
        convert_to(wee5_cron.unix_seconds(scheduled_at)::text, 'UTF8'), convert_to(method, 'UTF8'),
        convert_to(endpoint_path, 'UTF8'), convert_to(coalesce(body, ''), 'UTF8'), convert_to(number::text, 'UTF8')])
        WITH ORDINALITY AS f(field, place)
    ) d
  $$;
COMMENT ON FUNCTION wee5_cron.occurrence_key(bytea, text, text, timestamptz, text, text, text, bigint) IS
  'Internal: the idempotency key of the call that a job makes for a tick';
