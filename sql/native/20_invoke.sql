-- Making a call. SECURITY DEFINER: EXECUTE on the function is the only privilege that a caller
-- needs. The defaults are NULL, so that the function can tell what the caller left open for wee5_cron.endpoint. Not
-- STRICT: a NULL path must raise an error. A STRICT function would silently make no call.

CREATE FUNCTION @extschema@.invoke_cron_endpoint(endpoint_path text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_endpoint';
COMMENT ON FUNCTION @extschema@.invoke_cron_endpoint(text) IS
  'Queues GET <api_url><endpoint_path> with the bearer secret, and returns the id of its row in wee5_cron.invocation. The call is sent when the transaction commits, and discarded when it rolls back';

CREATE FUNCTION wee5_cron.invoke(endpoint_path text, method text DEFAULT NULL, body jsonb DEFAULT NULL,
                                 headers jsonb DEFAULT NULL, timeout interval DEFAULT NULL, target text DEFAULT NULL,
                                 at timestamptz DEFAULT NULL, key text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke';
COMMENT ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval, text, timestamptz, text) IS
  'Makes a call like invoke_cron_endpoint(), with a method (GET, POST, PUT, PATCH, DELETE, HEAD), a JSON body, further headers and a timeout. What you leave out of these comes from the row of the path in wee5_cron.endpoint. Without one: GET, no body, no further headers, wee5_cron.request_timeout. at: when the call is due. key: the call replaces your earlier calls with the same key that have not been sent. target: the name of a target; invoke(''/path'', target => ''name'') is short for invoke(''name:/path'')';

-- For run_now() and for missed runs, whose calls belong to the job's owner.
CREATE FUNCTION wee5_cron.invoke_for_job(job_name text, endpoint_path text, role name DEFAULT NULL,
                                         schedule text DEFAULT NULL, tick timestamptz DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_for_job';
COMMENT ON FUNCTION wee5_cron.invoke_for_job(text, text, name, text, timestamptz) IS
  'Internal: makes a call in the name of a job, with its schedule and a tick. Without a role, it is a call by hand of session_user; with a role, the call that the job of that role would have made for this tick';
