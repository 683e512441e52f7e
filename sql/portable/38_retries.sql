-- When a call is made again. The twins of retry_policy.cpp and retry_after.cpp in src/core/outcome. Times are Unix times in
-- microseconds and lengths are in milliseconds, so that both editions round alike.

-- A month has 30 days here.
CREATE FUNCTION wee5_cron.interval_milliseconds(length interval) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ms constant numeric :=
    ((extract(year FROM length) * 12 + extract(month FROM length)) * 30 + extract(day FROM length)) * 86400000
    + extract(hour FROM length) * 3600000 + extract(minute FROM length) * 60000 + extract(milliseconds FROM length);
BEGIN
  RETURN CASE WHEN ms BETWEEN 0 AND 36525::bigint * 86400000 THEN trunc(ms)::bigint ELSE -1 END;
END
$$;
COMMENT ON FUNCTION wee5_cron.interval_milliseconds(interval) IS
  'Internal: the length of an interval; -1: it is negative or longer than a century';

-- Days since 1970. PostgreSQL has no year 0, but a header may name it. The calendar repeats after 400 years.
CREATE FUNCTION wee5_cron.days_since_1970(year int, month int, day int) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT (make_date(year + 400, month, 1) - date '1970-01-01')::bigint - 146097 + day - 1 $$;
COMMENT ON FUNCTION wee5_cron.days_since_1970(int, int, int) IS 'Internal: the number of a day; a day beyond the month''s last counts on';

-- The date of a Retry-After in one of the three formats of HTTP (RFC 9110, section 5.6.7), as seconds since 1970. A year of two
-- digits that seems to be more than fifty years ahead belongs to the century before.
CREATE FUNCTION wee5_cron.read_http_date(value text, now_us bigint) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  months constant text := '(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
  clock constant text := '([0-9]{2}):([0-9]{2}):([0-9]{2})';
  parts text[] := regexp_match(value, format('^(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat), ([0-9]{2}) %s ([0-9]{4}) %s GMT$', months, clock));
  year int := parts[3]::int;
  month int;
  seconds int;
BEGIN
  IF parts IS NULL THEN
    parts := regexp_match(value, format('^(?:Sun|Mon|Tues|Wednes|Thurs|Fri|Satur)day, ([0-9]{2})-%s-([0-9]{2}) %s GMT$', months, clock));
    year := extract(year FROM wee5_cron.time_of_unix_us(now_us) AT TIME ZONE 'UTC')::int / 100 * 100 + 100 + parts[3]::int;
  END IF;
  IF parts IS NULL THEN
    parts := regexp_match(value, format('^(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat) %s ([ 0-9][0-9]) %s ([0-9]{4})$', months, clock));
    year := parts[6]::int;
    parts := ARRAY[parts[2], parts[1], parts[6], parts[3], parts[4], parts[5]];
  END IF;
  IF parts[1] IS NULL THEN
    RETURN NULL;
  END IF;
  month := (strpos('JanFebMarAprMayJunJulAugSepOctNovDec', parts[2]) + 2) / 3;
  seconds := (parts[4]::int * 60 + parts[5]::int) * 60 + parts[6]::int;
  WHILE length(parts[3]) = 2
        AND wee5_cron.days_since_1970(year - 50, month, parts[1]::int) * 86400 + seconds > now_us / 1000000 LOOP
    year := year - 100;
  END LOOP;
  -- The day must exist in the month, and the time in the day. A leap second is allowed.
  IF parts[1]::int < 1 OR wee5_cron.days_since_1970(year, month, parts[1]::int)
                          >= wee5_cron.days_since_1970(year + month / 12, month % 12 + 1, 1)
     OR parts[4]::int > 23 OR parts[5]::int > 59 OR parts[6]::int > 60 THEN
    RETURN NULL;
  END IF;
  RETURN wee5_cron.days_since_1970(year, month, parts[1]::int) * 86400 + seconds;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_http_date(text, bigint) IS
  'Internal: the seconds since 1970 of a date of HTTP; NULL: it is none';

-- Reads Retry-After: seconds, at most a century, or a date. Returns that time, or now if it has passed; NULL: it is neither.
CREATE FUNCTION wee5_cron.retry_after_us(value text, now_us bigint) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  most_seconds constant numeric := 100 * 366 * 86400::numeric;
  given constant text := btrim(value, E' \t\n\x0B\f\r');
  seconds bigint;
BEGIN
  IF given ~ '^[0-9]+$' THEN
    RETURN least(9223372036854775807, now_us + 1000000 * least(most_seconds, CASE WHEN length(ltrim(given, '0')) <= 12
                                                                  THEN given::numeric ELSE most_seconds END))::bigint;
  END IF;
  seconds := wee5_cron.read_http_date(given, now_us);
  RETURN CASE WHEN seconds IS NOT NULL THEN greatest(now_us, 1000000 * seconds) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.retry_after_us(text, bigint) IS 'Internal: the time that a Retry-After names; NULL: none';

CREATE FUNCTION wee5_cron.is_retryable(retry_on text, reason text, http_status int) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT retry_on <> 'never' AND (
      reason IN ('dns', 'connect', 'tls', 'lost')
      OR reason = 'http' AND http_status IN (429, 503)
      OR retry_on = 'transient'
         AND (reason IN ('timeout', 'response', 'incomplete')
              OR reason = 'http' AND (http_status IN (408, 425) OR http_status BETWEEN 500 AND 599)))
  $$;
COMMENT ON FUNCTION wee5_cron.is_retryable(text, text, int) IS 'Internal: whether such a failure is retried';

-- The retry rules of a policy. The default replaces a column that is not set or out of bounds.
CREATE FUNCTION wee5_cron.retry_policy_of(policy wee5_cron.endpoint, OUT max_attempts int, OUT retry_on text,
                                          OUT delays_ms bigint[], OUT window_ms bigint, OUT complete_within_ms bigint)
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  given bigint[];
BEGIN
  SELECT array_agg(wee5_cron.interval_milliseconds(d.delay) ORDER BY d.place) INTO given
  FROM unnest(policy.retry_delays) WITH ORDINALITY AS d(delay, place);
  max_attempts := CASE WHEN policy.max_attempts > 0 THEN policy.max_attempts ELSE 4 END;
  retry_on := CASE WHEN policy.retry_on IN ('transient', 'never') THEN policy.retry_on ELSE 'unprocessed' END;
  delays_ms := CASE WHEN given IS NULL OR -1 = ANY (given) THEN ARRAY[10000, 60000, 300000] ELSE given END;
  window_ms := CASE WHEN wee5_cron.interval_milliseconds(policy.retry_window) > 0
                    THEN wee5_cron.interval_milliseconds(policy.retry_window) ELSE 3600000 END;
  complete_within_ms := CASE WHEN wee5_cron.interval_milliseconds(policy.complete_within) > 0
                             THEN wee5_cron.interval_milliseconds(policy.complete_within) ELSE 3600000 END;
END
$$;
COMMENT ON FUNCTION wee5_cron.retry_policy_of(wee5_cron.endpoint) IS 'Internal: how a path''s policy retries';

-- `random` (0 to 1) spreads a delay by 20 % to either side, but not beyond the window, so that calls that failed together do not
-- come back together. A Retry-After replaces the delay. If that time is beyond the window, the last attempt starts at the
-- window's end. Chance must not decide whether there is another attempt, so this compares the window with the configured delay.
CREATE FUNCTION wee5_cron.next_attempt_us(max_attempts int, retry_on text, delays_ms bigint[], window_ms bigint, attempt int,
                                          reason text, http_status int, retry_after text, first_begun_us bigint, ended_us bigint,
                                          random float8) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  window_end constant numeric := first_begun_us::numeric + window_ms::numeric * 1000;
  asked_for constant bigint := wee5_cron.retry_after_us(retry_after, ended_us);
  exact_us constant bigint := 1000 * greatest(0, coalesce(delays_ms[least(greatest(attempt, 1), cardinality(delays_ms))], 0));
  spread constant float8 := exact_us * (1 - 0.2::float8 + 2 * 0.2::float8 * least(greatest(random, 0), 1));
BEGIN
  IF attempt >= max_attempts OR NOT wee5_cron.is_retryable(retry_on, coalesce(reason, ''), coalesce(http_status, 0))
     OR ended_us > window_end THEN
    RETURN NULL;
  ELSIF asked_for > ended_us THEN
    RETURN least(asked_for, window_end);
  ELSIF ended_us + exact_us::numeric > window_end THEN
    RETURN NULL;
  END IF;
  RETURN least(ended_us + floor(spread + 0.5)::numeric, window_end);
END
$$;
COMMENT ON FUNCTION wee5_cron.next_attempt_us(int, text, bigint[], bigint, int, text, int, text, bigint, bigint, float8) IS
  'Internal: when a call whose attempt failed is made again; NULL: the failure is final';

CREATE FUNCTION wee5_cron.completion_deadline_us(complete_within_ms bigint, accepted_us bigint) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT least(9223372036854775807, accepted_us + complete_within_ms::numeric * 1000)::bigint $$;
COMMENT ON FUNCTION wee5_cron.completion_deadline_us(bigint, bigint) IS
  'Internal: when work that the app accepted must be completed';

CREATE FUNCTION wee5_cron.next_attempt(policy wee5_cron.endpoint, attempt int, reason text, http_status int, retry_after text,
                                       first_begun timestamptz, ended_at timestamptz, random float8) RETURNS timestamptz
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.time_of_unix_us(wee5_cron.next_attempt_us(p.max_attempts, p.retry_on, p.delays_ms, p.window_ms, attempt,
      reason, http_status, retry_after, wee5_cron.unix_us(first_begun), wee5_cron.unix_us(ended_at), random))
    FROM wee5_cron.retry_policy_of(policy) p
  $$;
COMMENT ON FUNCTION wee5_cron.next_attempt(wee5_cron.endpoint, int, text, int, text, timestamptz, timestamptz, float8) IS
  'Internal: when a call whose attempt failed is made again by its path''s policy; NULL: the failure is final';

-- Somebody may have changed the policy since the retry was planned. A retry long after its window, because the server was down,
-- would surprise the app. A short delay is normal.
CREATE FUNCTION wee5_cron.retry_may_begin(retry_on text, max_attempts int, window_ms bigint, attempt int, first_begun_us bigint,
                                          now_us bigint) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT attempt <= 1 OR first_begun_us <= 0
      OR retry_on <> 'never' AND attempt <= max_attempts
         AND now_us <= first_begun_us::numeric + window_ms::numeric * 1000 + greatest(60000000, div(window_ms::numeric * 1000, 10))
  $$;
COMMENT ON FUNCTION wee5_cron.retry_may_begin(text, int, bigint, int, bigint, bigint) IS
  'Internal: whether an attempt that is due may still begin';
