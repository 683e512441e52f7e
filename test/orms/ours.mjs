import assert from 'node:assert/strict';

// All that a tool could remove: tables, views and their columns, functions, constraints, indexes, rights, jobs, policies.
export async function ours(client) {
  const { rows } = await client.query(`
    SELECT 'relation' AS kind, c.oid::regclass::text AS name, c.relkind::text || coalesce(c.relacl::text, '') || coalesce(pg_get_viewdef(CASE relkind WHEN 'v' THEN c.oid END), '') AS what
    FROM pg_class c WHERE relnamespace::regnamespace::text IN ('wee5_cron', 'cron')
    UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, atttypid::regtype || ' ' || attnotnull
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace::regnamespace::text IN ('wee5_cron', 'cron') AND attnum > 0
    UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace::regnamespace::text IN ('wee5_cron', 'cron')
    UNION ALL SELECT 'function', oid::regprocedure::text, coalesce(proacl::text, '') || md5(prosrc)
    FROM pg_proc WHERE pronamespace::regnamespace::text IN ('wee5_cron', 'cron') OR proname = 'invoke_cron_endpoint'
    UNION ALL SELECT 'policy', polrelid::regclass || '.' || polname, pg_get_expr(polqual, polrelid) FROM pg_policy
    UNION ALL SELECT 'job', jobid::text, schedule || command FROM cron.job
    ORDER BY 1, 2, 3`);
  assert.ok(rows.length > 300);
  return rows;
}
