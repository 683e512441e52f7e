CREATE FUNCTION wee5_cron.outcome_error(reason text, endpoint_path text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_outcome_error';
COMMENT ON FUNCTION wee5_cron.outcome_error(text, text) IS
  'Internal: the error of a call that ended without an answer';

CREATE FUNCTION wee5_cron.refuse_tampered_queue() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_refuse_tampered_queue';
COMMENT ON FUNCTION wee5_cron.refuse_tampered_queue() IS
  'Internal, for cancel(): raises an error if pg_net''s queue has a trigger, rule or policy, which would run with our rights';

CREATE FUNCTION wee5_cron.retry(id bigint) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_retry';
COMMENT ON FUNCTION wee5_cron.retry(bigint) IS
  'Repeats a call that has ended, with the same request and idempotency key, and returns the id of the new row';
