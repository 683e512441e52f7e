-- doctor(): whether this database makes calls, and whether it should.

CREATE FUNCTION wee5_cron.doctor_armed() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark record;
  since text;
  waiting bigint;
  is_copy boolean;
BEGIN
  SELECT a.armed_at, a.armed_by, a.note INTO mark FROM wee5_cron.armed a
  WHERE a.database = wee5_cron.database_oid() AND (a.xid = '0' OR wee5_cron.has_mark()) LIMIT 1;
  since := to_char(mark.armed_at, 'YYYY-MM-DD HH24:MI:SS');
  IF wee5_cron.has_mark() THEN
    RETURN NEXT ('armed', 'ok', format('the database makes calls; "%s" armed it at %s', mark.armed_by, since), NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  is_copy := NOT EXISTS (SELECT FROM wee5_cron.armed a WHERE a.database = wee5_cron.database_oid());
  -- The predicates of the two indexes of unfinished calls.
  SELECT count(*) INTO waiting
  FROM (SELECT FROM wee5_cron.invocation i
        WHERE i.finished_at IS NULL AND (i.next_attempt_at IS NULL OR i.next_attempt_at IS NOT NULL) LIMIT 100000) w;
  RETURN NEXT ('armed', 'error',
               CASE WHEN is_copy THEN 'the database was restored from a dump or copied, and makes no calls'
                    WHEN mark IS NULL THEN
                      'somebody has changed, copied or restored wee5_cron.armed since arm(), and the database makes no calls'
                    ELSE format('the database was disarmed at %s by "%s"%s, and makes no calls', since, mark.armed_by,
                                coalesce(' (' || wee5_cron.doctor_redact(mark.note) || ')', '')) END
               || format('; queued calls: %s', waiting),
               E'SELECT wee5_cron.arm();\n'
               || CASE WHEN is_copy THEN '-- run this if this database should make calls instead of the original. '
                       WHEN mark IS NULL THEN '-- run this if no other database makes these calls. '
                       ELSE '-- ' END
               || 'arm() sends the queued calls; arm(discard => true) cancels them')::wee5_cron.finding;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_armed() IS 'Internal, for doctor(): whether this database makes calls';

CREATE FUNCTION wee5_cron.doctor_subscription_target() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  names text;
  statements text;
BEGIN
  SELECT string_agg(format('"%s"', s.name), ', '), string_agg(format(E'DROP SUBSCRIPTION %I;\n', s.name), '')
  INTO names, statements FROM wee5_cron.ledger_subscriptions() AS s (name);
  IF names IS NULL THEN
    RETURN NEXT ('subscription_target', 'ok', 'no subscription writes to the ledger', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('subscription_target', 'error',
                 format('the ledger comes from another database by subscription %s: that database makes the calls, and this '
                        'one makes none', names),
                 '-- to let this database call instead:' || E'\n' || statements || 'SELECT wee5_cron.arm();')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_subscription_target() IS
  'Internal, for doctor(): whether the ledger comes from another database by logical replication';
