// drizzle-kit beside wee5_cron: what it pushes and pulls leaves the schemas of wee5_cron and pg_cron as they are.
//
//   DATABASE_URL=postgres://... node --test drizzle.test.mjs
//
// The database has both extensions. The role is its superuser.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'wee5-cron-orms-'));
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });

before(() => client.connect());
after(async () => {
  await client.end();
  rmSync(out, { recursive: true, force: true });
});

function drizzleKit(args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`${here}/node_modules/drizzle-kit/bin.cjs`, ...args], { cwd: here, env: { ...process.env, OUT: out, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    child.on('close', (status) => resolve({ status, said }));
  });
}

// All that a tool could take away: tables, views and their columns, functions, constraints, indexes, rights, jobs, policies.
async function ours() {
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

it('push makes the tables of the app, and touches nothing else', async () => {
  const before = await ours();
  const { status, said } = await drizzleKit(['push', '--force']);
  assert.equal(status, 0, said);
  assert.match(said, /Changes applied/);
  assert.deepEqual((await client.query("SELECT to_regclass('public.posts') IS NOT NULL AS there")).rows, [{ there: true }]);
  assert.deepEqual(await ours(), before);
  assert.match((await drizzleKit(['push', '--force'])).said, /No changes detected/);
});

it('pull sees the tables of the app alone', async () => {
  const { status, said } = await drizzleKit(['pull']);
  assert.equal(status, 0, said);
  const schema = readFileSync(join(out, 'schema.ts'), 'utf8');
  assert.match(schema, /pgTable\("posts"/);
  assert.doesNotMatch(schema, /wee5_cron|invocation|cron/);
});

it('push of a schemaFilter that names wee5_cron would drop it, and PostgreSQL refuses', async () => {
  const before = await ours();
  const { said } = await drizzleKit(['push', '--force'], { SCHEMAS: 'public,wee5_cron' });
  assert.match(said, /extension wee5_cron requires it/);
  assert.deepEqual(await ours(), before);
});
