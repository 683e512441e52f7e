import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { cron, type CronOptions, type Run } from '../src/index.js';
import { attempt, handWritten, previous, quietly, request, secret, vercelCron } from './calls.js';

const options = { secret, previousSecret: previous };
let runs: Run[] = [];
const route = (more: CronOptions = options) => cron((run) => void runs.push(run), more);

async function answerTo(headers: Record<string, string>, more: CronOptions = options, init: RequestInit = {}): Promise<Response> {
  runs = [];
  return (await quietly(() => route(more)(request(headers, init)))).result;
}

describe('a call is accepted', () => {
  for (const [name, headers] of Object.entries({ 'wee5_cron': attempt, 'Vercel Cron': vercelCron, 'a hand-written function': handWritten })) {
    it(`from ${name}`, async () => {
      const answer = await answerTo(headers);
      assert.equal(answer.status, 200);
      assert.equal(runs.length, 1);
      assert.equal(answer.headers.get('cache-control'), 'no-store');
    });
  }
  it('with the previous secret, which the handler can see', async () => {
    assert.equal((await answerTo({ authorization: `Bearer ${previous}` })).status, 200);
    assert.equal(runs[0]?.usedPreviousSecret, true);
    await answerTo(attempt);
    assert.equal(runs[0]?.usedPreviousSecret, false);
  });
  for (const authorization of [`bearer ${secret}`, `BEARER ${secret}`, `Bearer   ${secret}`]) {
    it(`with the scheme written as in ${authorization.slice(0, 9)}`, async () => assert.equal((await answerTo({ authorization })).status, 200));
  }
  for (const padded of [`${secret}\n`, ` ${secret}\r\n`, `\t${secret}`]) {
    it(`with a secret stored as ${JSON.stringify(padded)}`, async () => {
      assert.equal((await answerTo(attempt, { secret: padded })).status, 200);
      assert.equal((await answerTo({ authorization: 'Bearer ' }, { secret: padded })).status, 401);
    });
  }
});

describe('a call is refused with 401 for', () => {
  const wrong: Record<string, Record<string, string>> = {
    'no header': {},
    'an empty header': { authorization: '' },
    'the scheme alone': { authorization: 'Bearer' },
    'an empty secret': { authorization: 'Bearer ' },
    'another secret': { authorization: 'Bearer something else' },
    'another secret of that length': { authorization: `Bearer ${'x'.repeat(secret.length)}` },
    'the secret and more': { authorization: `Bearer ${secret}x` },
    'the beginning of the secret': { authorization: `Bearer ${secret.slice(0, -1)}` },
    'the secret in capitals': { authorization: `Bearer ${secret.toUpperCase()}` },
    'the secret without a scheme': { authorization: secret },
    'another scheme': { authorization: `Basic ${secret}` },
    'the word undefined': { authorization: 'Bearer undefined' },
    'the word null': { authorization: 'Bearer null' },
    'another header': { 'x-cron-secret': secret },
    'two at once': { authorization: `Bearer ${secret}, Bearer ${secret}` },
  };
  for (const [name, headers] of Object.entries(wrong)) {
    it(name, async () => {
      const answer = await answerTo(headers);
      assert.equal(answer.status, 401);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
      assert.equal(answer.headers.get('cache-control'), 'no-store');
      assert.deepEqual(runs, []);
      assert.doesNotMatch(await answer.text(), new RegExp(secret));
    });
  }
  it('the secret in the address', async () => {
    const answer = await route()(request({}, {}, `/api/cron/digest?secret=${encodeURIComponent(secret)}`));
    assert.equal(answer.status, 401);
  });
});

// The time that an answer takes must not depend on the guess. So all guesses are made digests, each digest is compared, and no
// comparison stops at the first difference.
describe('every guess costs the same', () => {
  const { subtle } = webcrypto;
  const digests: number[] = [];
  const digest = subtle.digest.bind(subtle);
  before(() => {
    subtle.digest = (algorithm: string, data: Uint8Array) => (digests.push(data.length), digest(algorithm, data));
  });
  after(() => {
    Reflect.deleteProperty(subtle, 'digest');
  });
  const guesses = { right: secret, previous, 'empty': '', 'of the same length': 'x'.repeat(secret.length), 'almost right': `${secret.slice(0, -1)}x`, 'long': 'x'.repeat(4000) };
  for (const [name, guess] of Object.entries(guesses)) {
    it(name, async () => {
      digests.length = 0;
      await answerTo({ authorization: `Bearer ${guess}` });
      assert.deepEqual(digests, [guess.length, secret.length, previous.length]);
    });
  }
});

describe('without a secret', () => {
  const kept = { ...process.env };
  before(() => {
    delete process.env['CRON_SECRET'];
    process.env['CRON_SECRET_PREVIOUS'] = previous;
  });
  after(() => {
    process.env = kept;
  });
  const headers = { right: attempt, none: {}, previous: { authorization: `Bearer ${previous}` }, undefined: { authorization: 'Bearer undefined' }, empty: { authorization: 'Bearer ' } };
  for (const [name, sent] of Object.entries(headers)) {
    for (const [what, given] of Object.entries({ 'no variable': {}, 'an empty one': { secret: '' }, 'one of blanks': { secret: ' \n' }, 'undefined': { secret: undefined }, 'a look-up without result': { secret: () => undefined } })) {
      it(`${what}: ${name} is answered 503`, async () => {
        runs = [];
        const { result: answer, written } = await quietly(() => route(given)(request(sent)));
        assert.equal(answer.status, 503);
        assert.deepEqual(runs, []);
        assert.match(written, /CRON_SECRET is not set/);
        assert.match(await answer.text(), /CRON_SECRET is not set/);
      });
    }
  }
  it('the variable is read at each request', async () => {
    const handler = route({});
    process.env['CRON_SECRET'] = 'another secret of this app';
    assert.equal((await handler(request({ authorization: 'Bearer another secret of this app' }))).status, 200);
    assert.equal((await handler(request({ authorization: `Bearer ${previous}` }))).status, 200);
    process.env['CRON_SECRET'] = 'changed';
    assert.equal((await handler(request({ authorization: 'Bearer another secret of this app' }))).status, 401);
  });
  it('a look-up of the secret that fails accepts no call', async () => {
    const failing = { secret: () => Promise.reject(new Error('the vault is away')) };
    await assert.rejects(route(failing)(request(attempt)), /vault is away/);
  });
});

describe('methods', () => {
  for (const method of ['PUT', 'PATCH', 'DELETE', 'HEAD']) {
    it(`${method} does not run the handler`, async () => {
      const answer = await answerTo(attempt, options, { method });
      assert.equal(answer.status, 405);
      assert.equal(answer.headers.get('allow'), 'GET, POST, OPTIONS');
      assert.deepEqual(runs, []);
    });
    it(`${method} runs the handler if the route allows it`, async () => {
      assert.equal((await answerTo(attempt, { ...options, methods: [method as 'PUT'] }, { method })).status, 200);
      assert.equal(runs.length, 1);
      assert.equal((await answerTo(attempt, { ...options, methods: [method as 'PUT'] })).status, 405);
    });
    it(`${method} without the secret learns nothing`, async () => {
      assert.equal((await answerTo({}, options, { method })).status, 401);
    });
  }
  it('OPTIONS lists the methods and allows no origin', async () => {
    const answer = await answerTo({ origin: 'https://evil.example', 'access-control-request-method': 'GET' }, options, { method: 'OPTIONS' });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get('allow'), 'GET, POST, OPTIONS');
    assert.equal(answer.headers.get('access-control-allow-origin'), null);
    assert.deepEqual(runs, []);
  });
});

describe('wrong options', () => {
  it('throw when the app starts', () => {
    assert.throws(() => cron(undefined as never), /takes a function/);
    assert.throws(() => cron(() => 1, { once: true }), /"query"/);
    assert.throws(() => cron(() => 1, { methods: [] }), /at least one method/);
  });
});
