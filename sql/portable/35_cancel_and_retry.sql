-- At REPEATABLE READ and SERIALIZABLE a query of the catalogs sees them as they were when the transaction began, while Postgres runs the
-- triggers and rules that there are now. currtid2() finds the newest version of a row at any level: a table's first trigger or
-- rule changes its row in pg_class, a further one does not.
CREATE FUNCTION wee5_cron.triggers_are_seen(relation oid) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
    RETURN true;
  END IF;
  RETURN (SELECT currtid2('pg_catalog.pg_class', c.ctid) = c.ctid AND NOT c.relhastriggers AND NOT c.relhasrules
          FROM pg_class c WHERE c.oid = relation);
END
$$;
COMMENT ON FUNCTION wee5_cron.triggers_are_seen(oid) IS
  'Internal: whether this transaction sees all triggers and rules that a table has. Lock the table first';

-- Locks the table first, so that nobody can add a trigger, rule or policy until the transaction ends.
CREATE FUNCTION wee5_cron.refuse_tampered_queue() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- Somebody else's table, or none: the error below is clearer than that of LOCK.
  may_lock constant boolean := coalesce(has_table_privilege(to_regclass('net.http_request_queue'), 'UPDATE, DELETE, TRUNCATE'), false);
  has record;
  added text;
BEGIN
  IF may_lock THEN
    LOCK TABLE net.http_request_queue IN ROW EXCLUSIVE MODE;
  END IF;
  SELECT c.oid AS queue, c.relhastriggers AS triggers, c.relhasrules AS rules,
         c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
  INTO has FROM pg_class c
  WHERE c.oid = to_regclass('net.http_request_queue') AND wee5_cron.belongs_to_extension('pg_class', c.oid, 'pg_net');
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the table net.http_request_queue does not belong to the extension pg_net'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Reinstall pg_net.';
  ELSIF NOT may_lock THEN
    LOCK TABLE net.http_request_queue IN ROW EXCLUSIVE MODE;  -- raises the error
  END IF;
  -- Postgres leaves the first two marks set when the last trigger or rule is dropped.
  IF has.triggers OR has.rules OR has.policies THEN
    added := CASE
      WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = has.queue AND NOT t.tgisinternal) THEN 'trigger'
      WHEN EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = has.queue) THEN 'rule'
      WHEN has.policies THEN 'policy' END;
  END IF;
  IF added IS NULL AND NOT wee5_cron.triggers_are_seen(has.queue) THEN
    RAISE EXCEPTION 'net.http_request_queue may have a trigger that this transaction cannot see'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'At this isolation level, the transaction sees the triggers and rules that the table had when it began. A new one '
                     'would see the bearer secret.',
            HINT = 'Begin a new transaction, at READ COMMITTED if this error comes again.';
  ELSIF added IS NOT NULL THEN
    RAISE EXCEPTION 'net.http_request_queue has a %', added
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It would run with the rights of the extension''s owner and see the bearer secret. pg_net lets every role '
                     'create triggers there.',
            HINT = 'The line pg_net_tampering of wee5_cron.doctor() says how to remove it.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_tampered_queue() IS
  'Internal, for cancel(): raises an error if pg_net''s queue has a trigger, rule or policy, which would run with our rights';

CREATE FUNCTION wee5_cron.retry(id bigint) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  call wee5_cron.invocation;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'id must not be NULL'
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'Give the id of a call that has ended: SELECT id, endpoint_path, error FROM wee5_cron.invocation WHERE '
                   'status = ''failed'';';
  END IF;
  SELECT i.* INTO call FROM wee5_cron.invocation i WHERE i.id = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no call % in wee5_cron.invocation', $1
      USING ERRCODE = '02000',
            HINT = 'SELECT id, endpoint_path, status FROM wee5_cron.invocation WHERE finished_at IS NOT NULL;';
  ELSIF call.finished_at IS NULL THEN
    RAISE EXCEPTION 'call % has not ended yet', $1
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Wait for it: SELECT wee5_cron.wait_for(%1$s); or cancel it: SELECT wee5_cron.cancel(%1$s);', $1);
  END IF;
  RETURN wee5_cron.make_call(call.endpoint_path, call.method, call.body, call.headers, call.timeout, call, call.job_name, NULL,
                             NULL, call.scheduled_at);
END
$$;
COMMENT ON FUNCTION wee5_cron.retry(bigint) IS
  'Repeats a call that has ended, with the same request and idempotency key, and returns the id of the new row';
