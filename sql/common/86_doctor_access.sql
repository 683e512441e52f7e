-- doctor(): who may call, and other functions of our name.

-- From PostgreSQL 16 on, a REVOKE takes back only what one role granted, by default the role that runs it. The first step
-- of a chain of memberships is enough: all others lead through it.
CREATE FUNCTION wee5_cron.doctor_end_membership(member oid, role oid) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(string_agg(format('REVOKE %s FROM %s%s;', m.roleid::regrole, m.member::regrole,
                                      CASE WHEN current_setting('server_version_num')::int >= 160000
                                           THEN format(' GRANTED BY %s', m.grantor::regrole) END),
                               E'\n' ORDER BY m.roleid::regrole::text, m.grantor),
                    -- A superuser has the privileges of every role.
                    format('ALTER ROLE %s NOSUPERUSER;', $1::regrole))
    FROM pg_auth_members m
    WHERE m.member = $1 AND pg_has_role(m.roleid, $2, 'USAGE') AND coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_end_membership(oid, oid) IS
  'Internal, for doctor(): the statements after which a role no longer has the privileges of another role';

-- PUBLIC, and the roles of a public API (PostgREST, Supabase), must not make a call with the secret.
CREATE FUNCTION wee5_cron.doctor_callers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found record;
  lines bigint := 0;
BEGIN
  FOR found IN
    WITH member AS (
      SELECT * FROM wee5_cron.extension_members()
      UNION ALL
      SELECT 'pg_proc'::regclass, e.function FROM wee5_cron.exposed_functions() e
    ), granted AS (
      SELECT 'ROUTINE' AS kind, p.oid::regprocedure::text AS name, a.grantee
      FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
      CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      WHERE a.grantee <> p.proowner
      UNION ALL
      SELECT 'TABLE', c.oid::regclass::text, a.grantee
      FROM member m
      JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v')
      CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
      WHERE a.grantee <> c.relowner
    ), public_role AS (
      SELECT 0::oid AS oid, 'PUBLIC' AS name
      UNION ALL SELECT r.oid, quote_ident(r.rolname) FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated')
    )
    -- Directly, or as a member of another role.
    SELECT p.oid, p.name AS grantee, CASE WHEN g.grantee <> p.oid THEN g.grantee::regrole END AS through,
           string_agg(DISTINCT g.name, ', ' ORDER BY g.name) AS objects,
           concat_ws(E'\n', 'REVOKE ALL ON ROUTINE ' || string_agg(DISTINCT g.name, ', ') FILTER (WHERE g.kind = 'ROUTINE')
                            || format(' FROM %s;', p.name),
                     'REVOKE ALL ON TABLE ' || string_agg(DISTINCT g.name, ', ') FILTER (WHERE g.kind = 'TABLE')
                     || format(' FROM %s;', p.name)) AS statements
    FROM public_role p
    JOIN granted g ON g.grantee = p.oid
                   OR (p.oid <> 0 AND g.grantee <> 0 AND pg_has_role(p.oid, g.grantee, 'USAGE'))
    GROUP BY p.oid, p.name, 3
    ORDER BY p.oid <> 0, p.name, 3
  LOOP
    lines := lines + 1;
    RETURN NEXT ('callers', CASE WHEN found.grantee IN ('PUBLIC', 'anon') THEN 'error' ELSE 'warning' END,
                 CASE WHEN found.grantee = 'PUBLIC' THEN 'every role' ELSE format('role %s', found.grantee) END
                 || coalesce(', as a member of ' || found.through || ',', '') || ' may use ' || found.objects,
                 CASE WHEN found.through IS NULL THEN found.statements
                      ELSE wee5_cron.doctor_end_membership(found.oid, found.through) END)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('callers', 'ok', 'neither PUBLIC nor anon nor authenticated may call or read', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_callers() IS 'Internal, for doctor(): whether PUBLIC, anon or authenticated may call or read';

-- Some projects have an event trigger that enables row-level security for each new table. Without a policy, it hides the rows from
-- every role but the owner, whose rights our functions have.
CREATE FUNCTION wee5_cron.doctor_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  hidden record;
BEGIN
  SELECT string_agg(DISTINCT h.name, ', ') AS tables, string_agg(DISTINCT h.reader, ', ') AS readers, min(h.name) AS one_table,
         string_agg(DISTINCT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', h.name), E'\n') AS statements
  INTO hidden
  FROM (SELECT c.oid::regclass::text AS name, CASE a.grantee WHEN 0 THEN 'every role' ELSE format('role %I', r.rolname) END AS reader
        FROM wee5_cron.extension_members() m
        JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind = 'r' AND c.relrowsecurity
        CROSS JOIN LATERAL aclexplode(c.relacl) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE a.privilege_type = 'SELECT'
          AND (a.grantee = 0 OR NOT (r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, c.relowner, 'USAGE')))
          AND NOT EXISTS (SELECT FROM pg_policy p CROSS JOIN unnest(p.polroles) AS applies_to
                          WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
                            AND (applies_to = 0 OR a.grantee <> 0 AND pg_has_role(a.grantee, applies_to, 'USAGE')))) h;
  IF hidden.tables IS NULL THEN
    RETURN NEXT ('ledger_readers', 'ok', 'row-level security hides no table from a role that may read it', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('ledger_readers', 'warning',
                 format('row-level security hides all rows of %s from %s', hidden.tables, hidden.readers),
                 format(E'%s\n-- or keep it, and let them read: CREATE POLICY readers ON %s USING (true);', hidden.statements,
                        hidden.one_table))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_readers() IS
  'Internal, for doctor(): whether row-level security hides tables from roles that may read them';

CREATE FUNCTION wee5_cron.doctor_namesakes() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  namesake record;
  changed record;
  lines bigint := 0;
BEGIN
  FOR namesake IN SELECT * FROM wee5_cron.other_endpoint_functions() LOOP
    lines := lines + 1;
    RETURN NEXT ('namesakes', 'error', format('%s does not belong to wee5_cron, but a job may call it', namesake.name),
                 namesake.way_out)::wee5_cron.finding;
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'invoke_cron_endpoint' AND wee5_cron.is_ours('pg_proc', p.oid)) THEN
    lines := lines + 1;
    RETURN NEXT ('namesakes', 'error', 'wee5_cron has no function invoke_cron_endpoint(text): somebody renamed or dropped it, and jobs cannot call it',
                 coalesce((SELECT format('ALTER FUNCTION %s RENAME TO invoke_cron_endpoint;', p.oid::regprocedure)
                           FROM pg_proc p
                           WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'wee5_cron'::regnamespace)
                             AND pg_get_function_identity_arguments(p.oid) = 'endpoint_path text' AND wee5_cron.is_ours('pg_proc', p.oid)),
                          wee5_cron.doctor_lost_function()))::wee5_cron.finding;
  END IF;
  FOR changed IN
    WITH owner AS MATERIALIZED (
      SELECT coalesce((SELECT e.extowner FROM pg_extension e WHERE e.extname = 'wee5_cron'),
                      (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'wee5_cron')) AS oid
    )
    SELECT CASE WHEN has_schema_privilege(p.proowner, 'wee5_cron', 'USAGE')
                 AND has_table_privilege(p.proowner, to_regclass('wee5_cron.invocation'), 'INSERT') THEN 'warning' ELSE 'error' END AS severity,
           format('%s run%s with the rights of role "%s", which lacks those of "%s", the owner of wee5_cron',
                  CASE WHEN count(*) <= 3 THEN string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.oid::regprocedure::text)
                       ELSE count(*) || ' functions of wee5_cron' END,
                  CASE count(*) WHEN 1 THEN 's' ELSE '' END, pg_get_userbyid(p.proowner), pg_get_userbyid(x.oid)) AS what,
           string_agg(format('ALTER FUNCTION %s OWNER TO %I;', p.oid::regprocedure, pg_get_userbyid(x.oid)), E'\n'
                      ORDER BY p.oid::regprocedure::text) AS hint
    FROM pg_proc p CROSS JOIN owner x
    WHERE p.prosecdef AND p.proowner <> x.oid AND NOT pg_has_role(p.proowner, x.oid, 'USAGE') AND wee5_cron.is_ours('pg_proc', p.oid)
    GROUP BY p.proowner, x.oid
    UNION ALL
    SELECT 'warning', format('%s runs with the rights of its caller: a role that may only make calls cannot', p.oid::regprocedure),
           format('ALTER FUNCTION %s SECURITY DEFINER;', p.oid::regprocedure)
    FROM pg_proc p
    WHERE p.proname IN ('invoke_cron_endpoint', 'invoke') AND NOT p.prosecdef AND wee5_cron.is_ours('pg_proc', p.oid)
  LOOP
    lines := lines + 1;
    RETURN NEXT ('namesakes', changed.severity, changed.what, changed.hint)::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('namesakes', 'ok', format('invoke_cron_endpoint is in schema "%s" only', wee5_cron.call_schema()),
                 NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_namesakes() IS 'Internal, for doctor(): other functions named invoke_cron_endpoint, and whether ours runs with the rights that it needs';
