-- These read the command of a job as SQL.
CREATE FUNCTION wee5_cron.calls_us(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_calls_us';
COMMENT ON FUNCTION wee5_cron.calls_us(text) IS
  'Internal: whether this command calls our invoke_cron_endpoint() with one argument, wee5_cron.invoke() or wee5_cron.run()';

CREATE FUNCTION wee5_cron.path_of_command(command text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_path_of_command';
COMMENT ON FUNCTION wee5_cron.path_of_command(text) IS
  'Internal: the path of the first such call in a job''s command; NULL if there is none or the path is not a literal';

CREATE FUNCTION wee5_cron.is_plain_call(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_is_plain_call';
COMMENT ON FUNCTION wee5_cron.is_plain_call(text) IS
  'Internal: whether a job''s command calls one path, with no other arguments, and does nothing else';

CREATE FUNCTION wee5_cron.functions_of_command(command text) RETURNS text[]
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_functions_of_command';
COMMENT ON FUNCTION wee5_cron.functions_of_command(text) IS
  'Internal: which of invoke_cron_endpoint, invoke and run a job''s command calls';

CREATE FUNCTION wee5_cron.harvests(command text) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_harvests';
COMMENT ON FUNCTION wee5_cron.harvests(text) IS 'Internal: whether a job''s command calls wee5_cron.harvest()';

CREATE FUNCTION wee5_cron.other_call(command text, OUT schema text, OUT endpoint_path text)
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_other_call';
COMMENT ON FUNCTION wee5_cron.other_call(text) IS
  'Internal: the schema and path of a call of an invoke_cron_endpoint(text) that is not ours; NULL where the command makes none';
