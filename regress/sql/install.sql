-- What CREATE EXTENSION creates, and what it refuses.
\set SHOW_CONTEXT never
\set installer :USER
CREATE ROLE regress_admin SUPERUSER LOGIN;
SET SESSION AUTHORIZATION regress_admin;

-- The schema wee5_cron must not exist before, and cannot be named.
CREATE SCHEMA wee5_cron;
CREATE EXTENSION wee5_cron SCHEMA wee5_cron;
\echo :SQLSTATE
CREATE EXTENSION wee5_cron;
\echo :SQLSTATE
DROP SCHEMA wee5_cron;

-- Without pg_cron, it installs with one notice.
CREATE EXTENSION wee5_cron;
SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = 'invoke_cron_endpoint';
SELECT count(*) FROM wee5_cron.job;
SELECT * FROM wee5_cron.job_status;
DROP EXTENSION wee5_cron;

-- With pg_cron, it creates the three jobs. invoke_cron_endpoint goes to the named schema.
CREATE EXTENSION pg_cron;
CREATE SCHEMA "of App";
CREATE EXTENSION wee5_cron SCHEMA "of App";
SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobid;
SELECT j.job_name, j.endpoint_path, j.registered, c.jobname = j.job_name AS same_name
FROM wee5_cron.job j JOIN cron.job c USING (jobid) ORDER BY jobid;

-- All objects. Unaligned, so that a new object is one new line.
\pset format unaligned
\pset footer off
SELECT pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'wee5_cron'
  AND d.classid <> 'pg_type'::regclass  -- which ones are members depends on the version of Postgres
ORDER BY pg_describe_object(d.classid, d.objid, 0) COLLATE "C";
\pset format aligned
\pset footer on
SELECT c.oid::regclass AS dumped_with_its_rows
FROM pg_extension e, unnest(e.extconfig) AS t JOIN pg_class c ON c.oid = t
WHERE e.extname = 'wee5_cron' ORDER BY c.relname;

-- Room in a page for the result of its calls, and vacuum while the queue is still small.
SELECT c.relname, c.reloptions FROM pg_class c
WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r' AND c.reloptions IS NOT NULL ORDER BY 1;
-- Every function has a comment and pins its search_path. Only a procedure that commits cannot pin it.
SELECT p.oid::regprocedure
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'wee5_cron'
  AND (p.prokind <> 'p' AND (p.proconfig IS NULL OR NOT p.proconfig @> '{"search_path=pg_catalog, pg_temp"}')
       OR obj_description(p.oid, 'pg_proc') IS NULL);

-- Everything else has a comment, too, and so has each column that grant_to() lets others read.
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'wee5_cron'
  AND d.classid IN ('pg_class'::regclass, 'pg_namespace'::regclass, 'pg_proc'::regclass)
  AND obj_description(d.objid, (SELECT relname FROM pg_class WHERE oid = d.classid)) IS NULL;
CREATE ROLE regress_reader;
SELECT wee5_cron.grant_to('regress_reader', 'read');
SELECT c.oid::regclass AS relation, string_agg(a.attname, ' ' ORDER BY a.attnum) FILTER (WHERE col_description(c.oid, a.attnum) IS NULL) AS without_comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege('regress_reader', c.oid, 'SELECT')
GROUP BY c.oid ORDER BY c.relname;
DROP OWNED BY regress_reader;
DROP ROLE regress_reader;

-- DROP EXTENSION removes its jobs, and no others.
SELECT cron.schedule_in_database('of somebody', '0 0 1 1 *', $$SELECT 'x'$$, current_database()) > 0 AS scheduled;
DROP EXTENSION wee5_cron;
SELECT jobname FROM cron.job;
SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron';

-- After it is created again, everything is as before.
CREATE EXTENSION wee5_cron;
SELECT jobname, command FROM cron.job ORDER BY jobid;
DROP EXTENSION wee5_cron;

-- CREATE EXTENSION in one transaction with other statements.
BEGIN;
CREATE EXTENSION wee5_cron;
SELECT count(*) FROM cron.job;
ROLLBACK;
SELECT jobname FROM cron.job;

-- With default_jobs off, it creates no jobs.
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
SELECT jobname FROM cron.job;
DROP EXTENSION wee5_cron;
RESET wee5_cron.default_jobs;

-- pg_dump SETs row_security, to any value, and xmloption. A restore runs CREATE EXTENSION in such a session, and brings
-- the rows itself.
SET xmloption = content;
SET row_security = on;
CREATE EXTENSION wee5_cron;
RESET row_security;
RESET xmloption;
SELECT wee5_cron.is_armed() AS armed;
SELECT jobname FROM cron.job;
SELECT count(*) FROM wee5_cron.job;
DROP EXTENSION wee5_cron;

-- A hand-written function of this name would still be called. CREATE EXTENSION refuses it in every schema.
CREATE FUNCTION public.invoke_cron_endpoint(endpoint_path text) RETURNS void LANGUAGE sql AS '';
CREATE EXTENSION wee5_cron;
\echo :SQLSTATE
CREATE EXTENSION wee5_cron SCHEMA "of App";
\echo :SQLSTATE
CREATE FUNCTION "of App".invoke_cron_endpoint(path varchar, tries int DEFAULT 3) RETURNS void LANGUAGE sql AS '';
CREATE EXTENSION wee5_cron;
\echo :SQLSTATE
-- The hint names the schema that the search_path asks for.
DROP FUNCTION public.invoke_cron_endpoint(text);
ALTER ROLE regress_admin SET search_path = "of App";
\c - regress_admin
\set SHOW_CONTEXT never
CREATE EXTENSION wee5_cron;
BEGIN; DROP FUNCTION "of App".invoke_cron_endpoint(character varying, integer); CREATE EXTENSION wee5_cron SCHEMA "of App"; COMMIT;
SELECT oid::regprocedure FROM pg_proc WHERE proname = 'invoke_cron_endpoint';
-- A function that appears later is not ours.
CREATE FUNCTION public.invoke_cron_endpoint(endpoint_path text) RETURNS void LANGUAGE sql AS '';
SELECT * FROM wee5_cron.other_endpoint_functions();
DROP FUNCTION public.invoke_cron_endpoint(text);
DROP EXTENSION wee5_cron;
ALTER ROLE regress_admin RESET search_path;
\c - regress_admin
\set SHOW_CONTEXT never
-- Each of these functions could be called with one string.
CREATE FUNCTION invoke_cron_endpoint(name) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION invoke_cron_endpoint(VARIADIC text[]) RETURNS void LANGUAGE sql AS '';
CREATE DOMAIN "of App".path AS text;
CREATE FUNCTION invoke_cron_endpoint("of App".path) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE invoke_cron_endpoint(text) LANGUAGE sql AS '';
CREATE EXTENSION wee5_cron;
DROP FUNCTION invoke_cron_endpoint(name), invoke_cron_endpoint(text[]), invoke_cron_endpoint("of App".path);
DROP PROCEDURE invoke_cron_endpoint(text);
DROP DOMAIN "of App".path;
-- A function that belongs to another extension has to be renamed.
CREATE FUNCTION "of App".invoke_cron_endpoint(text) RETURNS void LANGUAGE sql AS '';
ALTER EXTENSION pg_cron ADD FUNCTION "of App".invoke_cron_endpoint(text);
CREATE EXTENSION wee5_cron;
ALTER EXTENSION pg_cron DROP FUNCTION "of App".invoke_cron_endpoint(text);
DROP FUNCTION "of App".invoke_cron_endpoint(text);
-- These cannot be called like that, and may stay. Nor does a call without a schema find a temporary function.
CREATE FUNCTION invoke_cron_endpoint(bigint) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION invoke_cron_endpoint(text, int) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION invoke_cron_endpoint() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION pg_temp.invoke_cron_endpoint(text) RETURNS void LANGUAGE sql AS '';
SET wee5_cron.default_jobs = off;
CREATE EXTENSION wee5_cron;
DROP EXTENSION wee5_cron;
DROP FUNCTION invoke_cron_endpoint(bigint), invoke_cron_endpoint(text, int), invoke_cron_endpoint();

-- Existing jobs stay as they are. A notice names the roles that may no longer call.
CREATE ROLE "regress App" LOGIN;
SELECT cron.schedule_in_database(name, '0 0 1 1 *', command, current_database(), username) > 0 AS scheduled
FROM (VALUES ('poll-activities', $$SELECT invoke_cron_endpoint('/api/cron/poll-activities')$$, 'regress App'),
             ('other', $$SELECT public.invoke_cron_endpoint ('/x')$$, 'regress App'),
             ('none of it', 'SELECT 1', 'regress App'),
             ('welcome-emails', $$SELECT invoke_cron_endpoint('/api/cron/welcome-emails')$$, 'regress_admin'))
     AS j (name, command, username);
RESET wee5_cron.default_jobs;
CREATE EXTENSION wee5_cron;
SELECT jobname, username, command FROM cron.job WHERE jobname <> 'of somebody' ORDER BY jobname;
SELECT wee5_cron.grant_to('"regress App"', 'call');
DROP EXTENSION wee5_cron;
SELECT jobname FROM cron.job ORDER BY jobname;
DROP ROLE "regress App";

-- In a database without pg_cron.
CREATE DATABASE regress_elsewhere;
\c regress_elsewhere
\set SHOW_CONTEXT never
SET SESSION AUTHORIZATION regress_admin;
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.register_jobs();
\echo :SQLSTATE
SELECT wee5_cron.unregister_jobs();
\echo :SQLSTATE
SELECT wee5_cron.run_now('poll-activities');
\echo :SQLSTATE
SELECT * FROM wee5_cron.job_status;
-- A job that pg_cron runs from another database is identified by its path.
INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES ('poll-activities', '/api/cron/poll-activities');
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, finished_at, error)
VALUES ('poll-activities', '/api/cron/poll-activities', 'builtin', 'failed', now(), 'The app answered 500.'),
       ('forgotten', '/x', 'builtin', 'succeeded', now(), NULL);
SELECT job_name, jobid, schedule, active, endpoint_path, last_status, consecutive_failures, last_error, state
FROM wee5_cron.job_status ORDER BY 1;
-- A schema cron that does not belong to pg_cron is ignored.
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigint, jobname text, schedule text, command text, database text, username text, active boolean);
CREATE TABLE cron.job_run_details (jobid bigint, runid bigint);
INSERT INTO cron.job VALUES (1, 'x', '* * * * *', $$SELECT invoke_cron_endpoint('/x')$$, current_database(), 'regress_admin', true);
SELECT count(*) FROM wee5_cron.job_status WHERE jobid = 1;
DROP EXTENSION wee5_cron;
\c contrib_regression :installer
DROP DATABASE regress_elsewhere;
DROP EXTENSION pg_cron;
DROP SCHEMA "of App";
DROP ROLE regress_admin;
