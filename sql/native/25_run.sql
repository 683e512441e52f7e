CREATE FUNCTION wee5_cron.commit_is_possible(commit_error text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_commit_is_possible';
COMMENT ON FUNCTION wee5_cron.commit_is_possible(text) IS
  'Internal, for run(): whether the procedure may COMMIT. Not in a transaction block, a function, or a block with EXCEPTION. commit_error: what COMMIT says in a block with EXCEPTION';
