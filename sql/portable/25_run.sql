-- A function can never COMMIT, so its error is that of a transaction block. Where COMMIT is possible, a block with EXCEPTION has
-- another one.
CREATE FUNCTION wee5_cron.commit_is_possible(commit_error text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  COMMIT;
EXCEPTION WHEN invalid_transaction_termination THEN
  RETURN commit_error <> SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.commit_is_possible(text) IS
  'Internal, for run(): whether the procedure may COMMIT. Not in a transaction block, a function, or a block with EXCEPTION. commit_error: what COMMIT says in a block with EXCEPTION';
