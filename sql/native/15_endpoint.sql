-- Every session and the worker keep what they know of this table, and the trigger tells them that it has changed: hence
-- DELETE and ENABLE ALWAYS. It also refuses a row that could not work, unless a restore or logical replication writes
-- the row: an older version may have allowed it, and one policy must not make a whole restore fail.
CREATE FUNCTION wee5_cron.check_endpoint() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_check_endpoint';
COMMENT ON FUNCTION wee5_cron.check_endpoint() IS 'Internal, for the table endpoint: checks a row and announces the change';
