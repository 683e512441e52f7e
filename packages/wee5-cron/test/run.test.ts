import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { cron, type Run } from '../src/index.js';
import { attempt, handWritten, key, request, secret, vercelCron } from './calls.js';

async function runOf(headers: Record<string, string>, init: RequestInit = {}, during: (run: Run) => unknown = () => undefined): Promise<Run> {
  const runs: Run[] = [];
  await cron((run) => (runs.push(run), during(run)), { secret })(request({ authorization: `Bearer ${secret}`, ...headers }, init));
  assert.ok(runs[0]);
  return runs[0];
}

function facts({ job, path, scheduledAt, attempt, invocation, idempotencyKey, schedule }: Run) {
  return { job, path, scheduledAt: scheduledAt?.toISOString() ?? null, attempt, invocation, idempotencyKey, schedule };
}

describe('a handler gets', () => {
  const path = '/api/cron/digest?shard=2';
  it("the facts of a job's call", async () => {
    assert.deepEqual(facts(await runOf(attempt)), {
      job: 'digest', path, scheduledAt: '2026-11-29T09:00:00.000Z', attempt: 2, invocation: '9007199254740993', idempotencyKey: key, schedule: '0 9 * * *',
    });
  });
  const nothing = { job: null, path, scheduledAt: null, attempt: 1, invocation: null, idempotencyKey: null, schedule: null };
  it('the schedule of a call by Vercel Cron', async () => assert.deepEqual(facts(await runOf(vercelCron)), { ...nothing, schedule: '0 5 * * *' }));
  it('no facts of a call by a hand-written function', async () => assert.deepEqual(facts(await runOf(handWritten)), nothing));
  it('no facts from headers that make no sense', async () => {
    const strange = { 'x-wee5-cron-attempt': '-1', 'x-wee5-cron-scheduled-at': 'soon', 'x-wee5-cron-invocation': 'first', 'idempotency-key': 'x', 'x-wee5-cron-timeout-ms': '1e3', 'x-wee5-cron-job': '' };
    const run = await runOf(strange);
    assert.deepEqual(facts(run), nothing);
    assert.equal(run.deadline.aborted, false);
  });
  it('a job name that is not ASCII', async () => {
    const sent = Buffer.from('übersicht ✓').toString('latin1');
    assert.equal((await runOf({ 'x-wee5-cron-job': sent })).job, 'übersicht ✓');
    assert.equal((await runOf({ 'x-wee5-cron-job': 'caf\xe9' })).job, 'caf\xe9');
  });
  it('the body', async () => {
    let body: unknown;
    await cron(async (run) => void (body = await run.request.json()), { secret })(request(attempt, { method: 'POST', body: '{"a": 1}' }));
    assert.deepEqual(body, { a: 1 });
  });
});

describe('the deadline', () => {
  it('aborts at the timeout of the attempt', async () => {
    const alive = setInterval(() => undefined, 1000);
    const run = await runOf({ 'x-wee5-cron-timeout-ms': '20' }, {}, (run) => new Promise((resolve) => run.deadline.addEventListener('abort', resolve)));
    clearInterval(alive);
    assert.equal(run.deadline.reason.name, 'TimeoutError');
  });
  it('aborts when the caller hangs up', async () => {
    const caller = new AbortController();
    const run = await runOf(attempt, { signal: caller.signal }, (run) => {
      assert.equal(run.deadline.aborted, false);
      caller.abort();
    });
    assert.equal(run.deadline.aborted, true);
  });
  it('is aborted from the start if the caller has hung up', async () => {
    assert.equal((await runOf(attempt, { signal: AbortSignal.abort() })).deadline.aborted, true);
  });
  it('does not abort after the answer', async () => {
    const run = await runOf({ 'x-wee5-cron-timeout-ms': '1' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(run.deadline.aborted, false);
  });
  for (const long of ['2147483648', '999999999999999', '99999999999999999999']) {
    it(`does not abort at once for ${long} ms`, async () => {
      const run = await runOf({ 'x-wee5-cron-timeout-ms': long }, {}, () => new Promise((resolve) => setTimeout(resolve, 5)));
      assert.equal(run.deadline.aborted, false);
    });
  }
});
