-- The delivery policy of a path. A call's path is looked up whole, then without its query; a path without a row, and a
-- column that is NULL, have the defaults.

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
  note text
);
COMMENT ON TABLE wee5_cron.endpoint IS
  'Delivery policy of a path. A call''s path is looked up whole, then without its query; NULL: the default. What a call says itself counts more';
COMMENT ON COLUMN wee5_cron.endpoint.endpoint_path IS
  'with a query: for calls of exactly this path; without: also for calls with any query that has no row of its own';
COMMENT ON COLUMN wee5_cron.endpoint.method IS 'GET (the default), POST, PUT, PATCH, DELETE or HEAD';
COMMENT ON COLUMN wee5_cron.endpoint.body IS 'goes with the method: a call that names another method does not carry it';
COMMENT ON COLUMN wee5_cron.endpoint.headers IS 'a call''s own headers are added to these, and count more where both name the same';
COMMENT ON COLUMN wee5_cron.endpoint.timeout IS 'of an attempt; the default is wee5_cron.request_timeout';
COMMENT ON COLUMN wee5_cron.endpoint.max_attempts IS 'the first one included; the default is 4';
COMMENT ON COLUMN wee5_cron.endpoint.retry_on IS
  'unprocessed (the default): DNS, connection or TLS failed, or the app answered 429 or 503. transient: also timeouts, broken connections, 408, 425, 5xx. never: sent at most once, crashes included';
COMMENT ON COLUMN wee5_cron.endpoint.retry_delays IS
  'after the first attempt, the second ...; the last repeats; each is spread by 20 %. The default is {10s,1min,5min}';
COMMENT ON COLUMN wee5_cron.endpoint.retry_window IS 'no attempt begins later than this after the first; the default is 1 hour';
COMMENT ON COLUMN wee5_cron.endpoint.overlap IS
  'allow, or skip: a call is skipped while an earlier one has not ended. By default calls by a job skip, calls by hand are allowed';
COMMENT ON COLUMN wee5_cron.endpoint.alert_after IS 'failures in a row until somebody is told; the default is 3';
COMMENT ON COLUMN wee5_cron.endpoint.note IS 'for people';

-- Every session and the worker keep what they know of this table, and the trigger tells them that it has changed: hence
-- DELETE and ENABLE ALWAYS. It also refuses a row that could not work, unless a restore or logical replication writes the
-- row: an older version may have allowed it, and one policy must not make a whole restore fail.
CREATE FUNCTION wee5_cron.check_endpoint() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_endpoint';
COMMENT ON FUNCTION wee5_cron.check_endpoint() IS 'Internal, of the table endpoint: checks a row and announces the change';

CREATE FUNCTION wee5_cron.check_policy(policy wee5_cron.endpoint) RETURNS void
  LANGUAGE c STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_policy';
COMMENT ON FUNCTION wee5_cron.check_policy(wee5_cron.endpoint) IS
  'Internal, of doctor(): raises the error with which the table endpoint refuses such a row';

CREATE TRIGGER check_endpoint BEFORE INSERT OR UPDATE OR DELETE ON wee5_cron.endpoint
  FOR EACH ROW EXECUTE FUNCTION wee5_cron.check_endpoint();
ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;

SELECT pg_catalog.pg_extension_config_dump('wee5_cron.endpoint', '');
