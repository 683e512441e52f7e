-- doctor(): what users have altered on the extension's tables, and which publications block the worker.

-- A publication can make Postgres refuse UPDATE or DELETE on a table of ours. blocks: which of the two.
CREATE FUNCTION wee5_cron.blocking_publications(OUT table_name name, OUT publication name, OUT blocks text, OUT reason text,
                                                OUT hint text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- Since PostgreSQL 15: publications by schema, row filters, column lists.
  has_filters constant boolean := to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL;
BEGIN
  RETURN QUERY EXECUTE format($query$
    WITH ours AS (
      SELECT c.oid, c.relname, c.relreplident, c.relnamespace,
             -- The columns of the replica identity; NULL: there is none.
             CASE c.relreplident
               WHEN 'f' THEN (SELECT array_agg(a.attnum ORDER BY a.attnum) FROM pg_attribute a
                              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
               WHEN 'n' THEN NULL
               ELSE (SELECT array_agg(k.attnum ORDER BY k.attnum)
                     FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
                     WHERE i.indrelid = c.oid AND k.n <= i.indnkeyatts AND i.indisvalid
                       AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary AND i.indimmediate END)
             END AS identity
      FROM pg_class c
      WHERE c.relnamespace = to_regnamespace('wee5_cron') AND c.relkind = 'r' AND c.relpersistence = 'p'
        AND wee5_cron.is_ours('pg_class', c.oid)
    ), published AS (
      SELECT o.*, p.pubname, p.pubupdate, p.pubdelete, r.oid AS entry, %1$s AS columns
      FROM ours o
      CROSS JOIN pg_publication p
      LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = o.oid
      WHERE (p.pubupdate OR p.pubdelete) AND (p.puballtables OR r.oid IS NOT NULL OR %2$s)
    ), problem AS (
      SELECT p.relname, p.pubname, p.pubupdate, p.pubdelete, 'the table has no replica identity' AS reason,
             format('ALTER TABLE wee5_cron.%%I REPLICA IDENTITY FULL;', p.relname) AS hint
      FROM published p WHERE p.identity IS NULL
      UNION ALL
      SELECT p.relname, p.pubname, p.pubupdate, p.pubdelete,
             format('its row filter uses the column %%s, which is not in the table''s replica identity',
                    string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)),
             format('ALTER PUBLICATION %%I DROP TABLE wee5_cron.%%I; -- or ALTER TABLE wee5_cron.%%I REPLICA IDENTITY FULL',
                    p.pubname, p.relname, p.relname)
      FROM published p
      JOIN pg_depend d ON d.classid = 'pg_publication_rel'::regclass AND d.objid = p.entry
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.oid AND d.refobjsubid > 0
      JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = d.refobjsubid
      WHERE a.attnum <> ALL (p.identity) AND (p.columns IS NULL OR NOT a.attnum = ANY (p.columns) OR %3$s)
      GROUP BY p.relname, p.pubname, p.pubupdate, p.pubdelete
      UNION ALL
      SELECT p.relname, p.pubname, p.pubupdate, p.pubdelete, 'its column list leaves out a column of the table''s replica identity',
             format('ALTER PUBLICATION %%I DROP TABLE wee5_cron.%%I; -- or publish all of its columns', p.pubname, p.relname)
      FROM published p
      WHERE p.columns IS NOT NULL AND p.identity IS NOT NULL AND NOT p.columns @> p.identity
    )
    SELECT p.relname, p.pubname,
           CASE WHEN p.pubupdate AND p.pubdelete THEN 'UPDATE and DELETE' WHEN p.pubupdate THEN 'UPDATE' ELSE 'DELETE' END,
           p.reason, p.hint
    FROM problem p ORDER BY 1, 2, 4
  $query$,
  CASE WHEN has_filters THEN 'r.prattrs::int2[]' ELSE 'NULL::int2[]' END,
  CASE WHEN has_filters THEN 'EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid AND n.pnnspid = o.relnamespace)'
       ELSE 'false' END,
  CASE WHEN has_filters THEN 'EXISTS (SELECT FROM pg_publication_rel f WHERE f.oid = p.entry AND f.prqual IS NOT NULL)' ELSE 'false' END);
END
$$;
COMMENT ON FUNCTION wee5_cron.blocking_publications() IS
  'Internal, for doctor(): publications that make Postgres refuse UPDATE or DELETE on the extension''s tables';

-- oid is NULL if somebody renamed, moved or replaced the table.
CREATE FUNCTION wee5_cron.own_tables(OUT table_name text, OUT oid oid, OUT relkind "char", OUT relpersistence "char",
                                     OUT relispartition boolean, OUT relowner oid, OUT relrowsecurity boolean,
                                     OUT relforcerowsecurity boolean)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT t.table_name, c.oid, c.relkind, c.relpersistence, c.relispartition, c.relowner, c.relrowsecurity,
           c.relforcerowsecurity
    FROM (SELECT DISTINCT e.table_name FROM wee5_cron.table_layout() e) t
    LEFT JOIN pg_class c ON c.relname = t.table_name AND c.relnamespace = to_regnamespace('wee5_cron')
      AND wee5_cron.is_ours('pg_class', c.oid)
  $$;
COMMENT ON FUNCTION wee5_cron.own_tables() IS 'Internal, for table_changes(): the extension''s tables as they are now';

-- Each of the next functions finds one kind of change. severity: error if it stops calls; warning if it may; ok if
-- wee5_cron obeys what a user added.
CREATE FUNCTION wee5_cron.changed_columns(OUT severity text, OUT what text, OUT hint text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH own AS MATERIALIZED (
      SELECT * FROM wee5_cron.own_tables()
    )
    SELECT 'error', format('the table wee5_cron.%I is missing', p.table_name),
           '-- if you renamed, moved or replaced the table, restore the original'
    FROM own p WHERE p.oid IS NULL OR p.relkind <> 'r'
    UNION ALL
    SELECT 'error', format('wee5_cron.%I has no column "%s"', e.table_name, e.column_name),
           format('ALTER TABLE wee5_cron.%I ADD %I %s; -- if you renamed the column, rename it back instead',
                  e.table_name, e.column_name, e.column_type)
    FROM wee5_cron.table_layout() e JOIN own p ON p.table_name = e.table_name AND p.relkind = 'r'
    WHERE NOT EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = p.oid AND a.attname = e.column_name AND NOT a.attisdropped)
    UNION ALL
    SELECT CASE WHEN e.column_type = 'text'::regtype AND a.atttypid = 'varchar'::regtype AND a.atttypmod <> -1 THEN 'warning'
                WHEN e.column_type = 'text'::regtype AND a.atttypid = 'varchar'::regtype OR t.typbasetype = e.column_type THEN 'ok'
                WHEN e.read_directly THEN 'error' WHEN e.table_name = 'attempt' THEN 'ok' ELSE 'warning' END,
           format('column "%s" of wee5_cron.%I has type %s instead of %s', e.column_name, e.table_name,
                  format_type(a.atttypid, a.atttypmod), e.column_type),
           format('ALTER TABLE wee5_cron.%I ALTER %I TYPE %s USING %I::%s;', e.table_name, e.column_name, e.column_type,
                  e.column_name, e.column_type)
    FROM wee5_cron.table_layout() e
    JOIN own p ON p.table_name = e.table_name AND p.relkind = 'r'
    JOIN pg_attribute a ON a.attrelid = p.oid AND a.attname = e.column_name AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.atttypid <> e.column_type OR a.atttypmod <> -1
    UNION ALL
    SELECT 'ok', format('column "%s" of wee5_cron.%I is generated', a.attname, p.table_name), NULL
    FROM own p JOIN pg_attribute a ON a.attrelid = p.oid AND a.attgenerated <> '' AND NOT a.attisdropped
  $$;
COMMENT ON FUNCTION wee5_cron.changed_columns() IS
  'Internal, for table_changes(): tables and columns that are missing or have another type';

CREATE FUNCTION wee5_cron.added_objects(OUT severity text, OUT what text, OUT hint text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH own AS MATERIALIZED (
      SELECT * FROM wee5_cron.own_tables()
    )
    SELECT 'ok', format('wee5_cron.%I has the trigger "%s"', p.table_name, t.tgname), NULL
    FROM own p JOIN pg_trigger t ON t.tgrelid = p.oid AND NOT t.tgisinternal
    WHERE (p.table_name, t.tgname) NOT IN (('endpoint', 'check_endpoint'), ('invocation', 'wake_for_waiting_calls'))
    UNION ALL
    SELECT 'warning', 'wee5_cron.endpoint has no working trigger "check_endpoint": '
           || CASE WHEN wee5_cron.reads_tables_directly() THEN 'sessions and the worker do not notice changes of the table'
                ELSE 'no new policy is checked' END,
           CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = p.oid AND t.tgname = 'check_endpoint')
                THEN 'ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;'
                ELSE E'CREATE TRIGGER check_endpoint BEFORE INSERT OR UPDATE OR DELETE ON wee5_cron.endpoint\n'
                     '  FOR EACH ROW EXECUTE FUNCTION wee5_cron.check_endpoint();\n'
                     'ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;' END
    FROM own p
    WHERE p.table_name = 'endpoint' AND p.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = p.oid AND t.tgname = 'check_endpoint' AND t.tgenabled = 'A')
    UNION ALL
    SELECT 'ok', format('wee5_cron.%I has the rule "%s"', p.table_name, r.rulename), NULL
    FROM own p JOIN pg_rewrite r ON r.ev_class = p.oid
    UNION ALL
    -- An expression or a predicate can raise an error that does not name its index.
    SELECT 'ok', format('wee5_cron.%I has the index "%s"', p.table_name, c.relname), NULL
    FROM own p
    JOIN pg_index i ON i.indrelid = p.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relname NOT IN ('invocation_open', 'invocation_retry', 'invocation_unfinished', 'invocation_unfinished_later',
                            'invocation_keyed', 'invocation_accepted', 'invocation_job', 'invocation_job_success', 'invocation_job_failure',
                            'claim_expiry')
    UNION ALL
    SELECT 'ok', format('wee5_cron.%I is a partition of %s', p.table_name, h.inhparent::regclass), NULL
    FROM own p JOIN pg_inherits h ON h.inhrelid = p.oid WHERE p.relispartition
    UNION ALL
    SELECT 'warning', format('%s inherits from wee5_cron.%I; its rows are not sent', h.inhrelid::regclass, p.table_name),
           format('ALTER TABLE %s NO INHERIT wee5_cron.%I;', h.inhrelid::regclass, p.table_name)
    FROM own p JOIN pg_inherits h ON h.inhparent = p.oid
  $$;
COMMENT ON FUNCTION wee5_cron.added_objects() IS
  'Internal, for table_changes(): what users added to the extension''s tables';

CREATE FUNCTION wee5_cron.restricted_tables(OUT severity text, OUT what text, OUT hint text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH own AS MATERIALIZED (
      SELECT * FROM wee5_cron.own_tables()
    ), owner AS (
      SELECT coalesce((SELECT e.extowner FROM pg_extension e WHERE e.extname = 'wee5_cron'),
                      (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'wee5_cron')) AS oid
    )
    SELECT 'error', format('row-level security applies to the owner of wee5_cron on wee5_cron.%I', p.table_name),
           format('ALTER TABLE wee5_cron.%I NO FORCE ROW LEVEL SECURITY;%s', p.table_name,
                  CASE WHEN p.relowner <> x.oid
                       THEN format(' ALTER TABLE wee5_cron.%I OWNER TO %I;', p.table_name, pg_get_userbyid(x.oid)) ELSE '' END)
    FROM own p CROSS JOIN owner x
    JOIN pg_roles r ON r.oid = x.oid
    WHERE p.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
      AND (p.relforcerowsecurity OR NOT pg_has_role(x.oid, p.relowner, 'USAGE'))
    UNION ALL
    SELECT 'error', format('the owner of wee5_cron may not read and write wee5_cron.%I', p.table_name),
           format('GRANT ALL ON wee5_cron.%I TO %I;', p.table_name, pg_get_userbyid(x.oid))
    FROM own p CROSS JOIN owner x
    WHERE p.relkind = 'r' AND NOT (has_table_privilege(x.oid, p.oid, 'SELECT') AND has_table_privilege(x.oid, p.oid, 'INSERT')
                                   AND has_table_privilege(x.oid, p.oid, 'UPDATE') AND has_table_privilege(x.oid, p.oid, 'DELETE'))
    UNION ALL
    SELECT 'error', format('the owner of wee5_cron may not use the sequence wee5_cron.%I', c.relname),
           format('GRANT ALL ON SEQUENCE wee5_cron.%I TO %I;', c.relname, pg_get_userbyid(x.oid))
    FROM pg_class c CROSS JOIN owner x
    WHERE c.relname = 'invocation_id_seq' AND c.relnamespace = to_regnamespace('wee5_cron') AND c.relkind = 'S'
      AND NOT (has_sequence_privilege(x.oid, c.oid, 'USAGE') OR has_sequence_privilege(x.oid, c.oid, 'UPDATE'))
    UNION ALL
    SELECT 'warning', format('wee5_cron.%I is unlogged: a crash empties it', p.table_name),
           format('ALTER TABLE wee5_cron.%I SET LOGGED;', p.table_name)
    FROM own p
    WHERE p.relpersistence = 'u' AND p.table_name IN ('invocation', 'attempt', 'endpoint', 'job', 'cancellation', 'claim', 'trouble', 'pending_alert', 'pending_outcome', 'armed')
    UNION ALL
    SELECT 'warning', format('the sequence wee5_cron.%I is unlogged: a crash resets it, and ids come again', c.relname),
           format('ALTER SEQUENCE wee5_cron.%I SET LOGGED;', c.relname)
    FROM pg_class c
    WHERE c.relname = 'invocation_id_seq' AND c.relnamespace = to_regnamespace('wee5_cron') AND c.relpersistence = 'u'
  $$;
COMMENT ON FUNCTION wee5_cron.restricted_tables() IS
  'Internal, for table_changes(): tables and sequences that the owner of wee5_cron cannot use, or that a crash empties';

CREATE FUNCTION wee5_cron.broken_indexes(OUT severity text, OUT what text, OUT hint text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH own AS MATERIALIZED (
      SELECT * FROM wee5_cron.own_tables()
    )
    -- The library reads these indexes without the planner. Elsewhere, a query without its index is only slow.
    SELECT CASE WHEN k.needed AND wee5_cron.reads_tables_directly() THEN 'error' ELSE 'warning' END,
           format('index wee5_cron.%I is %s', k.name, CASE WHEN i.indexrelid IS NULL THEN 'missing' ELSE 'not valid' END),
           CASE WHEN i.indexrelid IS NULL THEN format('CREATE INDEX %I ON wee5_cron.invocation %s;', k.name, k.definition)
                ELSE format('REINDEX INDEX wee5_cron.%I;', k.name) END
    FROM own p
    CROSS JOIN (VALUES
      ('invocation_open', true, '(transport, (split_part(endpoint_path, ''?'', 1)) COLLATE "C", id) WHERE finished_at IS NULL AND next_attempt_at IS NULL'),
      ('invocation_retry', false, '(next_attempt_at) WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL'),
      ('invocation_unfinished', true, '(endpoint_path COLLATE "C", id) WHERE finished_at IS NULL AND due_at IS NULL'),
      ('invocation_unfinished_later', true, '(endpoint_path COLLATE "C", id) WHERE finished_at IS NULL AND due_at IS NOT NULL AND (next_attempt_at = due_at) IS NOT TRUE'),
      ('invocation_keyed', false, '(requested_by, key, id) WHERE finished_at IS NULL AND key IS NOT NULL'),
      ('invocation_accepted', false, '(id) WHERE http_status = 202 AND (finished_at IS NULL OR reason = ''incomplete'')'),
      ('invocation_job', false, '(job_name, id) WHERE job_name IS NOT NULL'),
      ('invocation_job_success', false, '(job_name, id) WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NULL'),
      ('invocation_job_failure', false, '(job_name, id) WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NOT NULL')
    ) AS k (name, needed, definition)
    LEFT JOIN (pg_index i JOIN pg_class c ON c.oid = i.indexrelid) ON i.indrelid = p.oid AND c.relname = k.name
    WHERE p.table_name = 'invocation' AND p.relkind = 'r' AND (i.indexrelid IS NULL OR NOT i.indisvalid)
    UNION ALL
    SELECT CASE p.table_name WHEN 'invocation' THEN 'error' ELSE 'warning' END,
           format('wee5_cron.%I has no primary key on its column%s %s', p.table_name,
                  CASE WHEN cardinality(k.columns) > 1 THEN 's' ELSE '' END, (SELECT string_agg('"' || c || '"', ', ') FROM unnest(k.columns) c)),
           format('ALTER TABLE wee5_cron.%I ADD PRIMARY KEY (%s);', p.table_name, array_to_string(k.columns, ', '))
    FROM own p
    JOIN (VALUES
      ('invocation', array['id']), ('attempt', array['invocation_id', 'attempt']), ('endpoint', array['endpoint_path']),
      ('job', array['job_name']), ('job_watch', array['jobid']), ('trouble', array['kind', 'name']),
      ('pending_alert', array['id']), ('newest_call', array['route', 'job_name']), ('cron_caller', array['invocation_id']),
      ('pg_net_request', array['invocation_id']), ('claim', array['idempotency_key']), ('pending_outcome', array['invocation_id'])
    ) AS k (name, columns) ON k.name = p.table_name
    WHERE p.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_index i
                      WHERE i.indrelid = p.oid AND i.indisprimary
                        AND k.columns = ARRAY(SELECT a.attname::text
                                              FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, n)
                                              JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = u.attnum
                                              WHERE u.n <= i.indnkeyatts ORDER BY u.n))
  $$;
COMMENT ON FUNCTION wee5_cron.broken_indexes() IS
  'Internal, for table_changes(): indexes that are missing or not valid';

CREATE FUNCTION wee5_cron.table_changes(OUT severity text, OUT what text, OUT hint text) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT c.severity, c.what, c.hint
    FROM (SELECT * FROM wee5_cron.changed_columns()
          UNION ALL SELECT * FROM wee5_cron.added_objects()
          UNION ALL SELECT * FROM wee5_cron.restricted_tables()
          UNION ALL SELECT * FROM wee5_cron.broken_indexes()
          UNION ALL
          SELECT 'error', format('publication "%s" makes Postgres refuse %s on wee5_cron.%I: %s', b.publication, b.blocks,
                                 b.table_name, b.reason), b.hint
          FROM wee5_cron.blocking_publications() b) c
    ORDER BY array_position(array['error', 'warning', 'ok'], c.severity), c.what
  $$;
COMMENT ON FUNCTION wee5_cron.table_changes() IS
  'Internal, for doctor() and the worker: what users have altered on the extension''s tables';

CREATE FUNCTION wee5_cron.doctor_tables() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  change record;
  obeyed text;
  reported boolean := false;
BEGIN
  FOR change IN SELECT * FROM wee5_cron.table_changes() LOOP
    IF change.severity = 'ok' THEN
      obeyed := concat_ws('; ', obeyed, change.what);
    ELSE
      RETURN NEXT ('ledger_tables', change.severity, change.what, change.hint)::wee5_cron.finding;
      reported := true;
    END IF;
  END LOOP;
  IF NOT reported THEN
    RETURN NEXT ('ledger_tables', 'ok',
                 CASE WHEN obeyed IS NULL THEN 'the tables are as wee5_cron made them'
                      ELSE 'wee5_cron can work with your changes: ' || obeyed END, NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_tables() IS 'Internal, for doctor(): what users have altered on the extension''s tables';
