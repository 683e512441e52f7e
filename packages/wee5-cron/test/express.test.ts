import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import express, { type RequestHandler } from 'express';

import { cron, type CronOptions, type Handler, type Run } from '../src/express.js';
import { attempt, quietly, secret } from './calls.js';

// Calls a route of a real server with each of the requests, and returns the answers.
async function answers(server: Server, ...requests: Array<[string, RequestInit]>): Promise<Response[]> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const got: Response[] = [];
    for (const [path, init] of requests) got.push(await fetch(`http://127.0.0.1:${port}${path}`, init));
    return got;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function app(handler: Handler, before: RequestHandler[] = [], options: CronOptions = { secret }): Server {
  const made = express();
  for (const middleware of before) made.use(middleware);
  made.all('/api/cron/digest', cron(handler, options));
  return createServer(made);
}

const path = '/api/cron/digest?shard=2';

describe('a route of Express', () => {
  it('runs the handler, and refuses other calls', async () => {
    const runs: Run[] = [];
    const [right, wrong, head, put] = await answers(
      app((run) => void runs.push(run)),
      [path, { headers: attempt }],
      [path, { headers: { authorization: 'Bearer no' } }],
      [path, { method: 'HEAD', headers: attempt }],
      [path, { method: 'PUT', headers: attempt, body: 'x' }],
    );
    assert.deepEqual([right?.status, wrong?.status, head?.status, put?.status], [200, 401, 405, 405]);
    assert.deepEqual([right?.headers.get('cache-control'), await right?.text()], ['no-store', '{"ok":true}']);
    assert.deepEqual(runs.map(({ path, job, attempt }) => ({ path, job, attempt })), [{ path, job: 'digest', attempt: 2 }]);
  });

  const parsers: Record<string, RequestHandler[]> = { 'without a parser': [], 'behind express.json()': [express.json()], 'behind express.text()': [express.text({ type: '*/*' })], 'behind express.raw()': [express.raw({ type: '*/*' })] };
  for (const [name, before] of Object.entries(parsers)) {
    it(`gets the body ${name}`, async () => {
      const [answer] = await answers(
        app(async (run) => ({ got: await run.request.json() }), before),
        [path, { method: 'POST', headers: { ...attempt, 'content-type': 'application/json' }, body: '{"a": "ü"}' }],
      );
      assert.deepEqual(await answer?.json(), { got: { a: 'ü' } });
    });
  }

  it('gets no body from a request without one', async () => {
    const [answer] = await answers(app(async (run) => ({ body: await run.request.text() })), [path, { method: 'POST', headers: attempt }]);
    assert.deepEqual(await answer?.json(), { body: '' });
  });

  it('sends cookies and bytes', async () => {
    const headers = new Headers([['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['content-type', 'application/octet-stream']]);
    const [answer] = await answers(app(() => new Response(new Uint8Array([0, 255, 10]), { headers })), [path, { headers: attempt }]);
    assert.deepEqual(answer?.headers.getSetCookie(), ['a=1', 'b=2']);
    assert.deepEqual([...new Uint8Array(await answer!.arrayBuffer())], [0, 255, 10]);
  });

  it('logs errors and does not send them', async () => {
    const { result, written } = await quietly(() => answers(app(() => { throw new Error('hunter2'); }), [path, { headers: attempt }]));
    assert.equal(result[0]?.status, 500);
    assert.doesNotMatch(await result[0]!.text(), /hunter2/);
    assert.match(written, /hunter2/);
  });

  it('aborts the deadline when the caller hangs up', async () => {
    let started!: () => void;
    const begun = new Promise<void>((resolve) => (started = resolve));
    const caller = new AbortController();
    let reason: unknown;
    const hungUp = new Promise<void>((resolve) => {
      const server = app((run) => new Promise((done) => {
        started();
        run.deadline.addEventListener('abort', () => { reason = run.deadline.reason; done(undefined); resolve(); });
      }));
      answers(server, [path, { headers: attempt, signal: caller.signal }]).catch(() => undefined);
    });
    await begun;
    caller.abort();
    await hungUp;
    assert.equal((reason as Error).name, 'AbortError');
  });

  it('takes a target on another host for "/"', async () => {
    const server = createServer((request, response) => {
      request.url = 'http://evil.example/x';
      void cron((run) => ({ path: run.path }), { secret })(request, response);
    });
    const [answer] = await answers(server, ['/', { headers: attempt }]);
    assert.deepEqual(await answer?.json(), { path: '/' });
  });

  it('a plain server survives any request', async () => {
    const { request: send } = await import('node:http');
    const server = createServer((request, response) => void cron(() => new Response(null, { status: 204 }), { secret: () => Promise.reject(new Error('the vault is away')) })(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const status = (method: string): Promise<number | undefined> => new Promise((resolve, reject) => {
      send({ port, method, path: '/' }, (response) => { response.resume(); resolve(response.statusCode); }).on('error', reject).end();
    });
    try {
      const { result, written } = await quietly(async () => [await status('TRACE'), await status('GET')]);
      assert.deepEqual(result, [405, 500]);
      assert.match(written, /the vault is away/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("passes a failed look-up of the secret to the app's error handler", async () => {
    const made = express();
    made.get('/api/cron/digest', cron(() => assert.fail(), { secret: () => Promise.reject(new Error('the vault is away')) }));
    made.use(((error, _request, response, _next) => response.status(599).send(String(error.message))) as express.ErrorRequestHandler);
    const [answer] = await answers(createServer(made), [path, { headers: attempt }]);
    assert.deepEqual([answer?.status, await answer?.text()], [599, 'the vault is away']);
  });
});
