-- expose_api(): functions for a Data API. PostgREST, which answers supabase-js, serves the schemas that you name to it. The
-- schema wee5_cron should not be one of them. So expose_api() creates a schema with the functions that the server of an app
-- calls.

-- The schemas that expose_api() created.
CREATE FUNCTION wee5_cron.api_schemas() RETURNS SETOF name
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname
    FROM pg_namespace n JOIN pg_namespace ours ON ours.nspname = 'wee5_cron' AND ours.nspowner = n.nspowner
    WHERE obj_description(n.oid, 'pg_namespace') = 'HTTP cron: the functions for the Data API, created by wee5_cron.expose_api()'
  $$;
COMMENT ON FUNCTION wee5_cron.api_schemas() IS 'Internal: the schemas that expose_api() created';

CREATE FUNCTION wee5_cron.exposed_functions(OUT schema name, OUT function oid) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.nspname, p.oid
    FROM wee5_cron.api_schemas() s JOIN pg_namespace n ON n.nspname = s
    JOIN pg_proc p ON p.pronamespace = n.oid AND p.proowner = n.nspowner
    WHERE p.prosrc LIKE '% -- made by wee5_cron.expose_api()'
  $$;
COMMENT ON FUNCTION wee5_cron.exposed_functions() IS 'Internal: the functions that expose_api() created';

-- What expose_api() creates. A function has the arguments, the result and the comment of the one that it calls. The types of a
-- view's columns are written out: a row type of wee5_cron would make an upgrade of that view impossible.
CREATE FUNCTION wee5_cron.api_functions(OUT name text, OUT arguments text, OUT result text, OUT volatility text,
                                        OUT statement text, OUT comment text)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
           CASE p.provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END,
           format('SELECT wee5_cron.%I(%s)', p.proname,
                  (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, p.pronargs) n)),
           obj_description(p.oid, 'pg_proc')
    FROM pg_proc p
    WHERE p.pronamespace = 'wee5_cron'::regnamespace
      AND p.proname IN ('invoke', 'cancel', 'retry', 'claim', 'complete', 'run_now', 'pause', 'resume', 'health', 'status_page')
    UNION ALL
    SELECT r.name, r.arguments,
           format('TABLE(%s)', (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                                                   ORDER BY a.attnum)
                                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)),
           'VOLATILE', format('SELECT r.* FROM wee5_cron.%I r%s', r.name, r.condition), r.comment
    FROM (VALUES ('invocation', 'invocation_id bigint', ' WHERE r.id = $1', 'The row of a call in the ledger; none if there is no such call'),
                 ('job_status', '', '', 'The state of each job that calls wee5_cron'))
      AS r (name, arguments, condition, comment)
    JOIN pg_class c ON c.relname = r.name AND c.relnamespace = 'wee5_cron'::regnamespace
  $$;
COMMENT ON FUNCTION wee5_cron.api_functions() IS 'Internal: the functions that expose_api() creates';

-- An upgrade keeps those that have not changed, because a view of yours may use one.
CREATE FUNCTION wee5_cron.drop_exposed_functions(of_schema name, outdated_only boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  exposed oid;
  dependents text;
BEGIN
  FOR exposed IN
    SELECT e.function FROM wee5_cron.exposed_functions() e JOIN pg_proc p ON p.oid = e.function
    WHERE e.schema = of_schema
      AND NOT (outdated_only
               AND EXISTS (SELECT FROM wee5_cron.api_functions() f
                           WHERE f.name = p.proname AND f.arguments = pg_get_function_arguments(p.oid)
                             AND f.result = pg_get_function_result(p.oid)))
  LOOP
    EXECUTE format('DROP FUNCTION %s', exposed::regprocedure);
  END LOOP;
EXCEPTION WHEN dependent_objects_still_exist THEN
  GET STACKED DIAGNOSTICS dependents = PG_EXCEPTION_DETAIL;
  RAISE EXCEPTION 'other objects depend on function %', exposed::regprocedure
    USING ERRCODE = 'dependent_objects_still_exist', DETAIL = dependents,
          HINT = format('Drop them first, then: SELECT wee5_cron.%s;',
                        CASE WHEN outdated_only THEN format('expose_api(%L)', of_schema) ELSE 'uninstall()' END);
END
$$;
COMMENT ON FUNCTION wee5_cron.drop_exposed_functions(name, boolean) IS
  'Internal, for expose_api() and uninstall(): drops what expose_api() created in a schema; outdated_only: not what it would create in the same way again';

-- Only these roles may use the schema and its functions, whatever default privileges grant. In the extension, DROP EXTENSION
-- drops them. uninstall() does so in the portable edition.
CREATE FUNCTION wee5_cron.hand_over_api(of_schema name, roles oid[]) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  object record;
  other oid;
  role oid;
BEGIN
  FOR object IN
    SELECT 'pg_namespace'::regclass AS catalog, n.oid, format('SCHEMA %I', n.nspname) AS name, 'USAGE' AS privilege, n.nspowner AS owner,
           coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl
    FROM pg_namespace n WHERE n.nspname = of_schema
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, format('FUNCTION %s', p.oid::regprocedure), 'EXECUTE', p.proowner,
           coalesce(p.proacl, acldefault('f', p.proowner))
    FROM wee5_cron.exposed_functions() e JOIN pg_proc p ON p.oid = e.function WHERE e.schema = of_schema
  LOOP
    FOR other IN SELECT DISTINCT a.grantee FROM aclexplode(object.acl) a WHERE a.grantee <> object.owner LOOP
      EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object.name, CASE other WHEN 0 THEN 'PUBLIC' ELSE other::regrole::text END);
    END LOOP;
    FOREACH role IN ARRAY roles LOOP
      EXECUTE format('GRANT %s ON %s TO %s', object.privilege, object.name, role::regrole);
    END LOOP;
    PERFORM wee5_cron.drop_with_extension(object.catalog, object.oid);
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.hand_over_api(name, oid[]) IS 'Internal, for expose_api(): lets these roles, and no others, use the functions';

-- Everybody who opens the app has the privileges of PUBLIC, anon or authenticated. So has whoever is a member of a role.
CREATE FUNCTION wee5_cron.refuse_api_role(role regrole) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF role IS NULL THEN
    RAISE EXCEPTION 'role "service_role" does not exist'
      USING ERRCODE = 'undefined_object', HINT = 'Name the role of your server: SELECT wee5_cron.expose_api(role => ''my_app'');';
  ELSIF role <> 0 AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
    RAISE EXCEPTION 'role % does not exist', role USING ERRCODE = 'undefined_object', HINT = 'SELECT rolname FROM pg_roles;';
  ELSIF role = 0 OR EXISTS (SELECT FROM pg_roles r
                            WHERE r.rolname IN ('anon', 'authenticated') AND pg_has_role(r.oid, role, 'USAGE')) THEN
    RAISE EXCEPTION '% must not use these functions', CASE role WHEN 0 THEN 'PUBLIC' ELSE 'role ' || role END
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Every visitor of the app could make calls with the secret. Name a role that only your server uses, such as service_role.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_api_role(regrole) IS 'Internal, for expose_api(): raises an error if visitors of the app have the privileges of this role';

CREATE FUNCTION wee5_cron.expose_api(schema name DEFAULT 'wee5_cron_public', role regrole DEFAULT NULL) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  server_role constant regrole := coalesce($2, to_regrole('service_role'));
  roles oid[];
  made record;
  lines int := 0;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'schema must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave it out to create the schema wee5_cron_public.';
  END IF;
  PERFORM wee5_cron.refuse_api_role(server_role);
  IF to_regnamespace(quote_ident($1)) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', $1);
    EXECUTE format('COMMENT ON SCHEMA %I IS ''HTTP cron: the functions for the Data API, created by wee5_cron.expose_api()''', $1);
  ELSIF NOT EXISTS (SELECT FROM wee5_cron.api_schemas() s WHERE s = $1) THEN
    RAISE EXCEPTION 'schema "%" already exists', $1
      USING ERRCODE = 'duplicate_schema',
            HINT = 'expose_api() creates a schema of its own. Name one that does not exist: SELECT wee5_cron.expose_api(''another_name'');';
  END IF;
  -- Roles that an earlier expose_api() named keep what they have, and get what is new.
  roles := array(
    SELECT DISTINCT a.grantee
    FROM wee5_cron.exposed_functions() e JOIN pg_proc p ON p.oid = e.function CROSS JOIN aclexplode(p.proacl) a
    WHERE e.schema = $1 AND a.grantee NOT IN (0, p.proowner) AND a.grantee <> server_role
      AND a.grantee NOT IN (SELECT r.oid FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated'))) || server_role::oid;
  PERFORM wee5_cron.drop_exposed_functions($1, outdated_only => true);
  FOR made IN SELECT * FROM wee5_cron.api_functions() LOOP
    -- Not a function of yours that has the same name and arguments.
    EXECUTE format('CREATE %s %I.%I(%s) RETURNS %s LANGUAGE sql %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
                   CASE WHEN EXISTS (SELECT FROM wee5_cron.exposed_functions() e JOIN pg_proc p ON p.oid = e.function
                                     WHERE e.schema = $1 AND p.proname = made.name) THEN 'OR REPLACE FUNCTION' ELSE 'FUNCTION' END,
                   $1, made.name, made.arguments, made.result, made.volatility, made.statement || ' -- made by wee5_cron.expose_api()');
    lines := lines + 1;
  END LOOP;
  FOR made IN
    SELECT e.function::regprocedure AS function, f.comment
    FROM wee5_cron.exposed_functions() e JOIN pg_proc p ON p.oid = e.function JOIN wee5_cron.api_functions() f ON f.name = p.proname
    WHERE e.schema = $1
  LOOP
    EXECUTE format('COMMENT ON FUNCTION %s IS %L', made.function, made.comment);
  END LOOP;
  PERFORM wee5_cron.hand_over_api($1, roles);
  -- PostgREST looks for functions when it hears this.
  PERFORM pg_notify('pgrst', 'reload schema');
  RETURN format('%s functions in schema %I, for role %s. Now add the schema to those that your Data API serves.', lines, $1, server_role);
END
$$;
COMMENT ON FUNCTION wee5_cron.expose_api(name, regrole) IS
  'Creates a schema with functions for the Data API, which supabase-js calls: invoke, cancel, retry, claim, complete, run_now, pause, resume, health, status_page, invocation, job_status. The role may call them; NULL: service_role. Never PUBLIC, anon or authenticated. Run it again after an upgrade';
