import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { SupabaseClient } from '@supabase/supabase-js';

import { CronClient, fromPg, fromPostgres, fromPrisma, fromSupabase, type Query, type SupabaseLike } from '../src/client.js';
import { key } from './calls.js';

// A client with the statements that it makes; the database answers each with these rows.
function client(...rows: Array<Record<string, unknown>>) {
  const statements: Array<{ sql: string; params: unknown[] }> = [];
  const query: Query = async (sql, params) => { statements.push({ sql: sql.replace(/\s+/g, ' '), params }); return rows; };
  return { client: new CronClient({ query }), statements };
}

describe('a client', () => {
  it('passes the given arguments, and leaves the others to the policy', async () => {
    const { client: cron, statements } = client({ result: '9007199254740993' });
    assert.equal(await cron.invoke('/api/digest'), '9007199254740993');
    const at = new Date('2026-12-13T08:00:00Z');
    await cron.invoke('/api/digest', { method: 'POST', body: { user: 12n, name: "O'Hara" }, headers: { 'X-Kind': 'a' }, timeout: '2 minutes', target: 'shop', at, key: 'user-12' });
    assert.deepEqual(statements, [
      { sql: 'SELECT result::text AS result FROM "wee5_cron".invoke("endpoint_path" => $1::text::text) AS result', params: ['/api/digest'] },
      {
        sql: 'SELECT result::text AS result FROM "wee5_cron".invoke("endpoint_path" => $1::text::text, "method" => $2::text::text, "body" => $3::text::jsonb, '
          + '"headers" => $4::text::jsonb, "timeout" => $5::text::interval, "target" => $6::text::text, "at" => $7::text::timestamptz, "key" => $8::text::text) AS result',
        params: ['/api/digest', 'POST', '{"user":"12","name":"O\'Hara"}', '{"X-Kind":"a"}', '2 minutes', 'shop', '2026-12-13T08:00:00.000Z', 'user-12'],
      },
    ]);
  });
  it('puts no value into the text of a statement', async () => {
    const evil = `'); DROP TABLE x; --`;
    const { client: cron, statements } = client({ result: '{}', claim: 'new' });
    const calls = [
      cron.invoke(evil, { key: evil, timeout: evil, target: evil }), cron.waitFor(evil, evil), cron.invocation(evil), cron.statusPage(evil), cron.callPage(evil), cron.health(evil),
      cron.retry(evil), cron.cancel(evil), cron.schedule(evil, evil, evil), cron.unschedule(evil), cron.runNow(evil), cron.pause(evil, evil), cron.resume(evil),
      cron.nextRuns(evil), cron.plan({ jobs: { [evil]: {} } }), cron.apply({ jobs: { [evil]: {} } }, { withoutPgCron: evil as never, prune: true }), cron.claim(evil, evil), cron.complete(evil, false, evil),
    ];
    await Promise.all(calls);
    assert.equal(statements.length, calls.length);
    for (const { sql, params } of statements) {
      assert.ok(!sql.includes('DROP'), sql);
      assert.ok(JSON.stringify(params).includes('DROP'), sql);
    }
  });
  it("turns a row's columns into dates and objects", async () => {
    const { client: cron } = client({ id: '9007199254740993', body: '{"a": 1}', headers: null, requested_at: '2026-11-29T09:00:00.123456+00:00', finished_at: null });
    const row = await cron.waitFor(9007199254740993n, '5 seconds');
    assert.deepEqual([row.id, row.body, row.headers, row.requested_at, row.finished_at], ['9007199254740993', { a: 1 }, null, new Date('2026-11-29T09:00:00.123Z'), null]);
  });
  it('gives a call that waits for the end of another one the last time that a Date holds', async () => {
    const row = await client({ id: '1', next_attempt_at: 'infinity' }).client.invocation(1);
    assert.equal(row?.next_attempt_at?.toISOString(), '+275760-09-13T00:00:00.000Z');
  });
  it('returns null for an unknown id', async () => {
    assert.equal(await client().client.invocation(1), null);
  });
  it('returns booleans', async () => {
    assert.deepEqual([await client({ result: 'true' }).client.cancel(1), await client({ result: 'false' }).client.unschedule('x')], [true, false]);
  });
  it("passes on the driver's errors", async () => {
    const refused = Object.assign(new Error('permission denied'), { code: '42501' });
    await assert.rejects(new CronClient({ query: () => Promise.reject(refused) }).invoke('/x'), (error) => error === refused);
  });
  it('takes another schema, and needs a query', async () => {
    let text = '';
    await new CronClient({ schema: 'my "cron"', query: async (sql) => { text = sql; return [{ claim: 'done' }]; } }).claim(key);
    assert.match(text, /"my ""cron"""\.claim\(/);
    assert.throws(() => new CronClient({} as never), /"query"/);
  });
});

describe('a query for', () => {
  const rows = [{ a: 1 }];
  it('pg', async () => {
    const asked: unknown[] = [];
    const query = fromPg({ query: async (...all) => { asked.push(...all); return { rows }; } });
    assert.deepEqual([await query('SELECT $1', [1]), asked], [rows, ['SELECT $1', [1]]]);
  });
  it('postgres.js', async () => {
    const asked: unknown[] = [];
    const query = fromPostgres({ unsafe: async (...all) => { asked.push(...all); return rows; } });
    assert.deepEqual([await query('SELECT $1', [1]), asked], [rows, ['SELECT $1', [1]]]);
  });
  it('Prisma', async () => {
    const asked: unknown[] = [];
    const query = fromPrisma({ $queryRawUnsafe: async (...all) => { asked.push(...all); return rows; } });
    assert.deepEqual([await query('SELECT $1, $2', [1, 'b']), asked], [rows, ['SELECT $1, $2', 1, 'b']]);
  });
});

describe('a query for supabase-js', () => {
  // A client of supabase-js for which PostgREST answers each call with this.
  function supabase(data: unknown, error: object | null = null) {
    const asked: unknown[] = [];
    const like: SupabaseLike = { schema: (name) => ({ rpc: async (...all) => { asked.push([name, ...all]); return { data, error }; } }) };
    return { asked, query: fromSupabase(like), like };
  }
  it('takes the real client', () => {
    const typed: (client: SupabaseClient) => Query = fromSupabase;
    assert.equal(typed, fromSupabase);
  });
  it('passes arguments by name, and JSON as JSON', async () => {
    const { asked, query } = supabase(12);
    const at = new Date('2026-12-13T08:00:00Z');
    assert.equal(await new CronClient({ query }).invoke('/api/digest', { method: 'POST', body: { user: 12 }, at }), '12');
    assert.deepEqual(asked, [['wee5_cron_public', 'invoke', { endpoint_path: '/api/digest', method: 'POST', body: { user: 12 }, at: '2026-12-13T08:00:00.000Z' }]]);
  });
  it("turns a row's columns into dates and text", async () => {
    const { query } = supabase([{ id: 12, body: 'a text', requested_at: '2026-11-29T09:00:00.123456+00:00', finished_at: null, attempts: 2 }]);
    const row = await new CronClient({ query }).invocation(12);
    assert.deepEqual(row, { id: '12', body: 'a text', requested_at: new Date('2026-11-29T09:00:00.123Z'), finished_at: null, attempts: 2 });
    assert.equal(await new CronClient(supabase([])).invocation(12), null);
    const [job] = await new CronClient(supabase([{ jobid: 3, job_name: 'digest', next_run: null }])).jobStatus();
    assert.deepEqual(job, { jobid: '3', job_name: 'digest', next_run: null });
  });
  it('claims and completes', async () => {
    assert.equal(await new CronClient(supabase('running')).claim(key), 'running');
    const { asked, query } = supabase(true);
    assert.equal(await new CronClient({ query }).complete(key, false, 'no space'), true);
    assert.deepEqual(asked, [['wee5_cron_public', 'complete', { idempotency_key: key, ok: false, note: 'no space' }]]);
  });
  it('takes another schema', async () => {
    const { asked, like } = supabase(null);
    await new CronClient({ query: fromSupabase(like, 'cron_api') }).pause('digest');
    assert.deepEqual(asked, [['cron_api', 'pause', { job_name: 'digest' }]]);
  });
  it('throws what PostgREST answers, with the SQLSTATE and the hint', async () => {
    const { query } = supabase(null, { code: '22023', message: 'invalid endpoint path', hint: 'Start it with one slash', details: null });
    await assert.rejects(new CronClient({ query }).invoke('x'), (error) => error instanceof Error && error.message === 'invalid endpoint path'
      && 'code' in error && error.code === '22023' && 'hint' in error && error.hint === 'Start it with one slash');
  });
  it('calls nothing that expose_api() does not expose', async () => {
    const { asked, query } = supabase([]);
    const cron = new CronClient({ query });
    for (const call of [() => cron.doctor(), () => cron.waitFor(1), () => cron.upcoming(), () => cron.schedule('a', 'b', '/c')]) {
      await assert.rejects(call(), /expose_api\(\) does not expose/);
    }
    await assert.rejects(query('SELECT 1', []), /runs no SQL/);
    assert.deepEqual(asked, []);
  });
});
