-- doctor(): which transport calls use, the worker, and pg_net.

CREATE FUNCTION wee5_cron.doctor_harvest_job() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found boolean;
BEGIN
  EXECUTE $query$
    SELECT EXISTS (SELECT FROM cron.job j
                   WHERE j.database = current_database() AND j.active AND wee5_cron.harvests(j.command))
  $query$ INTO found;
  RETURN found;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_harvest_job() IS 'Internal, for doctor(): whether a job of this database runs harvest()';

CREATE FUNCTION wee5_cron.doctor_pg_net_harvest() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  pg_cron_here constant boolean := wee5_cron.pg_cron_installed();
  failure text;
BEGIN
  IF wee5_cron.library_preloaded() THEN
    RETURN NEXT ('pg_net_harvest', 'ok', 'the worker records pg_net''s answers', NULL)::wee5_cron.finding;
  ELSIF NOT wee5_cron.doctor_uses_pg_net() THEN
    RETURN NEXT ('pg_net_harvest', 'ok', 'does not apply: calls do not use pg_net', NULL)::wee5_cron.finding;
  ELSIF pg_cron_here AND wee5_cron.doctor_harvest_job() THEN
    failure := wee5_cron.harvest_failure();
    IF failure IS NOT NULL THEN
      RETURN NEXT ('pg_net_harvest', 'error', format('the job that records pg_net''s answers fails: %s', wee5_cron.doctor_redact(failure)),
                   E'SELECT wee5_cron.harvest();\n-- as the role of that job: the error says more')::wee5_cron.finding;
      RETURN;
    END IF;
    RETURN NEXT ('pg_net_harvest', 'ok', 'a job records pg_net''s answers', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_harvest', 'error',
                 'nothing records pg_net''s answers: wee5_cron is not preloaded, and no job runs harvest()',
                 CASE WHEN pg_cron_here
                      THEN 'SELECT cron.schedule(''wee5-cron-harvest'', ''* * * * *'', ''SELECT wee5_cron.harvest()'');'
                      ELSE wee5_cron.doctor_preload() END)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_harvest() IS 'Internal, for doctor(): whether something records pg_net''s answers';

CREATE FUNCTION wee5_cron.doctor_pg_net_queue() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  open record;
BEGIN
  -- A call that waits for its time, for a retry or for its app is not at pg_net.
  SELECT count(*) AS calls, min(o.since) AS since INTO open
  FROM (SELECT coalesce((SELECT b.handed_over_at FROM wee5_cron.pg_net_request b WHERE b.invocation_id = i.id),
                        i.requested_at) AS since
        FROM wee5_cron.invocation i
        WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL LIMIT 10000) o
  WHERE o.since < clock_timestamp() - interval '5 minutes';
  IF open.calls = 0 THEN
    RETURN NEXT ('pg_net_queue', 'ok', 'no call has waited at pg_net for more than five minutes', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_queue', 'warning',
                 format('calls that have waited at pg_net for more than five minutes: %s%s, the oldest since %s', open.calls,
                        CASE WHEN open.calls >= 10000 THEN ' or more' ELSE '' END,
                        to_char(open.since, 'YYYY-MM-DD HH24:MI:SS')),
                 E'SELECT wee5_cron.harvest();\n-- if pg_net''s worker is stuck: SELECT net.worker_restart();'
                )::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_queue() IS 'Internal, for doctor(): calls that have waited at pg_net for long';

-- what: a list for a sentence; NULL: nothing. statements: those that remove it. pg_net's tables may belong to another role, and
-- only their owner can drop a trigger. But the owner of its function can drop that.
CREATE FUNCTION wee5_cron.added_to_table(name text, OUT what text, OUT statements text)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(p.what, ', ' ORDER BY p.what),
           string_agg(CASE WHEN t.is_own_table THEN p.statement
                           WHEN f.oid >= 16384 THEN
                             format('DROP FUNCTION %s CASCADE;', f.oid::regprocedure) || E'\n'
                             || wee5_cron.doctor_comment(format('as its owner, role "%s". The triggers that call it go with it', pg_get_userbyid(f.proowner)))
                           ELSE wee5_cron.doctor_comment(format(E'Only the owner of the table can remove it, role "%s":\n%s', t.owner, p.statement)) END,
                      E'\n' ORDER BY p.what)
    FROM (
      SELECT c.oid AS relation, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS is_own_table, c.relrowsecurity
      FROM pg_class c WHERE c.oid = to_regclass($1)
    ) t CROSS JOIN LATERAL (
      SELECT format('trigger "%s"', g.tgname) AS what, format('DROP TRIGGER %I ON %s;', g.tgname, $1) AS statement, g.tgfoid AS function
      FROM pg_trigger g WHERE g.tgrelid = t.relation AND NOT g.tgisinternal
      UNION ALL
      SELECT format('rule "%s"', r.rulename), format('DROP RULE %I ON %s;', r.rulename, $1), NULL
      FROM pg_rewrite r WHERE r.ev_class = t.relation
      UNION ALL
      SELECT format('policy "%s"', y.polname), format('DROP POLICY %I ON %s;', y.polname, $1), NULL
      FROM pg_policy y WHERE y.polrelid = t.relation
      UNION ALL
      SELECT 'row level security', format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', $1), NULL WHERE t.relrowsecurity
    ) p LEFT JOIN pg_proc f ON f.oid = p.function
  $$;
COMMENT ON FUNCTION wee5_cron.added_to_table(text) IS
  'Internal, for doctor(): triggers, rules and policies on a table, and the statements that remove them';

-- A trigger or rule that a user adds to the queue table runs with our privileges and sees the bearer secret. On the table of
-- answers it runs with pg_net's privileges, and decides what we read there.
CREATE FUNCTION wee5_cron.doctor_pg_net_tampering() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  queue constant record := wee5_cron.added_to_table('net.http_request_queue');
  answers constant record := wee5_cron.added_to_table('net._http_response');
BEGIN
  IF queue.what IS NOT NULL THEN
    RETURN NEXT ('pg_net_tampering', CASE WHEN wee5_cron.doctor_uses_pg_net() THEN 'error' ELSE 'warning' END,
                 format('net.http_request_queue has %s, which would see the bearer secret: calls by pg_net are refused',
                        queue.what), queue.statements)::wee5_cron.finding;
  ELSIF answers.what IS NOT NULL THEN
    RETURN NEXT ('pg_net_tampering', 'warning',
                 format('net._http_response has %s, which may change or hide answers before they are recorded', answers.what),
                 answers.statements)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_tampering', 'ok', 'pg_net''s tables have no trigger, rule or policy', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_tampering() IS
  'Internal, for doctor(): triggers, rules and policies on pg_net''s tables, which would see the secret, or change answers';
