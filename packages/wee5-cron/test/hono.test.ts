import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Hono } from 'hono';

import { cron, type CronOptions, type Handler } from '../src/hono.js';
import { attempt, database, key, request, secret } from './calls.js';

const app = (handler: Handler, options: CronOptions = { secret }) => new Hono().all('/api/cron/digest', cron(handler, options));

describe('a route of Hono', () => {
  it('runs the handler', async () => {
    const answer = await app((run) => ({ path: run.path, job: run.job })).request(request());
    assert.deepEqual([answer.status, await answer.json()], [200, { path: '/api/cron/digest?shard=2', job: 'digest' }]);
    assert.equal(answer.headers.get('cache-control'), 'no-store');
  });
  it('refuses other calls', async () => {
    assert.equal((await app(() => assert.fail()).request(request({}))).status, 401);
    assert.equal((await app(() => assert.fail()).request(request(attempt, { method: 'HEAD' }))).status, 405);
  });
  it('reads the bindings of Cloudflare Workers, or else the environment', async () => {
    assert.equal((await app(() => 1, {}).request(request(), undefined, { CRON_SECRET: secret })).status, 200);
    process.env['CRON_SECRET'] = secret;
    assert.equal((await app(() => 1, {}).request(request())).status, 200);
    assert.equal((await app(() => 1, {}).request(request(), undefined, { CRON_SECRET: 'another' })).status, 401);
    delete process.env['CRON_SECRET'];
  });
  it('keeps the worker alive for run.later()', async () => {
    const db = database();
    const waiting: Array<Promise<unknown>> = [];
    const execution = { waitUntil: (promise: Promise<unknown>) => void waiting.push(promise), passThroughOnException: () => undefined, props: {} };
    const answer = await app((run) => run.later(async () => undefined), { secret, query: db.query }).request(request(), undefined, {}, execution);
    assert.deepEqual([answer.status, waiting.length], [202, 1]);
    await waiting[0];
    assert.deepEqual(db.statements[0]?.params, [key, 'true', null]);
  });
});
