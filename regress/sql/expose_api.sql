-- expose_api(): functions for a Data API, in a schema of their own. Default privileges grant to roles by name, as on Supabase.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION pg_cron;
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
RESET client_min_messages;
\set VERBOSITY default

SELECT wee5_cron.expose_api();
SET client_min_messages = warning;
CREATE ROLE anon;
CREATE ROLE authenticated;
CREATE ROLE service_role;
CREATE ROLE regress_server;
CREATE ROLE regress_group;
GRANT regress_group TO authenticated;
CREATE ROLE regress_operator;
RESET client_min_messages;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role, regress_group;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO anon, authenticated, service_role, regress_group;

-- What it refuses.
SELECT wee5_cron.expose_api(NULL);
SELECT wee5_cron.expose_api(role => 0::regrole);
SELECT wee5_cron.expose_api(role => 'anon');
SELECT wee5_cron.expose_api(role => 'authenticated');
SELECT wee5_cron.expose_api(role => 'regress_group');
SELECT wee5_cron.expose_api('public');
SELECT wee5_cron.expose_api('wee5_cron');
SELECT wee5_cron.expose_api('pg_api');
SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron_public';

-- What it creates, and who may use it.
CREATE VIEW regress_api AS
  SELECT p.oid::regprocedure::text AS function, p.prosecdef AS as_owner, p.proconfig AS settings,
         array(SELECT a.grantee::regrole::text FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner
               ORDER BY 1) AS granted,
         has_schema_privilege('anon', p.pronamespace, 'USAGE') OR has_schema_privilege('authenticated', p.pronamespace, 'USAGE') AS visitors
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname ~ '^wee5_cron_|^Regress api' ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT wee5_cron.expose_api();
\pset format unaligned
TABLE regress_api;
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, obj_description(p.oid, 'pg_proc') = obj_description(w.oid, 'pg_proc') AS described
FROM pg_proc p LEFT JOIN pg_proc w ON w.proname = p.proname AND w.pronamespace = 'wee5_cron'::regnamespace
WHERE p.pronamespace = 'wee5_cron_public'::regnamespace ORDER BY p.proname COLLATE "C";
\pset format aligned
SELECT check_name, status FROM wee5_cron.doctor() WHERE check_name = 'callers';

-- Again, and for a second role: nothing is lost.
SELECT wee5_cron.expose_api(role => 'regress_server');
GRANT ALL ON ALL FUNCTIONS IN SCHEMA wee5_cron_public TO anon;
SELECT status, detail LIKE '%wee5_cron_public.invoke(%' AS names_it FROM wee5_cron.doctor() WHERE check_name = 'callers';
SELECT wee5_cron.expose_api();
SELECT DISTINCT granted, visitors FROM regress_api;
SELECT status FROM wee5_cron.doctor() WHERE check_name = 'callers';
SELECT wee5_cron.expose_api('Regress api', 'regress_server');
SELECT DISTINCT granted FROM regress_api ORDER BY granted;

-- A function that a view uses stays, unless the new version has other parameters.
CREATE VIEW regress_states AS SELECT job_name FROM "Regress api".job_status();
SELECT wee5_cron.expose_api('Regress api', 'regress_server');
DROP FUNCTION "Regress api".health(interval);
CREATE FUNCTION "Regress api".health() RETURNS jsonb LANGUAGE sql AS 'SELECT wee5_cron.health() -- made by wee5_cron.expose_api()';
CREATE VIEW regress_health AS SELECT "Regress api".health();
SELECT wee5_cron.expose_api('Regress api', 'regress_server');
DROP VIEW regress_health;
SELECT wee5_cron.expose_api('Regress api', 'regress_server');
SELECT function FROM regress_api WHERE function LIKE '"Regress api".health(%';
DROP VIEW regress_states;

-- The role of a server has no other privilege.
SELECT wee5_cron.schedule('digest', '0 0 1 1 *', '/api/digest') > 0 AS made;
SET ROLE service_role;
SELECT wee5_cron_public.claim('00000000-0000-4000-8000-000000000001') AS first,
       wee5_cron_public.claim('00000000-0000-4000-8000-000000000001') AS second;
SELECT wee5_cron_public.complete('00000000-0000-4000-8000-000000000001', ok => true);
SELECT wee5_cron_public.claim('00000000-0000-4000-8000-000000000001');
SELECT wee5_cron_public.pause('digest', note => 'for a test');
SELECT job_name, state FROM wee5_cron_public.job_status();
SELECT wee5_cron_public.resume('digest');
SELECT state FROM wee5_cron_public.job_status();
SELECT jsonb_typeof(wee5_cron_public.health()), left(wee5_cron_public.status_page('A title'), 15);
SELECT count(*) FROM wee5_cron_public.invocation(1);
SELECT wee5_cron_public.invoke('no path');
SELECT wee5_cron.invoke('/x');
SELECT count(*) FROM wee5_cron.invocation;
RESET ROLE;
SET ROLE anon;
SELECT wee5_cron_public.health();
RESET ROLE;

-- The profile operate may run it.
SELECT wee5_cron.expose_api('regress_not');
SET ROLE regress_operator;
SELECT wee5_cron.expose_api('regress_not');
RESET ROLE;
SELECT wee5_cron.grant_to('regress_operator', 'operate');
SET ROLE regress_operator;
SELECT wee5_cron.expose_api(role => 'regress_operator');
RESET ROLE;

-- Each schema can be dropped like any other. What is left goes with wee5_cron.
SET client_min_messages = warning;
DROP SCHEMA regress_not CASCADE;
DROP SCHEMA "Regress api" CASCADE;
RESET client_min_messages;
DROP VIEW regress_api;
DROP EXTENSION wee5_cron;
SELECT nspname FROM pg_namespace WHERE nspname ~ '^wee5_cron|^[Rr]egress';
DROP EXTENSION pg_cron;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM anon, authenticated, service_role, regress_group;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM anon, authenticated, service_role, regress_group;
DROP ROLE anon, authenticated, service_role, regress_server, regress_group, regress_operator;
