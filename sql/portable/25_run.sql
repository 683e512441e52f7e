-- A function can never COMMIT, so its error is that of a transaction block. Where COMMIT is possible, a block with EXCEPTION has
-- another one. In such a block of its caller, run() cannot commit either. No function tells, but a row does: it carries the number
-- of the block's subtransaction.
CREATE FUNCTION wee5_cron.commit_is_possible(commit_error text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  written_by xid;
BEGIN
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    IF commit_error = SQLERRM THEN
      RETURN false;
    END IF;
  END;
  -- No call has this id, and nobody else ever sees the row.
  INSERT INTO wee5_cron.cancellation (invocation_id) VALUES (0) RETURNING xmin INTO written_by;
  DELETE FROM wee5_cron.cancellation c WHERE c.xmin = written_by AND c.invocation_id = 0;
  RETURN written_by = pg_current_xact_id()::xid;
END
$$;
COMMENT ON FUNCTION wee5_cron.commit_is_possible(text) IS
  'Internal, for run(): whether the procedure may COMMIT. Not in a transaction block, a function, or a block with EXCEPTION. commit_error: what COMMIT says in a block with EXCEPTION';
