// Drizzle in a database with wee5_cron: drizzle-kit's push and pull leave the schemas of wee5_cron and pg_cron unchanged, and its
// connections call all functions.
//
//   DATABASE_URL=postgres://... node --test drizzle.test.mjs
//
// The database has both extensions. The role is its superuser. packages/wee5-cron has been built.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { drizzle as onPg } from 'drizzle-orm/node-postgres';
import { drizzle as onPostgres } from 'drizzle-orm/postgres-js';
import pg from 'pg';
import postgres from 'postgres';
import { CronClient, fromPg, fromPostgres } from '../../packages/wee5-cron/dist/esm/client.js';
import { useAll } from '../support/all_of_the_client.mts';
import { startApp } from './app.mjs';
import { blocks } from './docs.mjs';
import { ours } from './ours.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = mkdtempSync(join(here, 'drizzle-'));
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });

before(() => client.connect());
after(async () => {
  await client.query('DROP TABLE IF EXISTS posts, orders; DROP SCHEMA IF EXISTS shop CASCADE');
  await client.end();
  rmSync(out, { recursive: true, force: true });
});

function drizzleKit(args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`${here}/node_modules/drizzle-kit/bin.cjs`, ...args], { cwd: env.PROJECT ?? here, env: { ...process.env, OUT: out, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
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

it('push of more schemas, as the page has it', async () => {
  mkdirSync(join(out, 'db'));
  writeFileSync(join(out, 'db/schema.ts'), `import { bigint, pgSchema, pgTable } from 'drizzle-orm/pg-core';
    export const shop = pgSchema('shop');
    export const carts = shop.table('carts', { id: bigint({ mode: 'number' }).primaryKey() });
    export const posts = pgTable('posts', { id: bigint({ mode: 'number' }).primaryKey() });\n`);
  const [config] = blocks('Drizzle', 'ts');
  assert.match(config, /schemaFilter: \['public', 'shop'\]/);
  writeFileSync(join(out, 'drizzle.config.ts'), `import { defineConfig } from 'drizzle-kit';\n${config}`);
  const before = await ours(client);
  const { status, said } = await drizzleKit(['push', '--force'], { PROJECT: out });
  assert.equal(status, 0, said);
  assert.deepEqual((await client.query("SELECT to_regclass('shop.carts') IS NOT NULL AS there")).rows, [{ there: true }]);
  assert.deepEqual(await ours(client), before);
});

describe('its connection', () => {
  let app;
  before(async () => { app = await startApp(client); });
  after(() => app.close());

  it('on pg calls all functions, and in a transaction as a statement', async () => {
    const db = onPg(new pg.Pool({ connectionString: process.env.DATABASE_URL }));
    try {
      await useAll(new CronClient({ query: fromPg(db.$client) }), '/client?driver=drizzle-on-pg');
      await client.query('CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY)');
      const calls = async () => (await client.query("SELECT count(*)::int FROM wee5_cron.invocation WHERE endpoint_path ~ '^/api/orders'")).rows[0].count;
      // The block of the page, with what an app has around it.
      const [, block] = blocks('Drizzle', 'ts');
      const AsyncFunction = (async () => undefined).constructor;
      const run = new AsyncFunction('db', 'sql', block);
      await client.query('INSERT INTO orders DEFAULT VALUES');
      await run(db, sql);
      assert.equal(await calls(), 1);
      await client.query("ALTER TABLE orders ADD CONSTRAINT no_more CHECK (id < 3)");
      await assert.rejects(run(db, sql));
      assert.equal(await calls(), 1);
    } finally {
      await db.$client.end();
    }
  });

  it('on postgres.js calls all functions', async () => {
    const address = new URL(process.env.DATABASE_URL.replace(/^postgres(ql)?:\/\/\//, 'postgres://localhost/'));
    const [host, port, user] = ['host', 'port', 'user'].map((name) => address.searchParams.get(name));
    const db = onPostgres(postgres({ host, port: Number(port), user, database: address.pathname.slice(1), onnotice: () => undefined }));
    try {
      await useAll(new CronClient({ query: fromPostgres(db.$client) }), '/client?driver=drizzle-on-postgres');
    } finally {
      await db.$client.end();
    }
  });
});
