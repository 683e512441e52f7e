-- wee5_cron 0.2.0: HTTP cron inside the database.
-- Makefile.pgxs joins the topic files in sql/ in the order of their numbers.
\echo Use "CREATE EXTENSION wee5_cron" to load this file. \quit

-- invoke_cron_endpoint goes to the schema that CREATE EXTENSION names, everything else to the schema wee5_cron. That
-- schema belongs to the extension and must not exist before: our functions would run an object that somebody planted
-- there with the rights of their owner.
DO $$
BEGIN
  IF '@extschema@' = 'wee5_cron' THEN
    RAISE EXCEPTION 'wee5_cron cannot be installed with SCHEMA wee5_cron'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'The extension creates that schema itself. Name the schema for invoke_cron_endpoint: '
                   'CREATE EXTENSION wee5_cron SCHEMA public;';
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'wee5_cron') THEN
    RAISE EXCEPTION 'schema wee5_cron already exists'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'The extension creates that schema itself. Look at what it holds (\dn+ wee5_cron), then '
                   'ALTER SCHEMA wee5_cron RENAME TO ... or DROP SCHEMA wee5_cron.';
  END IF;
END
$$;

CREATE SCHEMA wee5_cron;
COMMENT ON SCHEMA wee5_cron IS 'HTTP cron: the ledger of calls, its jobs and its functions';

-- Functions of other makers that a call with one string can reach: invoke_cron_endpoint(text), other string types,
-- further arguments with defaults. The hand-written function that this extension replaces would go on answering from
-- another schema, if the search_path of a job finds it first. A function that takes a number, for example, does not
-- matter.
CREATE FUNCTION wee5_cron.other_endpoint_functions(OUT schema name, OUT name text, OUT way_out text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname, f.name,
           -- A member of an extension cannot be dropped on its own.
           CASE WHEN EXISTS (SELECT FROM pg_depend d
                             WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
                THEN format('ALTER ROUTINE %s RENAME TO invoke_cron_endpoint_before;', f.name)
                ELSE format('DROP %s %s;', CASE p.prokind WHEN 'f' THEN 'FUNCTION' ELSE 'ROUTINE' END, f.name) END
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_type t ON t.oid = CASE WHEN p.provariadic <> 0 AND p.pronargs = 1 THEN p.provariadic ELSE p.proargtypes[0] END
    CROSS JOIN LATERAL format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) AS f (name)
    WHERE p.proname = 'invoke_cron_endpoint' AND t.typcategory = 'S' AND p.pronargs - p.pronargdefaults <= 1
      AND n.nspname !~ '^pg_temp_'  -- found by its full name only
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'wee5_cron')
    ORDER BY n.nspname, f.name
  $$;
COMMENT ON FUNCTION wee5_cron.other_endpoint_functions() IS
  'Internal: functions of other makers that answer a call invoke_cron_endpoint(''...''), with the statement that removes each';

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
  RAISE EXCEPTION 'another function already answers calls of invoke_cron_endpoint: %', others
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
