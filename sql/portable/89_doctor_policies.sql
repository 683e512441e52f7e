CREATE FUNCTION wee5_cron.check_times_of_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  hint_of_delays constant text :=
    'Give the delays before the second attempt, the third, and so on: ''{10s,1min,5min}''. The last one repeats. NULL: the default.';
  delay interval;
BEGIN
  IF policy.timeout IS NOT NULL AND wee5_cron.interval_milliseconds(policy.timeout) NOT BETWEEN 1 AND 2147483647 THEN
    PERFORM wee5_cron.refuse_policy('timeout', policy.timeout::text,
      'Give an interval from 1 millisecond to 24 days, or NULL to use wee5_cron.request_timeout.');
  END IF;
  IF policy.retry_delays IS NOT NULL AND array_ndims(policy.retry_delays) IS DISTINCT FROM 1 THEN
    PERFORM wee5_cron.refuse_policy('retry_delays', CASE WHEN cardinality(policy.retry_delays) = 0 THEN '{}' ELSE '{{...}}' END,
                                    hint_of_delays);
  ELSIF policy.retry_delays IS NOT NULL THEN
    FOREACH delay IN ARRAY policy.retry_delays LOOP
      IF delay IS NULL OR wee5_cron.interval_milliseconds(delay) < 0 THEN
        PERFORM wee5_cron.refuse_policy('retry_delays', coalesce(delay::text, 'NULL'), hint_of_delays);
      END IF;
    END LOOP;
  END IF;
  IF policy.retry_window IS NOT NULL AND wee5_cron.interval_milliseconds(policy.retry_window) < 1 THEN
    PERFORM wee5_cron.refuse_policy('retry_window', policy.retry_window::text,
      'Give a positive interval of at most 100 years. NULL: the default, 1 hour.');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_times_of_policy(wee5_cron.endpoint) IS 'Internal: checks the times of a policy';

CREATE FUNCTION wee5_cron.check_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF policy IS NULL THEN
    RETURN;
  END IF;
  PERFORM wee5_cron.check_request_of_policy(policy.endpoint_path, policy.method, policy.body, policy.headers);
  IF policy.max_attempts < 1 THEN
    PERFORM wee5_cron.refuse_policy('max_attempts', policy.max_attempts::text, 'At least 1, which is no retry. NULL: the default, 4.');
  ELSIF policy.retry_on NOT IN ('unprocessed', 'transient', 'never') THEN
    PERFORM wee5_cron.refuse_policy('retry_on', policy.retry_on,
      'unprocessed: retries only calls that the app cannot have processed. transient: also retries timeouts, broken '
      'connections, 408, 425 and 5xx. never: sends each call at most once. NULL: unprocessed.');
  ELSIF policy.overlap NOT IN ('allow', 'skip') THEN
    PERFORM wee5_cron.refuse_policy('overlap', policy.overlap,
      'allow, or skip: a call is skipped while an earlier one has not ended. NULL: calls by a job skip, calls by hand are '
      'allowed.');
  ELSIF policy.alert_after < 1 THEN
    PERFORM wee5_cron.refuse_policy('alert_after', policy.alert_after::text,
      'At least 1: the number of failures in a row. NULL: the default, 3.');
  END IF;
  PERFORM wee5_cron.check_times_of_policy(policy);
END
$$;
COMMENT ON FUNCTION wee5_cron.check_policy(wee5_cron.endpoint) IS
  'Internal, for doctor(): raises the error with which the table endpoint refuses such a row';
