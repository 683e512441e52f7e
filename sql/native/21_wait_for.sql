-- Waiting until a call has ended.
CREATE FUNCTION wee5_cron.wait_for(id bigint, timeout interval DEFAULT '1 minute') RETURNS wee5_cron.invocation
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_wait_for';
COMMENT ON FUNCTION wee5_cron.wait_for(bigint, interval) IS
  'Waits until the call has ended and returns its row; at the timeout, returns the row as it is. Raises 55000 for a call of the current transaction, which is not sent before that commits, and 02000 for an unknown id. For a call of another login role, headers, body, response_body, idempotency_key and key are NULL unless you may read the ledger';
