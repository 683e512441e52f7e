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
import { ours } from './ours.mjs';

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

it('push makes the tables of the app, and touches nothing else', async () => {
  const before = await ours(client);
  const { status, said } = await drizzleKit(['push', '--force']);
  assert.equal(status, 0, said);
  assert.match(said, /Changes applied/);
  assert.deepEqual((await client.query("SELECT to_regclass('public.posts') IS NOT NULL AS there")).rows, [{ there: true }]);
  assert.deepEqual(await ours(client), before);
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
  const before = await ours(client);
  const { said } = await drizzleKit(['push', '--force'], { SCHEMAS: 'public,wee5_cron' });
  assert.match(said, /extension wee5_cron requires it/);
  assert.deepEqual(await ours(client), before);
});
