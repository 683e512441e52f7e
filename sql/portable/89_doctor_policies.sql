CREATE FUNCTION wee5_cron.check_interval_of_policy(column_name text, value interval, least_ms bigint, most_ms bigint, advice text)
  RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF value IS NOT NULL AND wee5_cron.interval_milliseconds(value) NOT BETWEEN least_ms AND most_ms THEN
    PERFORM wee5_cron.refuse_policy(column_name, value::text, advice);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_interval_of_policy(text, interval, bigint, bigint, text) IS 'Internal: checks an interval of a policy';

CREATE FUNCTION wee5_cron.check_delays_of_policy(delays interval[]) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  advice constant text :=
    'Give the delays before the second attempt, the third, and so on: ''{10s,1min,5min}''. The last one repeats. NULL: the default.';
  delay interval;
BEGIN
  IF delays IS NULL THEN
    RETURN;
  ELSIF array_ndims(delays) IS DISTINCT FROM 1 THEN
    PERFORM wee5_cron.refuse_policy('retry_delays', CASE cardinality(delays) WHEN 0 THEN '{}' ELSE '{{...}}' END, advice);
  END IF;
  FOREACH delay IN ARRAY delays LOOP
    IF delay IS NULL OR wee5_cron.interval_milliseconds(delay) < 0 THEN
      PERFORM wee5_cron.refuse_policy('retry_delays', coalesce(delay::text, 'NULL'), advice);
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_delays_of_policy(interval[]) IS 'Internal: checks the delays of a policy';

CREATE FUNCTION wee5_cron.check_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.check_request_of_policy(policy.endpoint_path, policy.method, policy.body::jsonb, policy.headers::jsonb);
  PERFORM wee5_cron.check_interval_of_policy('timeout', policy.timeout, 1, 2147483647,
    'Give an interval from 1 millisecond to 24 days, or NULL to use wee5_cron.request_timeout.');
  IF policy.max_attempts < 1 THEN
    PERFORM wee5_cron.refuse_policy('max_attempts', policy.max_attempts::text, 'At least 1, which is no retry. NULL: the default, 4.');
  ELSIF policy.retry_on NOT IN ('unprocessed', 'transient', 'never') THEN
    PERFORM wee5_cron.refuse_policy('retry_on', policy.retry_on,
      'unprocessed: retries only calls that the app cannot have processed. transient: also retries timeouts, broken '
      'connections, 408, 425 and 5xx. never: sends each call at most once. NULL: unprocessed.');
  END IF;
  PERFORM wee5_cron.check_delays_of_policy(policy.retry_delays);
  PERFORM wee5_cron.check_interval_of_policy('retry_window', policy.retry_window, 1, 9223372036854775807,
    'Give a positive interval of at most 100 years. NULL: the default, 1 hour.');
  IF policy.overlap NOT IN ('allow', 'skip', 'queue') THEN
    PERFORM wee5_cron.refuse_policy('overlap', policy.overlap,
      'allow; skip: a call is skipped while an earlier one has not ended; or queue: one call waits for its end. NULL: calls by a job skip, calls by '
      'hand are allowed.');
  ELSIF policy.alert_after < 1 THEN
    PERFORM wee5_cron.refuse_policy('alert_after', policy.alert_after::text,
      'At least 1: the number of failures in a row. NULL: the default, 3.');
  END IF;
  PERFORM wee5_cron.check_interval_of_policy('complete_within', policy.complete_within, 1, 9223372036854775807,
    'Give a positive interval of at most 100 years. NULL: the default, 1 hour.');
  PERFORM wee5_cron.check_interval_of_policy('keep_succeeded', policy.keep_succeeded, 0, 9223372036854775807,
    'Give an interval from 0, which is a minute, to 100 years, or NULL for wee5_cron.keep_succeeded.');
  PERFORM wee5_cron.check_interval_of_policy('keep_failed', policy.keep_failed, 0, 9223372036854775807,
    'Give an interval from 0, which is a minute, to 100 years, or NULL for wee5_cron.keep_failed.');
  IF policy.max_in_flight < 1 THEN
    PERFORM wee5_cron.refuse_policy('max_in_flight', policy.max_in_flight::text,
      'At least 1: how many calls of the path may be in flight at once. NULL: wee5_cron.max_in_flight.');
  ELSIF policy.max_response_bytes NOT BETWEEN 0 AND 1048576 THEN
    PERFORM wee5_cron.refuse_policy('max_response_bytes', policy.max_response_bytes::text,
      'Give 0, which keeps nothing of an answer, to 1048576. NULL: wee5_cron.max_response_bytes.');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_policy(wee5_cron.endpoint) IS
  'Internal, for doctor(): raises the error with which the table endpoint refuses such a row';
