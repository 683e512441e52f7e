-- The delivery policy of a path. A call looks up its whole path, then the path without the query. Without a row, or if
-- a column is NULL, the default holds.

CREATE TABLE wee5_cron.endpoint (
  endpoint_path text COLLATE "C" PRIMARY KEY,
  method text,
  body jsonb,
  headers jsonb,
  timeout interval,
  max_attempts int,
  retry_on text,
  retry_delays interval[],
  retry_window interval,
  overlap text,
  alert_after int,
  note text,
  complete_within interval,
  keep_succeeded interval,
  keep_failed interval,
  max_in_flight int,
  max_response_bytes int
);
COMMENT ON TABLE wee5_cron.endpoint IS
  'Delivery policy of a path. A call looks up its whole path, then the path without the query. NULL: the default. Arguments of the call override the policy';
COMMENT ON COLUMN wee5_cron.endpoint.endpoint_path IS
  'A path with a query: the row is for exactly this path. A path without a query: the row is also for each query that has no row of its own';
COMMENT ON COLUMN wee5_cron.endpoint.method IS 'GET (the default), POST, PUT, PATCH, DELETE or HEAD';
COMMENT ON COLUMN wee5_cron.endpoint.body IS 'Request body. It belongs to the method: a call with another method does not send it';
COMMENT ON COLUMN wee5_cron.endpoint.headers IS 'Headers of each call. The call''s own headers are added, and override those of the same name';
COMMENT ON COLUMN wee5_cron.endpoint.timeout IS 'Timeout of an attempt; the default is wee5_cron.request_timeout';
COMMENT ON COLUMN wee5_cron.endpoint.max_attempts IS 'Attempts of a call, including the first; the default is 4';
COMMENT ON COLUMN wee5_cron.endpoint.retry_on IS
  'Which failures are retried. unprocessed (the default): DNS, connection or TLS failed, or the app answered 429 or 503, or the server crashed while the request was in flight. transient: also timeouts, broken connections, 408, 425, 5xx, and accepted calls that the app did not complete in time. never: sent at most once, even after a crash';
COMMENT ON COLUMN wee5_cron.endpoint.retry_delays IS
  'Delays after the first attempt, the second, and so on; the last one repeats. Each varies by up to 20 %. The default is {10s,1min,5min}';
COMMENT ON COLUMN wee5_cron.endpoint.retry_window IS 'How long after the first attempt another one may begin; the default is 1 hour';
COMMENT ON COLUMN wee5_cron.endpoint.overlap IS
  'allow: calls may overlap. skip: a call is skipped while an earlier one has not ended. queue: one call waits for the end of the earlier one, and further ones are skipped. By default, calls by a job are skipped and calls by hand may overlap';
COMMENT ON COLUMN wee5_cron.endpoint.alert_after IS 'Failures in a row until an alert is sent; the default is 3';
COMMENT ON COLUMN wee5_cron.endpoint.note IS 'Your remark; wee5_cron does not use it';
COMMENT ON COLUMN wee5_cron.endpoint.complete_within IS
  'How long the app may work on a call after it answered 202 with Wee5-Cron: accepted; the default is 1 hour';
COMMENT ON COLUMN wee5_cron.endpoint.keep_succeeded IS
  'How long the ledger keeps calls that succeeded. 0: for a minute after they ended. The default is wee5_cron.keep_succeeded';
COMMENT ON COLUMN wee5_cron.endpoint.keep_failed IS
  'The same for all other calls that have ended; the default is wee5_cron.keep_failed';
COMMENT ON COLUMN wee5_cron.endpoint.max_in_flight IS
  'How many calls of the path may be in flight at once; the default is wee5_cron.max_in_flight. On pg_net: how many are handed over at once; no limit by default';
COMMENT ON COLUMN wee5_cron.endpoint.max_response_bytes IS
  'How many bytes of an answer the ledger keeps. 0: none. The default is wee5_cron.max_response_bytes';

CREATE TRIGGER check_endpoint BEFORE INSERT OR UPDATE OR DELETE ON wee5_cron.endpoint
  FOR EACH ROW EXECUTE FUNCTION wee5_cron.check_endpoint();
ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;

CREATE FUNCTION wee5_cron.policy_of(endpoint_path text) RETURNS wee5_cron.endpoint
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (SELECT e FROM wee5_cron.endpoint e
          WHERE e.endpoint_path = $1 COLLATE "C" OR e.endpoint_path = split_part($1, '?', 1) COLLATE "C"
          ORDER BY octet_length(e.endpoint_path) DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION wee5_cron.policy_of(text) IS 'Internal: the policy of a path, looked up whole, then without its query; NULL: there is none';
