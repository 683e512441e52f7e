-- wee5_cron 0.2.0: HTTP cron inside the database.
-- `make` joins the topic files in sql/native and sql/common in the order of their numbers.
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
