CREATE FUNCTION wee5_cron.commit_is_possible() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT true $$;
COMMENT ON FUNCTION wee5_cron.commit_is_possible() IS
  'Internal, for run(): whether the procedure may COMMIT. Not in a transaction block, a function, or a block with EXCEPTION';
