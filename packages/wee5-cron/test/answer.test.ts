import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { cron, retryAfter, type Handler } from '../src/index.js';
import { quietly, request, secret } from './calls.js';

async function answerOf(handler: Handler, onError?: (error: unknown) => void) {
  const { result, written } = await quietly(() => cron(handler, { secret, ...(onError && { onError }) })(request()));
  assert.equal(result.headers.get('cache-control'), 'no-store');
  return { status: result.status, headers: result.headers, text: await result.text(), written };
}

describe('what a handler returns', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  const returned: Array<[string, unknown, string]> = [
    ['nothing', undefined, '{"ok":true}'],
    ['an object', { sent: 12 }, '{"sent":12}'],
    ['a number of 64 bits', { count: 12n }, '{"count":"12"}'],
    ['null', null, 'null'],
    ['text', 'done', '"done"'],
    ['a function', () => 1, 'null'],
  ];
  for (const [name, value, text] of returned) {
    it(`${name} is sent as JSON`, async () => {
      const answer = await answerOf(() => value);
      assert.deepEqual([answer.status, answer.headers.get('content-type'), answer.text], [200, 'application/json', text]);
    });
  }
  it('a value that cannot become JSON is left out of the answer', async () => {
    const answer = await answerOf(() => cyclic);
    assert.deepEqual([answer.status, answer.text], [200, '{"ok":true}']);
    assert.match(answer.written, /left out of the answer/);
  });
  it('a promise is awaited', async () => assert.equal((await answerOf(async () => ({ late: true }))).text, '{"late":true}'));
  it('a Response is sent as it is, with no-store', async () => {
    const answer = await answerOf(() => new Response('made', { status: 201, headers: { 'cache-control': 'public, max-age=60', 'x-own': '1' } }));
    assert.deepEqual([answer.status, answer.headers.get('x-own'), answer.text], [201, '1', 'made']);
  });
  it('so is a Response whose headers are immutable', async () => {
    assert.equal((await answerOf(() => Response.redirect('https://app.example/elsewhere'))).status, 302);
  });
});

describe('an answer that cannot be sent', () => {
  const used = async (): Promise<Response> => {
    const response = new Response('read already');
    await response.text();
    return response;
  };
  const handlers = {
    'is one whose body was read': used,
    'is one whose body is being read': () => {
      const response = new Response('being read');
      response.body?.getReader();
      return response;
    },
    'is that of a request that failed': () => Response.error(),
    'may be thrown, too': async () => { throw await used(); },
  };
  for (const [name, handler] of Object.entries(handlers)) {
    it(name, async () => {
      const errors: unknown[] = [];
      const answer = await answerOf(handler, (error) => errors.push(error));
      assert.equal(answer.status, 500);
      assert.match(answer.text, /The handler failed/);
      assert.equal(errors.length, 1);
    });
  }
});

describe('what a handler throws', () => {
  it('is logged and not sent', async () => {
    const answer = await answerOf(() => {
      throw new Error('password=hunter2 in postgres://user:hunter2@db');
    });
    assert.equal(answer.status, 500);
    assert.doesNotMatch(answer.text + [...answer.headers].join(), /hunter2|Error:/);
    assert.match(answer.written, /hunter2/);
  });
  it('is passed to onError', async () => {
    const errors: unknown[] = [];
    const answer = await answerOf(() => Promise.reject('no error object'), (error) => errors.push(error));
    assert.deepEqual([answer.status, errors, answer.written], [500, ['no error object'], '']);
  });
  for (const [name, onError] of Object.entries({ throws: () => { throw new Error('second'); }, rejects: () => Promise.reject(new Error('second')) })) {
    it(`an onError that ${name} changes no answer and ends no process`, async () => {
      const answer = await answerOf(() => { throw new Error('first'); }, onError as () => void);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(answer.status, 500);
    });
  }
  it('is the answer if it is a Response', async () => {
    assert.equal((await answerOf(() => { throw new Response(null, { status: 418 }); })).status, 418);
  });
});

describe('retryAfter()', () => {
  it('sends seconds', async () => {
    const answer = await answerOf(() => { throw retryAfter(30); });
    assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '30']);
  });
  it('rounds up, and never lies in the past', async () => {
    assert.equal(retryAfter(0.2).headers.get('retry-after'), '1');
    assert.equal(retryAfter(-5).headers.get('retry-after'), '0');
    assert.equal(retryAfter(new Date(0)).headers.get('retry-after'), '0');
  });
  it('turns a time into seconds', () => {
    const seconds = Number(retryAfter(new Date(Date.now() + 60_000), 429).headers.get('retry-after'));
    assert.ok(seconds >= 59 && seconds <= 60);
  });
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, new Date('soon')]) {
    it(`refuses ${String(wrong)}`, () => assert.throws(() => retryAfter(wrong), RangeError));
  }
});
