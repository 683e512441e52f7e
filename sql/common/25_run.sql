-- A call and its outcome in one statement. As a job's command, it makes pg_cron's own history show what the app
-- answered.

-- run() commits in its middle. Postgres forbids that in a SECURITY DEFINER procedure and in one that pins the
-- search_path. So run() runs with its caller's privileges, and every name in it carries its schema, types and operators
-- included: run() never uses the caller's search_path.

CREATE PROCEDURE wee5_cron.run(endpoint_path text)
  LANGUAGE plpgsql
  AS $$
DECLARE
  call_id pg_catalog.int8;
  outcome wee5_cron.invocation;
  hint pg_catalog.text;
  commit_error pg_catalog.text;
BEGIN
  -- In a block with EXCEPTION, COMMIT always fails. Its message depends on whether COMMIT could succeed outside of the block.
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    commit_error := SQLERRM;
  END;
  IF NOT wee5_cron.commit_is_possible(commit_error) THEN
    RAISE EXCEPTION 'wee5_cron.run() cannot run in a transaction block, a function or a block with EXCEPTION: its call is sent when the transaction commits'
      USING ERRCODE = 'invalid_transaction_termination',
            HINT = pg_catalog.format('Send CALL wee5_cron.run(%1$L) alone; in a job, make it the only statement. Or use two '
                                     'transactions: SELECT wee5_cron.invoke(%1$L), then SELECT wee5_cron.wait_for(id).',
                                     endpoint_path);
  END IF;
  call_id := wee5_cron.invoke(endpoint_path);
  COMMIT;
  LOOP
    outcome := wee5_cron.wait_for(call_id, '1 second'::pg_catalog.interval);
    -- Releases the snapshot, which would hold back VACUUM during a slow call, and keeps an answer that wait_for()
    -- recorded.
    COMMIT;
    EXIT WHEN outcome.finished_at IS NOT NULL;
  END LOOP;

  IF outcome.status OPERATOR(pg_catalog.=) 'succeeded' THEN
    RETURN;
  END IF;
  hint := COALESCE(outcome.hint, pg_catalog.format('SELECT * FROM wee5_cron.invocation WHERE id = %s;', call_id));
  IF outcome.status OPERATOR(pg_catalog.=) 'skipped'
        AND outcome.reason OPERATOR(pg_catalog.=) 'overlap' THEN
    RAISE NOTICE USING
      MESSAGE = pg_catalog.format('call %s of %s was skipped: %s', call_id, endpoint_path,
                                  COALESCE(outcome.error, outcome.reason)),
      HINT = hint;
    RETURN;
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'external_routine_exception',
    MESSAGE = pg_catalog.format(CASE WHEN outcome.status OPERATOR(pg_catalog.=) 'failed' THEN 'call %s of %s failed: %s'
                                     ELSE 'call %s of %s was not made: %s' END,
                                call_id, endpoint_path, COALESCE(outcome.error, outcome.reason, outcome.status)),
    HINT = hint;
END
$$;
COMMENT ON PROCEDURE wee5_cron.run(text) IS
  'Makes one call, waits until it ends, however long that takes, and raises 38000 unless it succeeded. So the history of pg_cron shows the run of a job CALL wee5_cron.run(...) as failed if the app did not answer 2xx. A call that is skipped because the previous one has not ended raises only a NOTICE. Each run that waits takes one of the slots of pg_cron';
