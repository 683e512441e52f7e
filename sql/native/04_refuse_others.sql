DO $$
DECLARE
  target CONSTANT text := '@extschema@';  -- an identifier, quoted if necessary
  others text;
  ways_out text;
  elsewhere text;
BEGIN
  SELECT pg_catalog.string_agg(o.name, ', '), pg_catalog.string_agg(o.way_out, ' '),
         pg_catalog.min(pg_catalog.quote_ident(o.schema)) FILTER (WHERE pg_catalog.quote_ident(o.schema) OPERATOR(pg_catalog.<>) target)
  INTO others, ways_out, elsewhere
  FROM wee5_cron.other_endpoint_functions() o;
  IF others IS NULL THEN
    RETURN;
  END IF;
  -- If you paste the hint, invoke_cron_endpoint has to go to the schema that you asked for, by name or by search_path.
  RAISE EXCEPTION 'the name invoke_cron_endpoint is already taken by: %', others
    USING ERRCODE = 'duplicate_function',
          HINT = pg_catalog.concat(
            'Replace it in one transaction, so that every job finds a function: BEGIN; ', ways_out, ' CREATE EXTENSION wee5_cron',
            CASE WHEN target OPERATOR(pg_catalog.<>) 'public' OR (SELECT s.reset_val OPERATOR(pg_catalog.<>) s.boot_val
                   FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path')
                 THEN ' SCHEMA ' OPERATOR(pg_catalog.||) target END,
            '; COMMIT;',
            E'\n-- if calls say ' OPERATOR(pg_catalog.||) elsewhere OPERATOR(pg_catalog.||)
            '.invoke_cron_endpoint(...), use SCHEMA ' OPERATOR(pg_catalog.||) elsewhere);
END
$$;
