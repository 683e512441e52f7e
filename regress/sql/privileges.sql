-- Privileges, on a server whose default privileges grant to roles by name, like Supabase's.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE anon;
CREATE ROLE authenticated;
CREATE ROLE service_role;
CREATE ROLE "regress Caller" LOGIN;
CREATE ROLE regress_reader LOGIN;
CREATE ROLE regress_operator LOGIN;
CREATE ROLE regress_monitor LOGIN;
CREATE ROLE regress_route LOGIN;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon, authenticated, service_role, regress_reader;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO anon, authenticated, service_role WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO anon, authenticated, service_role;
CREATE SCHEMA regress_app;
REVOKE ALL ON SCHEMA regress_app FROM anon, authenticated, service_role;
CREATE EXTENSION wee5_cron SCHEMA regress_app;

-- The ACLs of our objects name only the owner.
CREATE VIEW regress_grants AS
  WITH object AS (
    SELECT n.nspname::text AS object, n.nspacl AS acl, n.nspowner AS owner, 'n'::"char" AS kind, 'pg_namespace'::regclass AS catalog, n.oid
    FROM pg_namespace n
    UNION ALL
    SELECT c.oid::regclass::text, c.relacl, c.relowner, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", 'pg_class', c.oid
    FROM pg_class c WHERE c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT p.oid::regprocedure::text, p.proacl, p.proowner, 'f', 'pg_proc', p.oid
    FROM pg_proc p
  )
  SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee, o.object, a.privilege_type
  FROM object o
  JOIN pg_depend d ON d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e'
    AND d.refclassid = 'pg_extension'::regclass
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'wee5_cron',
  aclexplode(coalesce(o.acl, acldefault(o.kind, o.owner))) a
  WHERE a.grantee <> o.owner
  ORDER BY 1, 2, 3;
SELECT * FROM regress_grants;
SELECT has_function_privilege('anon', 'regress_app.invoke_cron_endpoint(text)', 'EXECUTE') AS anon_calls;

-- What the profiles grant.
SELECT wee5_cron.grant_to('"regress Caller"', 'call');
SELECT wee5_cron.grant_to('regress_reader', 'read');
SELECT wee5_cron.grant_to('regress_operator', 'operate');
SELECT wee5_cron.grant_to('regress_monitor', 'monitor');
SELECT wee5_cron.grant_to('regress_route', 'app');
-- Every object of the extension with the profiles that may use it. If you add one, decide here. Internal objects are for no
-- profile.
CREATE VIEW regress_reach AS
  WITH profile (role, name) AS (
    VALUES ('anon', 'anon'), ('authenticated', 'authenticated'), ('service_role', 'service_role'), ('regress Caller', 'call'),
           ('regress_reader', 'read'), ('regress_operator', 'operate'), ('regress_monitor', 'monitor'), ('regress_route', 'app')
  ), member AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'wee5_cron'
  ), object AS (
    SELECT 'n' AS kind, n.oid, n.nspname::text AS name FROM pg_namespace n JOIN member m ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END, c.oid, c.oid::regclass::text
    FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind <> 'i'
    UNION ALL
    SELECT 'f', p.oid, p.oid::regprocedure::text FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
  ), possible (kind, privilege) AS (
    VALUES ('n', 'USAGE'), ('n', 'CREATE'), ('s', 'USAGE'), ('s', 'SELECT'), ('s', 'UPDATE'), ('f', 'EXECUTE'), ('r', 'SELECT'), ('r', 'INSERT'),
           ('r', 'UPDATE'), ('r', 'DELETE'), ('r', 'TRUNCATE'), ('r', 'REFERENCES'), ('r', 'TRIGGER')
  ), reach AS (
    SELECT o.oid, o.name, p.privilege, r.name AS profile
    FROM object o JOIN possible p USING (kind) CROSS JOIN profile r
    WHERE CASE o.kind
            WHEN 'n' THEN has_schema_privilege(r.role, o.oid, p.privilege)
            WHEN 's' THEN has_sequence_privilege(r.role, o.oid, p.privilege)
            WHEN 'f' THEN has_function_privilege(r.role, o.oid, p.privilege)
            ELSE has_table_privilege(r.role, o.oid, p.privilege) END
  )
  SELECT o.name AS object, coalesce(r.privilege, '-') AS privilege, coalesce(string_agg(r.profile, ' ' ORDER BY r.profile), 'nobody') AS who
  FROM object o LEFT JOIN reach r USING (oid)
  GROUP BY o.name, r.privilege
  ORDER BY o.name COLLATE "C", r.privilege;
\pset format unaligned
\pset footer off
SELECT * FROM regress_reach;
\pset format aligned
\pset footer on
CREATE TABLE regress_grants_before AS SELECT * FROM regress_grants;
SELECT has_schema_privilege('regress Caller', 'regress_app', 'USAGE') AS reaches_the_function;
-- The functions run with the rights of the owner, who keeps its privileges.
DO $$
BEGIN
  PERFORM wee5_cron.revoke_from(n.nspowner::regrole, 'operate') FROM pg_namespace n WHERE n.nspname = 'wee5_cron';
  RAISE 'revoked';
EXCEPTION WHEN invalid_parameter_value THEN
  NULL;
END
$$;
-- Granting a profile again changes nothing.
SELECT wee5_cron.grant_to('regress_operator', 'operate');
TABLE regress_grants EXCEPT TABLE regress_grants_before;
DROP TABLE regress_grants_before;

-- The profiles in use.
ALTER DATABASE contrib_regression SET app.settings.api_url = 'http://127.0.0.1:9';
ALTER DATABASE contrib_regression SET app.settings.cron_secret = 'secret of the regression tests';
SET SESSION AUTHORIZATION "regress Caller";
BEGIN;
SELECT regress_app.invoke_cron_endpoint('/a') > 0 AS called, wee5_cron.invoke('/b', 'POST') > 0 AS called_too;
ROLLBACK;
SELECT count(*) FROM wee5_cron.invocation;
SELECT count(*) FROM wee5_cron.job_status;
SELECT wee5_cron.harvest();
SET SESSION AUTHORIZATION regress_reader;
SELECT count(*) FROM wee5_cron.invocation;
SELECT count(*) FROM wee5_cron.attempt;
SELECT count(*) FROM wee5_cron.job;
SELECT count(*) FROM wee5_cron.job_status;
SELECT count(*) FROM wee5_cron.worker WHERE datname <> current_database();
SELECT count(*) FROM wee5_cron.pg_net_request;
DELETE FROM wee5_cron.invocation;
SELECT wee5_cron.register_jobs();
SET SESSION AUTHORIZATION regress_operator;
SELECT wee5_cron.harvest();
SELECT wee5_cron.redact_for('postgres', 'secret of the regression tests');
SELECT wee5_cron.end_call(1, 'succeeded');
SELECT wee5_cron.invoke_for_job('x', '/x');
-- The profile operate may say which job calls which path where the ledger cannot know it, but not which of pg_cron's jobs
-- belong to the extension.
INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES ('digest', '/api/digest');
UPDATE wee5_cron.job SET catch_up = 'none', endpoint_path = '/api/digests' WHERE job_name = 'digest';
UPDATE wee5_cron.job SET jobid = 1;
INSERT INTO wee5_cron.job (job_name, registered) VALUES ('other', true);
-- A caller may not choose the transport or other settings of a call.
SET wee5_cron.transport = 'builtin';
SET wee5_cron.allow_plain_http = on;
SET app.settings.api_url = 'http://evil.internal';
RESET SESSION AUTHORIZATION;
ALTER DATABASE contrib_regression RESET app.settings.api_url;
ALTER DATABASE contrib_regression RESET app.settings.cron_secret;
DROP EXTENSION wee5_cron;

-- Managed servers let an owner who is not a superuser install extensions: the script runs with a superuser's rights, and
-- session_user is the owner. The owner may then operate the extension, and owns the jobs.
CREATE EXTENSION pg_cron;
CREATE ROLE regress_owner LOGIN;
CREATE FUNCTION pg_temp.install() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN CREATE EXTENSION wee5_cron SCHEMA regress_app; END $$;
SET SESSION AUTHORIZATION regress_owner;
SELECT pg_temp.install();
RESET SESSION AUTHORIZATION;
SELECT DISTINCT grantee FROM regress_grants;
SELECT jobname, username FROM cron.job ORDER BY jobid;
SET SESSION AUTHORIZATION regress_owner;
SELECT job_name, state FROM wee5_cron.job_status ORDER BY jobid;
SELECT wee5_cron.unregister_jobs();
RESET SESSION AUTHORIZATION;
DROP EXTENSION wee5_cron;
DROP EXTENSION pg_cron;
DROP FUNCTION pg_temp.install();

DROP VIEW regress_grants;
DROP VIEW regress_reach;
DROP SCHEMA regress_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM anon, authenticated, service_role, regress_reader;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM anon, authenticated, service_role;
DROP ROLE anon, authenticated, service_role, "regress Caller", regress_reader, regress_operator, regress_monitor, regress_route, regress_owner;
