-- Privileges. Nobody may do anything until grant_to() grants it.

-- Postgres grants EXECUTE to PUBLIC by its own rules, and ALTER DEFAULT PRIVILEGES grants to roles by name: on Supabase
-- to anon, authenticated and service_role. This revokes all of it, so that only the owner is left in the ACLs of our
-- objects. An update leaves out the members that it found, as extension_members() describes them: their grants are the
-- user's.
CREATE FUNCTION wee5_cron.revoke_default_privileges(except_members text[] DEFAULT '{}') RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  granted record;
BEGIN
  FOR granted IN
    WITH member AS (
      SELECT * FROM wee5_cron.extension_members() m WHERE m::text <> ALL (except_members)
    ), object AS (
      SELECT format('SCHEMA %I', n.nspname) AS what, n.nspowner AS owner,
             coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl
      FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
      UNION ALL
      SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname),
             c.relowner, coalesce(c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner))
      FROM member m
      JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      JOIN pg_namespace n ON n.oid = c.relnamespace
      UNION ALL
      SELECT format('ROUTINE %s', p.oid::regprocedure), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
      FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    )
    SELECT DISTINCT o.what, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS grantee
    FROM object o
    CROSS JOIN LATERAL aclexplode(o.acl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE a.grantee <> o.owner AND (a.grantee = 0 OR r.oid IS NOT NULL)
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', granted.what, granted.grantee);
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_default_privileges(text[]) IS
  'Internal, for the extension''s scripts: revokes everything on its objects from everybody but the owner';

-- operate includes all others, and read includes call and monitor. NULL: there is no such profile.
CREATE FUNCTION wee5_cron.profile_privileges(profile text) RETURNS text[]
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  calls constant text[] := array[
    format('EXECUTE ON FUNCTION %I.invoke_cron_endpoint(text)', wee5_cron.call_schema()),
    'EXECUTE ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval, text, timestamptz, text)',
    'EXECUTE ON FUNCTION wee5_cron.wait_for(bigint, interval)',
    -- run() runs with its caller's privileges, so the profile includes what run() calls.
    'EXECUTE ON PROCEDURE wee5_cron.run(text)', 'EXECUTE ON FUNCTION wee5_cron.commit_is_possible(text)'];
  -- Numbers and names of jobs, for a role whose password stands in the configuration of a monitor.
  monitors constant text[] := array[
    'EXECUTE ON FUNCTION wee5_cron.health(interval)', 'EXECUTE ON FUNCTION wee5_cron.assert_healthy()',
    'SELECT ON TABLE wee5_cron.metrics', 'EXECUTE ON FUNCTION wee5_cron.job_metrics()',
    'EXECUTE ON FUNCTION wee5_cron.call_metrics()', 'EXECUTE ON FUNCTION wee5_cron.server_metrics()'];
  completes constant text[] := array[
    'EXECUTE ON FUNCTION wee5_cron.claim(uuid, interval)', 'EXECUTE ON FUNCTION wee5_cron.complete(uuid, boolean, text)'];
  reads constant text[] := array[
    'SELECT ON TABLE wee5_cron.invocation', 'SELECT ON TABLE wee5_cron.attempt', 'SELECT ON TABLE wee5_cron.job',
    'SELECT ON TABLE wee5_cron.endpoint', 'SELECT ON TABLE wee5_cron.armed', 'SELECT ON TABLE wee5_cron.trouble',
    'SELECT ON TABLE wee5_cron.claim',
    'SELECT ON TABLE wee5_cron.job_status', 'EXECUTE ON FUNCTION wee5_cron.job_status_rows()',
    'SELECT ON TABLE wee5_cron.upcoming', 'EXECUTE ON FUNCTION wee5_cron.upcoming_rows()',
    'SELECT ON TABLE wee5_cron.worker', 'EXECUTE ON FUNCTION wee5_cron.worker_slots()',
    'EXECUTE ON FUNCTION wee5_cron.queued_calls()',
    'EXECUTE ON FUNCTION wee5_cron.doctor()', 'EXECUTE ON FUNCTION wee5_cron.describe_schedule(text)',
    'EXECUTE ON FUNCTION wee5_cron.status_page(text)', 'EXECUTE ON FUNCTION wee5_cron.call_page(bigint)',
    'SELECT ON SEQUENCE wee5_cron.invocation_id_seq'];  -- pg_dump reads it
  operates constant text[] := array[
    'INSERT, UPDATE, DELETE ON TABLE wee5_cron.endpoint',
    'EXECUTE ON FUNCTION wee5_cron.retry(bigint)', 'EXECUTE ON FUNCTION wee5_cron.cancel(bigint)',
    'EXECUTE ON FUNCTION wee5_cron.register_jobs(boolean)', 'EXECUTE ON FUNCTION wee5_cron.unregister_jobs()',
    'EXECUTE ON FUNCTION wee5_cron.schedule(text, text, text)', 'EXECUTE ON FUNCTION wee5_cron.unschedule(text)',
    'EXECUTE ON FUNCTION wee5_cron.pause(text, text)', 'EXECUTE ON FUNCTION wee5_cron.resume(text)',
    'INSERT (job_name, endpoint_path, catch_up), UPDATE (endpoint_path, catch_up) ON TABLE wee5_cron.job',
    'EXECUTE ON FUNCTION wee5_cron.next_runs(text, integer)',
    'EXECUTE ON FUNCTION wee5_cron.plan(jsonb)', 'EXECUTE ON FUNCTION wee5_cron.apply(jsonb, boolean, text)',
    'EXECUTE ON FUNCTION wee5_cron.export_config()',
    'EXECUTE ON FUNCTION wee5_cron.run_now(text)', 'EXECUTE ON FUNCTION wee5_cron.harvest()',
    'EXECUTE ON FUNCTION wee5_cron.configure(text, text, text, boolean)', 'EXECUTE ON FUNCTION wee5_cron.arm(boolean)',
    'EXECUTE ON FUNCTION wee5_cron.configure_target(text, text, text, text, text, jsonb, text)',
    'EXECUTE ON FUNCTION wee5_cron.drop_target(text)',
    'EXECUTE ON FUNCTION wee5_cron.disarm(text)',
    'EXECUTE ON FUNCTION wee5_cron.prune()', 'EXECUTE ON FUNCTION wee5_cron.prune_cron_history(interval)',
    'EXECUTE ON FUNCTION wee5_cron.grant_to(regrole, text)', 'EXECUTE ON FUNCTION wee5_cron.revoke_from(regrole, text)',
    'EXECUTE ON FUNCTION wee5_cron.expose_api(name, regrole)'];
BEGIN
  RETURN CASE profile
    WHEN 'call' THEN calls
    WHEN 'app' THEN completes
    WHEN 'monitor' THEN monitors
    WHEN 'read' THEN calls || monitors || reads
    WHEN 'operate' THEN calls || completes || monitors || reads || operates
  END;
END
$$;
COMMENT ON FUNCTION wee5_cron.profile_privileges(text) IS 'Internal, for grant_to() and revoke_from(): what a profile grants';

-- privileges: such as 'EXECUTE ON FUNCTION ...'.
CREATE FUNCTION wee5_cron.grant_privileges(role regrole, privileges text[]) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call_schema constant name := wee5_cron.call_schema();
  grantee constant text := CASE WHEN role = 0 THEN 'PUBLIC' ELSE role::text END;
  privilege text;
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA wee5_cron TO %s', grantee);
  IF NOT has_schema_privilege(role, call_schema, 'USAGE')
     AND EXISTS (SELECT FROM unnest(privileges) p WHERE p LIKE '%.invoke_cron_endpoint(%') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', call_schema, grantee);
  END IF;
  FOREACH privilege IN ARRAY privileges LOOP
    EXECUTE format('GRANT %s TO %s', privilege, grantee);
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.grant_privileges(regrole, text[]) IS 'Internal, for grant_to(): grants these privileges on objects of the extension';

CREATE FUNCTION wee5_cron.privileges_for(role regrole, profile text, function_name text) RETURNS text[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  privileges constant text[] := wee5_cron.profile_privileges(profile);
BEGIN
  IF role IS NULL OR profile IS NULL THEN
    RAISE EXCEPTION '% must not be NULL', CASE WHEN role IS NULL THEN 'role' ELSE 'profile' END
      USING ERRCODE = 'null_value_not_allowed',
            HINT = format('SELECT wee5_cron.%s(''some_role'', ''call''); profiles: call, app, read, operate, monitor.', function_name);
  END IF;
  IF privileges IS NULL THEN
    RAISE EXCEPTION 'unknown profile "%"', left(profile, 100)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Choose call (make calls and wait for them), app (claim and complete work), read (call, and read everything), '
                   'operate (read, and manage jobs, policies, settings and privileges) or monitor (health() and metrics).';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
    RAISE EXCEPTION 'role % does not exist', role
      USING ERRCODE = 'undefined_object', HINT = 'SELECT rolname FROM pg_roles;';
  END IF;
  RETURN privileges;
END
$$;
COMMENT ON FUNCTION wee5_cron.privileges_for(regrole, text, text) IS
  'Internal, for grant_to() and revoke_from(): checks their arguments, and returns what the profile grants';

CREATE FUNCTION wee5_cron.grant_to(role regrole, profile text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.grant_privileges(role, wee5_cron.privileges_for(role, profile, 'grant_to'));
END
$$;
COMMENT ON FUNCTION wee5_cron.grant_to(regrole, text) IS
  'Grants a role one of the profiles call (make calls and wait for them), app (claim and complete work), read (call, and read everything), operate (read, and manage jobs, policies, settings and privileges), monitor (health() and metrics)';

-- A role that got a privilege WITH GRANT OPTION may have granted it to others.
CREATE FUNCTION wee5_cron.revoke_privilege(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  grantees text;
BEGIN
  EXECUTE format('REVOKE %s FROM %s', privilege, role);
EXCEPTION WHEN dependent_objects_still_exist THEN
  SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE format('"%s"', pg_get_userbyid(a.grantee)) END, ', ') INTO grantees
  FROM (SELECT p.proacl FROM pg_proc p WHERE p.oid = to_regprocedure(substring(privilege FROM ' ON (?:FUNCTION|PROCEDURE) (.*)$'))
        UNION ALL
        SELECT c.relacl FROM pg_class c WHERE c.oid = to_regclass(substring(privilege FROM ' ON (?:TABLE|SEQUENCE) (.*)$'))
        UNION ALL
        SELECT t.attacl FROM pg_attribute t WHERE t.attrelid = to_regclass(substring(privilege FROM ' ON TABLE (.*)$'))
        UNION ALL
        SELECT n.nspacl FROM pg_namespace n WHERE n.nspname = substring(privilege FROM ' ON SCHEMA (.*)$')) AS o (acl)
  CROSS JOIN LATERAL aclexplode(o.acl) a WHERE a.grantor = role;
  RAISE EXCEPTION 'role % has granted % to %', role, privilege, grantees
    USING ERRCODE = 'dependent_objects_still_exist',
          HINT = format('To take it from them, too: REVOKE %s FROM %s CASCADE; then call revoke_from() again.', privilege, role);
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_privilege(regrole, text) IS
  'Internal, for revoke_from(): revokes a privilege; raises an error that names those to whom the role has granted it';

CREATE FUNCTION wee5_cron.revoke_from(role regrole, profile text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  privileges constant text[] := wee5_cron.privileges_for(role, profile, 'revoke_from');
  privilege text;
BEGIN
  -- Its functions run with the rights of the owner.
  IF role = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'wee5_cron') THEN
    RAISE EXCEPTION 'role % owns wee5_cron and needs all privileges', role
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a role to which grant_to() gave the profile.';
  END IF;
  FOREACH privilege IN ARRAY privileges LOOP
    PERFORM wee5_cron.revoke_privilege(role, privilege);
  END LOOP;
  -- With nothing left to use in it, the role does not need the schema.
  IF NOT EXISTS (
       SELECT FROM wee5_cron.extension_members() m
       JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
       CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE a.grantee = role
       UNION ALL
       SELECT FROM wee5_cron.extension_members() m
       JOIN pg_attribute t ON m.classid = 'pg_class'::regclass AND t.attrelid = m.objid
       CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE a.grantee = role
       UNION ALL
       SELECT FROM wee5_cron.extension_members() m
       JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
       CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE a.grantee = role) THEN
    PERFORM wee5_cron.revoke_privilege(role, 'USAGE ON SCHEMA wee5_cron');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.revoke_from(regrole, text) IS
  'Takes back from a role everything that grant_to() grants with that profile, even what another profile of the role grants, too';
