// What is special to Next.js. The tests of examples/next run a real app.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { cron, retryAfter, type CronOptions, type Handler } from '../src/next.js';
import { attempt, database, key, quietly, request, secret } from './calls.js';

// The errors by which Next.js leaves a handler.
const signals = { 'redirect()': 'NEXT_REDIRECT;replace;/login;307;', 'notFound()': 'NEXT_HTTP_ERROR_FALLBACK;404', 'a route that cannot be prerendered': 'DYNAMIC_SERVER_USAGE' };
const throwing = (digest: unknown): Handler => () => { throw Object.assign(new Error('of Next.js'), { digest }); };

describe('a route of Next.js', () => {
  it('runs the handler, and refuses other calls', async () => {
    const route = cron((run) => ({ job: run.job }), { secret });
    const answer = await route(request());
    assert.deepEqual([answer.status, await answer.text(), answer.headers.get('cache-control')], [200, '{"job":"digest"}', 'no-store']);
    // Next.js answers HEAD with the handler of GET.
    for (const [status, headers, method] of [[401, {}, 'GET'], [405, attempt, 'HEAD'], [204, {}, 'OPTIONS']] as const) {
      assert.equal((await cron(() => assert.fail(), { secret })(request(headers, { method }))).status, status);
    }
    assert.equal((await cron(() => retryAfter(5), { secret })(request())).headers.get('retry-after'), '5');
  });

  for (const [name, digest] of Object.entries(signals)) {
    it(`${name} reaches Next.js, and is no failure in the log`, async () => {
      const { written } = await quietly(() => assert.rejects(cron(throwing(digest), { secret })(request()), { digest }));
      assert.equal(written, '');
    });
    it(`${name} releases the key of once`, async () => {
      const db = database(['new']);
      await assert.rejects(cron(throwing(digest), { secret, once: true, query: db.query })(request()), { digest });
      assert.deepEqual(db.statements[1]?.params, [key, 'false', null]);
    });
  }

  for (const digest of [undefined, 12, '1234567890']) {
    it(`another error, with the digest ${digest}, is answered 500`, async () => {
      const { result, written } = await quietly(() => cron(throwing(digest), { secret })(request()));
      assert.equal(result.status, 500);
      assert.match(written, /of Next\.js/);
    });
  }

  const later = (options: CronOptions) => cron((run) => run.later(async () => undefined), { secret, ...options })(request());
  for (const name of ['@next/request-context', '@vercel/request-context']) {
    it(`${name} keeps the function alive for run.later()`, async () => {
      const waiting: Array<Promise<unknown>> = [];
      const place = globalThis as Record<symbol, unknown>;
      const db = database();
      place[Symbol.for(name)] = { get: () => ({ waitUntil: (promise: Promise<unknown>) => waiting.push(promise) }) };
      try {
        assert.equal((await later({ query: db.query })).status, 202);
      } finally {
        delete place[Symbol.for(name)];
      }
      assert.equal(waiting.length, 1);
      await waiting[0];
      assert.deepEqual(db.statements[0]?.params, [key, 'true', null]);
    });
  }

  it('run.later() works without any of them', async () => {
    const db = database();
    assert.equal((await later({ query: db.query })).status, 202);
    assert.deepEqual(await db.completed, [key, 'true', null]);
  });
});
