import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { cron, retryAfter, type CronOptions, type Handler } from '../src/index.js';
import { attempt, database, handWritten, key, quietly, request, secret, vercelCron, type Remembering } from './calls.js';

async function answerOf(handler: Handler, db: Remembering, more: CronOptions = { once: true }, headers: Record<string, string> = attempt) {
  const { result, written } = await quietly(async () => {
    const answer = await cron(handler, { secret, query: db.query, ...more })(request(headers));
    return { status: answer.status, accepted: answer.headers.get('wee5-cron'), text: await answer.text() };
  });
  return { ...result, written };
}

describe('once', () => {
  it('the first call claims the key, runs the handler, and completes the key', async () => {
    const db = database(['new']);
    let runs = 0;
    const answer = await answerOf(() => ({ run: ++runs }), db);
    assert.deepEqual([answer.status, answer.text, runs], [200, '{"run":1}', 1]);
    assert.deepEqual(db.statements, [
      { sql: 'SELECT "wee5_cron".claim($1::text::uuid, $2::text::interval) AS claim', params: [key, '5 minutes'] },
      { sql: 'SELECT "wee5_cron".complete($1::text::uuid, $2::text::boolean, $3::text) AS completed', params: [key, 'true', null] },
    ]);
  });
  it('a completed call does not run the handler again', async () => {
    const answer = await answerOf(() => assert.fail(), database(['done']));
    assert.deepEqual([answer.status, answer.accepted, answer.text], [200, null, '{"duplicate":true}']);
  });
  it('a call whose key another one holds is answered 202', async () => {
    const answer = await answerOf(() => assert.fail(), database(['running']));
    assert.deepEqual([answer.status, answer.accepted], [202, 'accepted']);
  });
  const failures: Record<string, Handler> = {
    'throws': () => { throw new Error('no'); },
    'answers 500': () => new Response(null, { status: 500 }),
    'asks for another attempt': () => retryAfter(5),
    'redirects': () => Response.redirect('https://app.example/'),
  };
  for (const [name, handler] of Object.entries(failures)) {
    it(`a handler that ${name} releases the key`, async () => {
      const db = database(['new']);
      await answerOf(handler, db);
      assert.deepEqual(db.statements[1]?.params, [key, 'false', null]);
    });
  }
  for (const [name, headers] of Object.entries({ vercelCron, handWritten })) {
    it(`${name} sends no key: the handler runs, and nothing is claimed`, async () => {
      const db = database(['done']);
      assert.deepEqual([(await answerOf(() => 1, db, { once: true }, headers)).text, db.statements.length], ['1', 0]);
    });
  }
  it('without a database the handler does not run, and the call is answered 503', async () => {
    const answer = await answerOf(() => assert.fail(), database(['new'], /claim/));
    assert.equal(answer.status, 503);
    assert.match(answer.written, /the database is away/);
    assert.doesNotMatch(answer.text, /away/);
  });
  it("the handler's answer is sent even if complete() fails", async () => {
    const answer = await answerOf(() => ({ sent: 1 }), database(['new'], /complete/));
    assert.deepEqual([answer.status, answer.text], [200, '{"sent":1}']);
    assert.match(answer.written, /the database is away/);
  });
  it('the options schema and lease are used', async () => {
    const db = database(['new']);
    await answerOf(() => 1, db, { once: true, schema: 'my "cron"', lease: '1 hour' });
    assert.deepEqual(db.statements[0], { sql: 'SELECT "my ""cron""".claim($1::text::uuid, $2::text::interval) AS claim', params: [key, '1 hour'] });
  });
  it('an unknown answer of claim() is answered 503', async () => {
    assert.equal((await answerOf(() => assert.fail(), database(['what']))).status, 503);
  });
});

describe('run.later()', () => {
  it('answers 202 at once, works, and calls complete()', async () => {
    const db = database();
    const order: string[] = [];
    let finish!: () => void;
    const work = new Promise<void>((resolve) => (finish = resolve));
    const answer = await answerOf((run) => run.later(async () => { await work; order.push('worked'); }), db, {});
    order.push('answered');
    assert.deepEqual([answer.status, answer.accepted, db.statements.length], [202, 'accepted', 0]);
    finish();
    assert.deepEqual(await db.completed, [key, 'true', null]);
    assert.deepEqual(order, ['answered', 'worked']);
  });
  it('the note about work that fails has only the class of its error', async () => {
    const db = database();
    const errors: unknown[] = [];
    await answerOf((run) => run.later(() => Promise.reject(new TypeError('password=hunter2'))), db, { onError: (error) => errors.push(error) });
    assert.deepEqual(await db.completed, [key, 'false', 'The work failed after the answer: TypeError']);
    assert.equal(errors.length, 1);
  });
  it('work that throws before its first await fails the call', async () => {
    const db = database();
    await answerOf((run) => run.later(() => { throw new RangeError('x'); }), db, { onError: () => undefined });
    assert.deepEqual(await db.completed, [key, 'false', 'The work failed after the answer: RangeError']);
  });
  it("waitUntil gets the work's promise", async () => {
    const waiting: Array<Promise<unknown>> = [];
    const db = database();
    await answerOf((run) => run.later(async () => undefined), db, { waitUntil: (promise) => waiting.push(promise) });
    assert.equal(waiting.length, 1);
    await waiting[0];
    assert.deepEqual(db.statements[0]?.params, [key, 'true', null]);
  });
  it('with once: the key is completed once, after the work', async () => {
    const db = database(['new']);
    const answer = await answerOf((run) => run.later(async () => undefined), db);
    assert.equal(answer.status, 202);
    await db.completed;
    assert.deepEqual(db.statements.map(({ sql }) => /(claim|complete)\(/.exec(sql)?.[1]), ['claim', 'complete']);
  });
  it('with once: an error after run.later() does not release the key', async () => {
    const db = database(['new']);
    const handler: Handler = async (run) => { await run.later(async () => undefined); throw new Error('too late'); };
    assert.equal((await answerOf(handler, db)).status, 500);
    assert.deepEqual(await db.completed, [key, 'true', null]);
    assert.equal(db.statements.filter(({ sql }) => /complete/.test(sql)).length, 1);
  });
  for (const [name, headers] of Object.entries({ vercelCron, handWritten })) {
    it(`${name} sends no key: the work is done before the answer`, async () => {
      const db = database();
      let worked = false;
      const answer = await answerOf((run) => run.later(async () => void (worked = true)), db, {}, headers);
      assert.deepEqual([answer.status, answer.accepted, worked, db.statements.length], [200, null, true, 0]);
      assert.equal((await answerOf((run) => run.later(() => Promise.reject(new Error('no'))), db, {}, headers)).status, 500);
    });
  }
  it('needs the option query', async () => {
    const { result, written } = await quietly(() => cron((run) => run.later(async () => assert.fail()), { secret })(request()));
    assert.equal(result.status, 500);
    assert.match(written, /needs the option "query"/);
  });
});
