// Prisma beside wee5_cron: what its commands change leaves the schemas of wee5_cron and pg_cron as they are, and its client
// calls all functions.
//
//   DATABASE_URL=postgres://... node --test prisma.test.mjs
//
// The database has both extensions, and is the one of pg_cron. The role is its superuser. packages/wee5-cron has been built.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { CronClient, fromPrisma } from '../../packages/wee5-cron/dist/esm/client.js';
import { useAll } from '../support/all_of_the_client.mts';
import { startApp } from './app.mjs';
import { blocks } from './docs.mjs';
import { ours } from './ours.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const missing = ['prisma', '@prisma/client', '@prisma/adapter-pg'].filter((name) => !existsSync(`${here}/node_modules/${name}/package.json`));
const terminal = existsSync('/usr/bin/script');
const project = mkdtempSync(join(here, 'prisma-'));
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
const given = new URL(process.env.DATABASE_URL.replace(/^postgres(ql)?:\/\/\//, 'postgres://localhost/'));
const [host, port, user] = ['host', 'port', 'user'].map((name) => given.searchParams.get(name));
// Prisma's way to write the address of a socket.
const urlOf = (database) => `postgresql://${user}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
const database = given.pathname.slice(1);

function run(command, args, env) {
  return new Promise((resolve) => {
    const { CI, GITHUB_ACTIONS, ...rest } = process.env;
    const child = spawn(command, args, { cwd: project, env: { ...rest, PROJECT: project, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1', NO_COLOR: '1', TERM: 'xterm', ...env } });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    child.on('close', (status) => resolve({ status, said }));
  });
}

const command = (args) => [process.execPath, `${here}/node_modules/prisma/build/index.js`, ...args, '--config', `${here}/prisma.config.ts`];

async function prisma(args, env = {}) {
  const [program, ...rest] = command(args);
  const { status, said } = await run(program, rest, { DATABASE_URL: urlOf(database), ...env });
  assert.equal(status, 0, `prisma ${args.join(' ')}: ${said}`);
  return said;
}

// `migrate dev` insists on a terminal.
async function prismaInTerminal(args, env = {}) {
  const { status, said } = await run('script', ['-qefc', command(args).map((word) => `'${word}'`).join(' '), '/dev/null'], { DATABASE_URL: urlOf(database), ...env });
  assert.equal(status, 0, `prisma ${args.join(' ')}: ${said}`);
  return said;
}

const model = (name, attributes = '') => `model ${name} {\n  id    Int    @id @default(autoincrement())\n  title String\n${attributes}}\n`;

// datasource: as docs/orms.md has it, or the default of Prisma.
function write(models, datasource = 'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n') {
  const generator = 'generator client {\n  provider   = "prisma-client-js"\n  engineType = "client"\n  output     = "./client"\n}\n';
  writeFileSync(join(project, 'schema.prisma'), [generator, datasource, ...models].join('\n'));
}

const migrations = () => readdirSync(join(project, 'migrations')).filter((name) => /^\d/.test(name)).sort();
const rows = async (sql) => (await client.query(sql)).rows;

// Asserts that the work changes nothing of wee5_cron and pg_cron.
async function leavesOurs(work) {
  const before = await ours(client);
  const result = await work();
  assert.deepEqual(await ours(client), before);
  return result;
}

describe('Prisma', { skip: missing.length > 0 && `${missing.join(', ')} could not be installed` }, () => {
  let app;
  before(async () => {
    await client.connect();
    app = await startApp(client);
    await client.query('DROP TABLE IF EXISTS posts');
    // The migration that the page has for databases with and without pg_cron.
    const name = '20260101000000_wee5_cron';
    mkdirSync(join(project, 'migrations', name), { recursive: true });
    writeFileSync(join(project, 'migrations', name, 'migration.sql'), blocks('Shadow databases', 'sql').join('\n'));
    writeFileSync(join(project, 'migrations', 'migration_lock.toml'), 'provider = "postgresql"\n');
    write([model('orders')]);
  });
  after(async () => {
    await client.query('DROP TABLE IF EXISTS orders, items, _prisma_migrations; DROP SCHEMA IF EXISTS shop CASCADE');
    await client.query("SELECT wee5_cron.unschedule(jobname) FROM cron.job WHERE jobname = 'poll-activities'");
    await client.end();
    await app.close();
    rmSync(project, { recursive: true, force: true });
  });

  it('migrate resolve: a migration that the database has', async () => {
    const [resolve] = blocks('Prisma', 'sh');
    const args = resolve.trim().split(' ').slice(2);
    assert.deepEqual(args.slice(0, 2), ['migrate', 'resolve']);
    await leavesOurs(() => prisma(args));
  });

  it('migrate dev replays the migrations in a shadow database, and makes a migration of the app alone', { skip: !terminal && 'there is no program "script" for a terminal' }, async () => {
    const said = await leavesOurs(() => prismaInTerminal(['migrate', 'dev', '--name', 'orders', '--skip-generate']));
    assert.match(said, /now in sync/);
    const [, made] = migrations();
    assert.match(made, /_orders$/);
    const text = readFileSync(join(project, 'migrations', made, 'migration.sql'), 'utf8');
    assert.match(text, /CREATE TABLE "(public"\.")?orders"/);
    assert.doesNotMatch(text, /wee5|cron|DROP/i);
    assert.deepEqual(await rows("SELECT to_regclass('public.orders') IS NOT NULL AS there"), [{ there: true }]);
    // The shadow database is gone, although wee5_cron was in it.
    assert.deepEqual(await rows("SELECT datname FROM pg_database WHERE datname LIKE 'prisma%'"), []);
    assert.match(await prisma(['migrate', 'status']), /Database schema is up to date/);
  });

  it('migrate deploy: an empty database without pg_cron gets wee5_cron and the tables of the app, and again after a reset', async () => {
    await client.query('CREATE DATABASE prisma_deploy');
    const deployed = new pg.Client({ host, port, user, database: 'prisma_deploy' });
    await deployed.connect();
    const found = async () => {
      const { rows: [row] } = await deployed.query("SELECT array_agg(extname::text) AS extensions, min(oid::int) AS oid, to_regclass('public.orders') IS NOT NULL AS orders FROM pg_extension WHERE extname ~ 'cron'");
      const { oid, ...rest } = row;
      assert.deepEqual(rest, { extensions: ['wee5_cron'], orders: true });
      return oid;
    };
    try {
      await leavesOurs(() => prisma(['migrate', 'deploy'], { DATABASE_URL: urlOf('prisma_deploy') }));
      const before = await found();
      await leavesOurs(() => prisma(['migrate', 'reset', '--force', '--skip-generate', '--skip-seed'], { DATABASE_URL: urlOf('prisma_deploy') }));
      assert.notEqual(await found(), before);
    } finally {
      await deployed.end();
      await client.query('DROP DATABASE prisma_deploy');
    }
  });

  it('db pull sees the tables of the app alone', async () => {
    write([]);
    await leavesOurs(() => prisma(['db', 'pull', '--force']));
    const schema = readFileSync(join(project, 'schema.prisma'), 'utf8');
    assert.deepEqual(schema.match(/^model \w+/gm), ['model orders']);
    assert.doesNotMatch(schema, /wee5_cron|invocation/);
  });

  const [datasource] = blocks('Prisma', 'prisma');
  const models = ['orders', 'items', 'carts'].map((name) => model(name, `\n  @@schema("${name === 'carts' ? 'shop' : 'public'}")\n`));

  it('db push with a list of schemas changes the tables of the app alone', async () => {
    assert.match(datasource, /schemas += \["public", "shop"\]/);
    write(models, datasource);
    await leavesOurs(() => prisma(['db', 'push', '--skip-generate']));
    assert.deepEqual(await rows("SELECT to_regclass('shop.carts') IS NOT NULL AND to_regclass('public.items') IS NOT NULL AS there"), [{ there: true }]);
  });

  it('db push with a list that names wee5_cron fails, and drops nothing', async () => {
    write(models, datasource.replace('"shop"', '"shop", "wee5_cron"'));
    await leavesOurs(() => assert.rejects(prisma(['db', 'push', '--skip-generate', '--accept-data-loss'])));
  });

  it('the client of the package runs on its connection, and in its transactions', async () => {
    write([model('orders')]);
    await prisma(['generate']);
    const { PrismaClient } = createRequire(import.meta.url)(join(project, 'client'));
    const { PrismaPg } = await import('@prisma/adapter-pg');
    const made = new PrismaClient({ adapter: new PrismaPg({ host, port: Number(port), user, database }) });
    try {
      const cron = new CronClient({ query: fromPrisma(made) });
      await useAll(cron, '/client?driver=prisma', ({ message }) => /Code: `(\w{5})`/.exec(message)?.[1]);
      const path = `/in-a-transaction?run=${Date.now()}`;
      const count = async () => (await rows(`SELECT count(*)::int FROM wee5_cron.invocation WHERE endpoint_path = '${path}'`))[0].count;
      const call = (tx) => new CronClient({ query: fromPrisma(tx) }).invoke(path);
      await assert.rejects(made.$transaction(async (tx) => { await call(tx); throw new Error('roll back'); }), /roll back/);
      assert.equal(await count(), 0);
      const id = await made.$transaction(call);
      assert.equal((await cron.waitFor(id)).status, 'succeeded');
    } finally {
      await made.$disconnect();
    }
  });
});
