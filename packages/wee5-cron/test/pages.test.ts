import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { Hono } from 'hono';

import * as express from '../src/express.js';
import * as hono from '../src/hono.js';
import { health, statusPage, type Authorize, type HealthOptions, type Query } from '../src/index.js';
import { quietly } from './calls.js';

const page = '<!doctype html><title>Cron</title>';
const state = { ok: true, armed: true, enabled: true, worker: 'up', failing: [], late: [], waiting: [], queue_age: 0, at: '2026-11-29T09:00:00Z' };
const answering = (result: unknown): Query => async () => [{ result: typeof result === 'string' ? result : JSON.stringify(result) }];
const away: Query = async () => { throw new Error('password authentication failed for "hunter2"'); };
const to = (method = 'GET'): Request => new Request('https://app.example/admin/cron', { method });

describe('statusPage()', () => {
  it('shows the page if authorize returns true, and forbids caches and frames', async () => {
    const statements: unknown[] = [];
    const query: Query = async (sql, params) => { statements.push(sql, params); return [{ result: page }]; };
    const answer = await statusPage({ query, title: 'Jobs of the shop', authorize: () => true })(to());
    assert.deepEqual([answer.status, await answer.text()], [200, page]);
    const headers = Object.fromEntries(answer.headers);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['content-security-policy'], "frame-ancestors 'none'");
    assert.equal(headers['x-robots-tag'], 'noindex');
    assert.deepEqual(statements, ['SELECT result::text AS result FROM "wee5_cron".status_page("title" => $1::text::text) AS result', ['Jobs of the shop']]);
  });
  const refusals: Record<string, Authorize> = { 'false': () => false, 'nothing': () => undefined as never, 'a word': () => 'yes' as never, 'false, later': async () => false };
  for (const [name, authorize] of Object.entries(refusals)) {
    it(`answers 401 if authorize returns ${name}`, async () => {
      const answer = await statusPage({ query: () => assert.fail(), authorize })(to());
      assert.deepEqual([answer.status, answer.headers.get('cache-control')], [401, 'no-store']);
    });
  }
  it('sends a Response that authorize returns', async () => {
    const answer = await statusPage({ query: () => assert.fail(), authorize: () => Response.redirect('https://app.example/login') })(to());
    assert.deepEqual([answer.status, answer.headers.get('location')], [302, 'https://app.example/login']);
  });
  it('needs the options authorize and query', () => {
    assert.throws(() => statusPage({ query: answering(page) } as never), /"authorize"/);
    assert.throws(() => statusPage({ authorize: () => true } as never), /"query"/);
  });
  it('accepts only GET and HEAD', async () => {
    const route = statusPage({ query: answering(page), authorize: () => true });
    const head = await route(to('HEAD'));
    assert.deepEqual([head.status, await head.text(), head.headers.get('content-type')], [200, '', 'text/html; charset=utf-8']);
    const post = await route(to('POST'));
    assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD, OPTIONS']);
    assert.equal((await route(to('OPTIONS'))).status, 204);
  });
  it("logs the database's error and does not send it", async () => {
    const { result, written } = await quietly(() => statusPage({ query: away, authorize: () => true })(to()));
    assert.equal(result.status, 503);
    assert.doesNotMatch(await result.text(), /hunter2/);
    assert.match(written, /hunter2/);
  });
});

describe('health()', () => {
  const answerOf = async (options: HealthOptions, method = 'GET') => {
    const { result } = await quietly(async () => {
      const answer = await health(options)(to(method));
      return { status: answer.status, text: await answer.text(), cache: answer.headers.get('cache-control') };
    });
    return result;
  };
  it('answers 200 if healthy and 503 if not, without names', async () => {
    assert.deepEqual(await answerOf({ query: answering(state) }), { status: 200, text: '{"ok":true}', cache: 'no-store' });
    const failing = { ...state, ok: false, failing: ['welcome-emails'] };
    assert.deepEqual(await answerOf({ query: answering(failing) }), { status: 503, text: '{"ok":false}', cache: 'no-store' });
    assert.deepEqual(await answerOf({ query: answering(failing) }, 'HEAD'), { status: 503, text: '', cache: 'no-store' });
  });
  it('shows the names if authorize returns true', async () => {
    const failing = { ...state, ok: false, failing: ['welcome-emails'] };
    assert.deepEqual(JSON.parse((await answerOf({ query: answering(failing), authorize: () => true })).text), failing);
    assert.equal((await answerOf({ query: answering(failing), authorize: () => false })).text, '{"ok":false}');
  });
  it('answers 503 without a database', async () => {
    const answer = await answerOf({ query: away });
    assert.equal(answer.status, 503);
    assert.doesNotMatch(answer.text, /hunter2/);
  });
});

describe('the pages in a framework', () => {
  it('work in Hono', async () => {
    const app = new Hono().get('/admin/cron', hono.statusPage({ query: answering(page), authorize: () => true })).get('/health', hono.health({ query: answering(state) }));
    assert.equal(await (await app.request('/admin/cron')).text(), page);
    assert.equal((await app.request('/health')).status, 200);
  });
  it('work in Express and in a plain server', async () => {
    const routes: Record<string, ReturnType<typeof express.health>> = {
      '/admin/cron': express.statusPage({ query: answering(page), authorize: (request) => request.headers.get('cookie') === 'admin=1' }),
      '/health': express.health({ query: answering({ ...state, ok: false }) }),
    };
    const server = createServer((request, response) => void routes[request.url ?? '']?.(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      assert.equal((await fetch(`${origin}/admin/cron`)).status, 401);
      assert.equal(await (await fetch(`${origin}/admin/cron`, { headers: { cookie: 'admin=1' } })).text(), page);
      assert.equal((await fetch(`${origin}/health`)).status, 503);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
