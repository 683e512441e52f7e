-- Overlap, as harvest() asks for it. The rules are in C, where calls are made and sent.

CREATE FUNCTION wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_call_beside';
COMMENT ON FUNCTION wee5_cron.call_beside(bigint, text, text, name) IS
  'Internal, of harvest(): a call that has not ended and that this one would overlap with; NULL: it may be sent';

CREATE FUNCTION wee5_cron.lock_path(endpoint_path text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_lock_path';
COMMENT ON FUNCTION wee5_cron.lock_path(text) IS
  'Internal, of harvest(): false, without waiting, while another transaction is queueing a call of this path on pg_net';

CREATE FUNCTION wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_overlap';
COMMENT ON FUNCTION wee5_cron.explain_overlap(text, bigint) IS 'Internal, of harvest(): what is said about a call that is skipped';
