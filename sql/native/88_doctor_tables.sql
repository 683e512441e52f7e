CREATE FUNCTION wee5_cron.table_layout(OUT table_name text, OUT column_name text, OUT column_type regtype, OUT read_directly boolean)
  RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_table_layout';
COMMENT ON FUNCTION wee5_cron.table_layout() IS
  'Internal, for doctor(): the columns of the tables of wee5_cron, as they were made. read_directly: another type stops the worker';

CREATE FUNCTION wee5_cron.reads_tables_directly() RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT true $$;
COMMENT ON FUNCTION wee5_cron.reads_tables_directly() IS 'Internal, for doctor(): whether a library reads the tables, without SQL';
