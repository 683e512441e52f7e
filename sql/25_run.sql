-- A call and its outcome in one statement. As a job's command it makes pg_cron's own history tell what the app answered.

-- run() has to commit in its middle, so it is a procedure, runs with its caller's rights and pins no search_path: Postgres
-- forbids COMMIT otherwise. Hence every name in it carries its schema, types and operators too: what the caller's
-- search_path leads to is never looked at.

CREATE FUNCTION wee5_cron.commit_is_possible() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_commit_is_possible';
COMMENT ON FUNCTION wee5_cron.commit_is_possible() IS
  'Internal, of run(): whether the procedure that asks may COMMIT; not in a transaction block, a function or a block with EXCEPTION';

CREATE PROCEDURE wee5_cron.run(endpoint_path text)
  LANGUAGE plpgsql
  AS $$
DECLARE
  call_id pg_catalog.int8;
  outcome wee5_cron.invocation;
  hint pg_catalog.text;
BEGIN
  -- COMMIT itself would say "invalid transaction termination".
  IF NOT wee5_cron.commit_is_possible() THEN
    RAISE EXCEPTION 'wee5_cron.run() cannot work in a transaction block or a function: its call is sent when that commits'
      USING ERRCODE = 'invalid_transaction_termination',
            HINT = pg_catalog.format('CALL wee5_cron.run(%1$L) alone, also as the only statement of a job; or in two '
                                     'transactions SELECT wee5_cron.invoke(%1$L), then SELECT wee5_cron.wait_for(id).',
                                     endpoint_path);
  END IF;
  call_id := wee5_cron.invoke(endpoint_path);
  COMMIT;
  LOOP
    outcome := wee5_cron.wait_for(call_id, '1 second'::pg_catalog.interval);
    -- Lets go of the snapshot, which would keep VACUUM from its work while a slow route is waited for; and keeps the
    -- answer where wait_for() booked it.
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
  'Makes one call, waits for its end however long that takes, and raises 38000 unless it succeeded: a job CALL wee5_cron.run(...) is failed in cron.job_run_details when the app did not answer 2xx. A call skipped because the one before has not ended is a notice; one skipped for want of settings is a failure. Holds a pg_cron slot while it waits';
