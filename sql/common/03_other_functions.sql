-- Functions of others that a call with one string can reach: invoke_cron_endpoint(text), other string types,
-- further arguments with defaults. The hand-written function that this extension replaces would still be called in
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
      AND NOT wee5_cron.is_ours('pg_proc', p.oid)
    ORDER BY n.nspname, f.name
  $$;
COMMENT ON FUNCTION wee5_cron.other_endpoint_functions() IS
  'Internal: functions of other makers that answer a call invoke_cron_endpoint(''...''), with the statement that removes each';
