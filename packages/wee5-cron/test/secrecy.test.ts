import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { cron, retryAfter, type CronOptions, type Handler } from '../src/index.js';
import { attempt, database, handWritten, previous, quietly, request, secret, vercelCron } from './calls.js';

// Every kind of call on every kind of route: whatever happens, neither secret leaves the app.
const callers: Record<string, Record<string, string>> = {
  'wee5_cron': attempt,
  'the previous secret': { ...attempt, authorization: `Bearer ${previous}` },
  'Vercel Cron': vercelCron,
  'a hand-written function': handWritten,
  'a secret with one character less': { authorization: `Bearer ${secret.slice(0, -1)}` },
  'a secret with one character more': { authorization: `Bearer ${secret}x` },
  'another scheme': { authorization: `Basic ${secret}` },
  'the secret in another header': { 'x-cron-secret': secret },
};
const handlers: Record<string, Handler> = {
  'returns': () => ({ sent: 1 }),
  'returns what is no JSON': () => { const ring: { self?: unknown } = {}; ring.self = ring; return ring; },
  'throws': () => { throw new Error('no'); },
  'asks for another attempt': () => retryAfter(5),
  'works later': (run) => run.later(async () => undefined),
  'fails later': (run) => run.later(() => Promise.reject(new Error('no'))),
};
const options: Record<string, CronOptions> = {
  'no database': {},
  'once': { once: true, query: database(['new']).query },
  'once, done': { once: true, query: database(['done']).query },
  'once, running': { once: true, query: database(['running']).query },
  'a database that is away': { once: true, query: database(['new'], /./).query },
  'no secret': { secret: undefined },
  'onError that fails': { onError: () => { throw new Error('no'); } },
};

describe('the secret', () => {
  for (const [caller, headers] of Object.entries(callers)) {
    it(`is in no answer to ${caller}, and in no line of a log`, async () => {
      let answers = 0;
      const { written } = await quietly(async () => {
        for (const handler of Object.values(handlers)) {
          for (const more of Object.values(options)) {
            for (const method of ['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) {
              const answer = await cron(handler, { secret, previousSecret: previous, ...more })(request(headers, { method }));
              const sent = `${answer.status} ${answer.statusText} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
              assert.ok(!sent.includes(secret) && !sent.includes(previous), sent);
              assert.equal(answer.headers.get('cache-control'), 'no-store', sent);
              answers += 1;
            }
          }
        }
        // Lets the work that goes on after the answers end.
        await new Promise((resolve) => setImmediate(resolve));
      });
      assert.equal(answers, Object.keys(handlers).length * Object.keys(options).length * 6);
      assert.ok(!written.includes(secret) && !written.includes(previous), written);
    });
  }

  it('is in no parameter of a statement', async () => {
    const db = database(['new']);
    await quietly(() => cron((run) => run.later(async () => undefined), { secret, previousSecret: previous, once: true, query: db.query })(request()));
    await db.completed;
    assert.doesNotMatch(JSON.stringify(db.statements), new RegExp(`${secret}|${previous}`));
  });

  it('is in no error about wrong options', () => {
    for (const wrong of [{ secret, once: true }, { secret, methods: [] }]) {
      assert.throws(() => cron(() => 1, wrong), (error: Error) => !`${error.message} ${error.stack}`.includes(secret));
    }
  });
});
