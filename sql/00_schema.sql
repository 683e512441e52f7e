-- wee5_cron 0.1.0: HTTP cron that lives in the database.
-- Joined from the topic files in sql/ by Makefile.pgxs, in the order of their numbers.
\echo Use "CREATE EXTENSION wee5_cron" to load this file. \quit

-- invoke_cron_endpoint goes to the schema that CREATE EXTENSION names; everything else to the schema wee5_cron, which
-- is the extension's own and must not exist before: objects that somebody planted there would be run as the owner.
DO $$
BEGIN
  IF '@extschema@' = 'wee5_cron' THEN
    RAISE EXCEPTION 'wee5_cron cannot be installed with SCHEMA wee5_cron'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'That schema is made by the extension itself. Name the one in which invoke_cron_endpoint shall stand: '
                   'CREATE EXTENSION wee5_cron SCHEMA public;';
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'wee5_cron') THEN
    RAISE EXCEPTION 'a schema named wee5_cron exists already'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'The extension makes that schema itself. Look at what it holds (\dn+ wee5_cron), then '
                   'ALTER SCHEMA wee5_cron RENAME TO ... or DROP SCHEMA wee5_cron.';
  END IF;
END
$$;

CREATE SCHEMA wee5_cron;
COMMENT ON SCHEMA wee5_cron IS 'HTTP cron: the ledger of calls, its jobs and its functions';
