// supabase-js calls the functions of expose_api(), through what stands in for PostgREST.
//
//   DATABASE_URL=postgres://... node --test supabase.test.mjs
//
// The database has both extensions. The role is its superuser. packages/wee5-cron has been built.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { createClient } from '@supabase/supabase-js';
import pg from 'pg';
import { cron } from '../../packages/wee5-cron/dist/esm/index.js';
import { CronClient, fromSupabase } from '../../packages/wee5-cron/dist/esm/client.js';
import { startPostgrest } from './postgrest.mjs';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const roles = { 'key of the server': 'service_role' };
const secret = 'the secret of the test';
let postgrest;
const client = (key) => createClient(postgrest.url, key, { auth: { persistSession: false, autoRefreshToken: false } });

before(async () => {
  for (const role of ['anon', 'authenticated', 'service_role']) await pool.query(`CREATE ROLE ${role}`);
  await pool.query('ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role');
  await pool.query('ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO anon, authenticated, service_role');
  await pool.query('SELECT wee5_cron.expose_api()');
  await pool.query("SELECT wee5_cron.schedule('of supabase', '0 0 1 1 *', '/api/of-supabase')");
  await pool.query("SELECT wee5_cron.configure('http://127.0.0.1:9', 'a secret for the test')");
  postgrest = await startPostgrest(pool, { schemas: ['public', 'wee5_cron_public'], roles });
});
after(async () => {
  await postgrest.close();
  await pool.query("SELECT wee5_cron.unschedule('of supabase')");
  await pool.query('DROP SCHEMA wee5_cron_public CASCADE');
  for (const role of ['anon', 'authenticated', 'service_role']) await pool.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  await pool.end();
});

it('calls, looks and cancels', async () => {
  const cron = new CronClient({ query: fromSupabase(client('key of the server')) });
  const at = new Date(Date.now() + 86_400_000);
  const id = await cron.invoke('/api/later', { method: 'POST', body: { user: 12, list: ['a'] }, headers: { 'X-Kind': 'b' }, timeout: '90 seconds', at, key: 'user-12' });
  assert.match(id, /^\d+$/);
  const call = await cron.invocation(id);
  assert.deepEqual([call.id, call.status, call.method, call.body, call.headers, call.timeout, call.due_at], [id, 'queued', 'POST', { user: 12, list: ['a'] }, { 'X-Kind': 'b' }, '00:01:30', at]);
  assert.ok(call.requested_at instanceof Date);
  assert.equal(await cron.cancel(id), true);
  assert.equal((await cron.invocation(id)).status, 'cancelled');
  const again = await cron.retry(id);
  assert.equal((await cron.invocation(again)).idempotency_key, call.idempotency_key);
  assert.equal(await cron.cancel(again), true);
  assert.equal(await cron.invocation('999999999'), null);
});

it('pauses and resumes a job', async () => {
  const cron = new CronClient({ query: fromSupabase(client('key of the server')) });
  const state = async () => (await cron.jobStatus()).find((job) => job.job_name === 'of supabase').state;
  await cron.pause('of supabase', 'for a test');
  assert.equal(await state(), 'paused');
  await cron.resume('of supabase');
  assert.equal(await state(), 'never_ran');
  assert.equal((await cron.invocation(await cron.runNow('of supabase'))).job_name, 'of supabase');
  assert.equal(typeof (await cron.health()).ok, 'boolean');
  assert.match(await cron.statusPage('A title'), /^<!doctype html>[^]*A title/);
});

it('does the work of a key once', async () => {
  let done = 0;
  const route = cron(() => { done += 1; }, { once: true, secret, query: fromSupabase(client('key of the server')) });
  const key = crypto.randomUUID();
  const request = () => new Request('http://127.0.0.1/api/once', { headers: { Authorization: `Bearer ${secret}`, 'Idempotency-Key': key } });
  assert.equal((await route(request())).status, 200);
  assert.deepEqual([(await route(request())).status, done], [200, 1]);
});

it('gives the error of the database with its hint', async () => {
  const cron = new CronClient({ query: fromSupabase(client('key of the server')) });
  await assert.rejects(cron.invoke('no slash'), (error) => error.code === '22023' && /invalid endpoint path/.test(error.message) && /one slash/.test(error.hint));
});

it('lets no visitor in', async () => {
  const visitor = client('key of a visitor');
  await assert.rejects(new CronClient({ query: fromSupabase(visitor) }).invoke('/api/x'), (error) => error.code === '42501');
  const { error } = await visitor.schema('wee5_cron').rpc('invoke', { endpoint_path: '/api/x' });
  assert.equal(error.code, 'PGRST106');
});

it('has called each function of expose_api()', async () => {
  const { rows: [{ names }] } = await pool.query('SELECT array_agg(name ORDER BY name) AS names FROM wee5_cron.api_functions()');
  assert.deepEqual([...postgrest.called].sort(), names);
});
