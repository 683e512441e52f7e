-- Making a call, and waiting for it. SECURITY DEFINER: EXECUTE on the function is the only right that a caller needs.
-- What is left out is as wee5_cron.endpoint says: NULL, since no other default could be told from a choice.
-- Not STRICT: a NULL path must be an error, not a call that silently does not happen.

CREATE FUNCTION @extschema@.invoke_cron_endpoint(endpoint_path text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_endpoint';
COMMENT ON FUNCTION @extschema@.invoke_cron_endpoint(text) IS
  'Queues GET <api_url><endpoint_path> with the bearer secret and returns the id of its row in wee5_cron.invocation. Sent when the transaction commits, discarded when it rolls back';

CREATE FUNCTION wee5_cron.invoke(endpoint_path text, method text DEFAULT NULL, body jsonb DEFAULT NULL,
                                 headers jsonb DEFAULT NULL, timeout interval DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke';
COMMENT ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval) IS
  'invoke_cron_endpoint with choices: method GET, POST, PUT, PATCH, DELETE or HEAD, a JSON body, more headers, a timeout. What is left out or NULL is as wee5_cron.endpoint says for the path, else GET, no body, no more headers, wee5_cron.request_timeout';

-- For run_now(), and for runs that are made up for, which are their owner's calls.
CREATE FUNCTION wee5_cron.invoke_for_job(job_name text, endpoint_path text, role name DEFAULT NULL,
                                         schedule text DEFAULT NULL, tick timestamptz DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_invoke_for_job';
COMMENT ON FUNCTION wee5_cron.invoke_for_job(text, text, name, text, timestamptz) IS
  'Internal: a call in the name of a job, with its schedule and a tick. Without a role it is a call by hand of session_user; with one it is the call that the job of that role would have made at the tick';

CREATE FUNCTION wee5_cron.wait_for(id bigint, timeout interval DEFAULT '1 minute') RETURNS wee5_cron.invocation
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_wait_for';
COMMENT ON FUNCTION wee5_cron.wait_for(bigint, interval) IS
  'Waits until the call has ended and returns its row; at the timeout the row as it stands. 55000 for a call of the current transaction, which is not sent before that commits; 02000 for an unknown id. Of a call of another login role headers, body and response_body are NULL, unless the ledger may be read';
