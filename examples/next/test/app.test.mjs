// The built app, and a PostgreSQL with pg_cron that calls it: with the extension, or with the portable edition over pg_net.
//
//   SUPERUSER_URL=postgres://... [EDITION=portable] node --test test/*.test.mjs
//
// The database is empty, and is the one of pg_cron. The role of SUPERUSER_URL is a superuser.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { CronClient } from 'wee5-cron/client';
import * as editions from './editions.mjs';

const here = fileURLToPath(new URL('..', import.meta.url));
const secrets = { CRON_SECRET: 'the secret of the activities app', CRON_SECRET_PREVIOUS: 'its secret of last week' };
const password = 'the password of the admin';
const isPortable = process.env.EDITION === 'portable';
const root = new pg.Pool({ connectionString: process.env.SUPERUSER_URL, max: 4 });
let edition;
const sql = async (text, params) => (await edition.admin.query(text, params)).rows;
const cron = new CronClient({ query: (text, params) => sql(text, params) });
const ended = (id) => cron.waitFor(id, '2 minutes');

// Looks until there is something, and returns it.
async function until(look, milliseconds = 120_000) {
  for (const begun = Date.now(); Date.now() - begun < milliseconds;) {
    await edition.harvest();
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail(`waited in vain for: ${look}`);
}

function refusesConnections(address) {
  const { hostname, port } = new URL(address);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => resolve(true));
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
  });
}

// What the app asks for its activities. `answer` is what it answers next; `gone` resolves when the app hangs up.
const provider = { answer: undefined, hungUp: 0 };
const providerServer = createServer((request, response) => {
  request.on('close', () => { if (!response.writableEnded) provider.hungUp += 1; });
  provider.answer(response);
});
const answersActivities = (response) => response.setHeader('content-type', 'application/json').end('[{"id":"a1","title":"Tea"}]');

const servers = [];
let log = '';
let url;

// Starts the app, and resolves with its address.
function start(environment) {
  return new Promise((resolve, reject) => {
    const next = `${here}/node_modules/next/dist/bin/next`;
    const child = spawn(process.execPath, [next, 'start', '--hostname', '127.0.0.1', '--port', '0'], { cwd: here, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    servers.push(child);
    let said = '';
    const listen = (chunk) => {
      said += chunk;
      log += chunk;
      const address = /http:\/\/127\.0\.0\.1:(?!0\b)\d+/.exec(said)?.[0];
      if (address && /Ready/.test(said)) resolve(address);
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('exit', () => reject(new Error(`the app ended: ${said}`)));
  });
}

// The command line of the package, as an app runs it.
function wee5Cron(...args) {
  return new Promise((resolve) => {
    const main = `${here}/node_modules/wee5-cron/dist/esm/cli/main.js`;
    const env = { PATH: process.env.PATH, DATABASE_URL: edition.databaseUrl, APP_URL: url, ...secrets };
    const child = spawn(process.execPath, [main, ...args], { cwd: here, env });
    const result = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (result.stdout += chunk));
    child.stderr.on('data', (chunk) => (result.stderr += chunk));
    child.on('close', (status) => resolve({ status, ...result }));
  });
}

before(async () => {
  providerServer.listen(0, '127.0.0.1');
  provider.answer = answersActivities;
  edition = await (isPortable ? editions.portable : editions.native)(root);
  const app = new pg.Client({ connectionString: edition.databaseUrl });
  await app.connect();
  await app.query(readFileSync(`${here}/migrations/0001_app.sql`, 'utf8'));
  await app.end();
  url = await start({
    PATH: process.env.PATH, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1', DATABASE_URL: edition.databaseUrl, ADMIN_PASSWORD: password,
    ACTIVITIES_URL: `http://127.0.0.1:${providerServer.address().port}`, ...secrets,
  });
});

after(async () => {
  for (const server of servers) server.kill();
  providerServer.closeAllConnections();
  providerServer.close();
  await edition?.stop();
  await root.end();
});

const get = (path, init = {}) => fetch(`${url}${path}`, { redirect: 'manual', ...init });
const bearer = { authorization: `Bearer ${secrets.CRON_SECRET}` };

describe('the move from a function of the app', { skip: !isPortable && 'tried with the portable edition' }, () => {
  it('the function calls the route', async () => {
    const answer = await editions.callByHandWrittenFunction(edition.admin, url, secrets.CRON_SECRET, '/api/cron/poll-activities');
    assert.deepEqual([answer.status_code, answer.content], [200, '{"activities":1}']);
  });

  it('npx wee5-cron sql prints what the owner of the project installs', async () => {
    const { status, stdout, stderr } = await wee5Cron('sql');
    assert.equal(status, 0, stderr);
    await sql(stdout);
    await sql("SELECT wee5_cron.set('default_jobs', 'off')");
  });
});

describe('the jobs', () => {
  it('are deployed from wee5-cron.json', async () => {
    const config = await wee5Cron('config', '--allow-localhost', ...edition.configOptions);
    assert.equal(config.status, 0, config.stderr);
    await sql(config.stdout);
    assert.equal((await wee5Cron('plan')).status, 2);
    const applied = await wee5Cron('apply');
    assert.equal(applied.status, 0, applied.stderr);
    assert.deepEqual(applied.stdout.match(/^create +[\w-]+/gm)?.map((line) => line.split(/ +/)[1]).sort(), ['daily-analytics', 'poll-activities', 'welcome-emails']);
    const planned = await wee5Cron('plan');
    assert.deepEqual([planned.status, planned.stdout], [0, '']);
    // The jobs belong to the role that deployed them.
    const exported = await wee5Cron('export');
    assert.deepEqual(Object.keys(JSON.parse(exported.stdout).jobs).sort(), ['daily-analytics', 'poll-activities', 'welcome-emails']);
  });
});

describe('the routes', () => {
  it('one that returns', async () => {
    const row = await ended(await cron.runNow('poll-activities'));
    assert.deepEqual([row.status, row.http_status, row.transport, row.job_name, row.response_body], ['succeeded', 200, edition.transport, 'poll-activities', '{"activities":1}']);
  });

  it('one that runs once for each key', async () => {
    await sql("INSERT INTO users (email) VALUES ('a@example.com'), ('b@example.com')");
    const id = await cron.runNow('welcome-emails');
    assert.equal((await ended(id)).response_body, '{"sent":2}');
    await sql('UPDATE users SET welcomed_at = NULL');
    assert.deepEqual(await ended(await cron.retry(id)).then(({ status, response_body }) => [status, response_body]), ['succeeded', '{"duplicate":true}']);
    assert.deepEqual(await sql('SELECT count(*)::int FROM users WHERE welcomed_at IS NULL'), [{ count: 2 }]);
    assert.equal(log.match(/welcome, a@example\.com/g)?.length, 1);
  });

  it('one that works after its answer', async () => {
    const holder = await root.connect();
    await holder.query('BEGIN; LOCK TABLE daily_numbers');
    const id = await cron.runNow('daily-analytics');
    await until(async () => (await cron.invocation(id)).status === 'accepted');
    await holder.query('COMMIT');
    holder.release();
    const row = await ended(id);
    assert.deepEqual([row.status, row.http_status], ['succeeded', 202]);
    assert.deepEqual(await sql('SELECT day = $1::date AS scheduled, users::int FROM daily_numbers', [row.scheduled_at ?? row.requested_at]), [{ scheduled: true, users: 2 }]);
  });

  it('one that fails: the error is in the log of the app alone', async () => {
    provider.answer = (response) => { response.statusCode = 502; response.end(); };
    const row = await ended(await cron.invoke('/api/cron/poll-activities'));
    provider.answer = answersActivities;
    assert.deepEqual([row.status, row.reason, row.http_status], ['failed', 'http', 500]);
    assert.doesNotMatch(JSON.stringify(row), /the provider answered/);
    assert.match(log, /the provider answered 502/);
  });

  it('one that is told to wait: the call is made again at the time that it names', async () => {
    provider.answer = (response) => { response.statusCode = 429; response.end(); };
    const id = await cron.invoke('/api/cron/poll-activities');
    await until(async () => (await cron.invocation(id)).status === 'retrying');
    const row = await cron.invocation(id);
    provider.answer = answersActivities;
    assert.equal(row.http_status, 503);
    const delay = row.next_attempt_at.getTime() - Date.now();
    assert.ok(delay > 30_000 && delay <= 120_000, `${delay} ms`);
    await cron.cancel(id);
  });

  it('one that is too slow hears it: the deadline ends what it waits for', async () => {
    provider.answer = () => undefined;
    const before = provider.hungUp;
    const row = await ended(await cron.invoke('/api/cron/poll-activities', { timeout: '700 milliseconds' }));
    await until(() => provider.hungUp > before);
    provider.answer = answersActivities;
    assert.deepEqual([row.status, row.reason], ['failed', 'timeout']);
  });

  it('take the previous secret, and no wrong one', async () => {
    await sql('SELECT wee5_cron.configure($1, $2, keep_previous => false)', [url, secrets.CRON_SECRET_PREVIOUS]);
    assert.equal((await ended(await cron.invoke('/api/cron/poll-activities'))).status, 'succeeded');
    await sql('SELECT wee5_cron.configure($1, $2, keep_previous => false)', [url, 'not the secret of the app']);
    const refused = await ended(await cron.invoke('/api/cron/poll-activities'));
    assert.deepEqual([refused.status, refused.http_status], ['failed', 401]);
    await sql('SELECT wee5_cron.configure($1, $2)', [url, secrets.CRON_SECRET]);
  });

  it('one on the Edge runtime', async () => {
    const row = await ended(await cron.invoke('/api/cron/purge-cache'));
    assert.deepEqual([row.status, row.response_body], ['succeeded', '{"purged":true,"attempt":1}']);
  });

  it('do nothing for others, and nothing for methods that they do not take', async () => {
    const before = await sql('SELECT count(*)::int FROM activities');
    await sql('DELETE FROM activities');
    for (const path of ['/api/cron/poll-activities', '/api/cron/welcome-emails', '/api/analytics/cron', '/api/cron/purge-cache']) {
      for (const headers of [{}, { authorization: 'Bearer undefined' }, { authorization: 'Bearer ' }, { authorization: `Bearer ${secrets.CRON_SECRET}x` }]) {
        const answer = await get(path, { headers });
        assert.deepEqual([answer.status, answer.headers.get('cache-control')], [401, 'no-store'], path);
      }
      assert.equal((await get(path, { method: 'HEAD', headers: bearer })).status, 405);
      for (const method of ['POST', 'PUT', 'DELETE']) assert.equal((await get(path, { method, headers: bearer })).status, 405);
      const options = await get(path, { method: 'OPTIONS', headers: { origin: 'https://evil.example', 'access-control-request-method': 'GET' } });
      assert.deepEqual([options.status, options.headers.get('access-control-allow-origin')], [204, null]);
    }
    assert.deepEqual([before, await sql('SELECT count(*)::int FROM activities')], [[{ count: 1 }], [{ count: 0 }]]);
  });

  // Such callers send no key.
  const others = { 'Vercel Cron': { 'user-agent': 'vercel-cron/1.0', 'x-vercel-cron-schedule': '0 0 * * *' }, 'a function of the app': { 'content-type': 'application/json' } };
  for (const [caller, headers] of Object.entries(others)) {
    it(`do the work of a call by ${caller} before they answer`, async () => {
      await sql('UPDATE users SET welcomed_at = NULL; DELETE FROM daily_numbers');
      const answers = [];
      for (const path of ['/api/cron/poll-activities', '/api/cron/welcome-emails', '/api/analytics/cron']) {
        const answer = await get(path, { headers: { ...bearer, ...headers } });
        answers.push([answer.status, await answer.text(), answer.headers.get('cache-control'), answer.headers.get('wee5-cron')]);
      }
      assert.deepEqual(answers, ['{"activities":1}', '{"sent":2}', '{"ok":true}'].map((text) => [200, text, 'no-store', null]));
      assert.deepEqual(await sql('SELECT users::int FROM daily_numbers'), [{ users: 2 }]);
    });
  }

  it('npx wee5-cron call', async () => {
    const { status, stdout, stderr } = await wee5Cron('call', '/api/cron/poll-activities', '--origin', url);
    assert.deepEqual([status, stdout], [0, '{"activities":1}\n'], stderr);
  });
});

describe('the pages', () => {
  it('the status page is behind the login', async () => {
    const refused = await get('/admin/cron');
    assert.deepEqual([refused.status, refused.headers.get('location')], [303, '/login']);
    assert.equal((await get('/admin/cron', { headers: { cookie: 'admin=no' } })).status, 303);
    const login = (given) => get('/login', { method: 'POST', body: new URLSearchParams({ password: given }) });
    assert.equal((await login('no')).status, 401);
    const welcome = await login(password);
    assert.equal(welcome.status, 303);
    const cookie = welcome.headers.get('set-cookie').split(';')[0];
    const page = await get('/admin/cron', { headers: { cookie } });
    assert.deepEqual([page.status, page.headers.get('content-type'), page.headers.get('cache-control')], [200, 'text/html; charset=utf-8', 'no-store']);
    const html = await page.text();
    for (const text of ['Jobs of the activities app', 'poll-activities', 'welcome-emails', 'daily-analytics']) assert.ok(html.includes(text), text);
  });

  const chromium = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => existsSync(path));
  const packages = new URL('../../../test/scripts/', import.meta.url);
  const missing = (!chromium && 'there is no Chromium here') || (!existsSync(new URL('node_modules/puppeteer-core', packages)) && 'puppeteer-core is not installed: npm ci in test/scripts');

  it('a browser shows the status page after the login', { skip: missing }, async () => {
    const { default: puppeteer } = createRequire(packages)('puppeteer-core');
    const browser = await puppeteer.launch({ executablePath: chromium, timeout: 120_000, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(120_000);
      await page.goto(`${url}/admin/cron`);
      assert.equal(page.url(), `${url}/login`);
      await page.type('input[name=password]', password);
      const complaints = [];
      page.on('console', (message) => complaints.push(`${message.text()} ${message.location().url}`));
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('request', (request) => { if (!request.url().startsWith(url)) complaints.push(`request of ${request.url()}`); });
      await Promise.all([page.waitForNavigation(), page.click('button')]);
      assert.equal(page.url(), `${url}/admin/cron`);
      const seen = await page.evaluate(() => ({
        title: document.title,
        sentence: document.querySelector('.sentence').textContent,
        jobs: [...document.querySelectorAll('[aria-labelledby=jobs] tbody tr')].map((row) => row.querySelector('bdi').textContent).sort(),
        // The page's own policy has to allow its style.
        background: getComputedStyle(document.body).backgroundColor,
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      }));
      assert.match(seen.title, /Jobs of the activities app/);
      assert.notEqual(seen.sentence, '');
      assert.deepEqual(seen.jobs, ['daily-analytics', 'poll-activities', 'welcome-emails']);
      assert.notEqual(seen.background, 'rgba(0, 0, 0, 0)', 'the style of the page is applied');
      assert.equal(seen.overflow, 0);
      // A browser asks each site for its icon by itself.
      assert.deepEqual(complaints.filter((text) => !text.endsWith('/favicon.ico')), []);
    } finally {
      await browser.close();
    }
  });

  it('the health route says whether all is well', async () => {
    // The portable edition is well from the first run of harvest() on, up to a minute after the start.
    const answer = await until(async () => {
      const now = await get('/api/health/cron');
      return now.status === 200 && now;
    });
    assert.deepEqual([answer.status, await answer.text()], [200, '{"ok":true}']);
    await sql("SELECT wee5_cron.disarm('for a moment')");
    const unwell = await get('/api/health/cron');
    await sql('SELECT wee5_cron.arm()');
    assert.deepEqual([unwell.status, await unwell.text()], [503, '{"ok":false}']);
  });
});

describe('a job of the app', () => {
  it('pg_cron starts one, the route is called, and the row says so', async () => {
    await cron.schedule('each-minute', '* * * * *', '/api/cron/poll-activities?each=minute');
    await sql('DELETE FROM activities');
    // A tick is up to a minute away.
    const [row] = await until(async () => {
      const rows = await sql("SELECT * FROM wee5_cron.invocation WHERE job_name = 'each-minute' AND status = 'succeeded' AND cron_run_id IS NOT NULL LIMIT 1");
      return rows.length > 0 && rows;
    }, 180_000);
    await cron.unschedule('each-minute');
    assert.deepEqual([row.http_status, row.response_body, row.transport], [200, '{"activities":1}', edition.transport]);
    assert.deepEqual(await sql('SELECT * FROM activities'), [{ id: 'a1', title: 'Tea' }]);
  });

  it('doctor finds no error', async () => {
    const { stdout, stderr } = await wee5Cron('doctor');
    // It reports the refused call of an earlier test, and that this address leads to the machine itself.
    const unexpected = (stdout.match(/^error .*/gm) ?? []).filter((line) => !/^error +(last_outcome|api_url_\w+):/.test(line) && !edition.isExpected(/^error +(\w+)/.exec(line)?.[1]));
    assert.deepEqual(unexpected, [], stdout + stderr);
  });
});

describe('the secret', () => {
  it('is in no row, and in no log of the app', async () => {
    const rows = JSON.stringify([await sql('SELECT * FROM wee5_cron.invocation'), await sql('SELECT * FROM wee5_cron.claim')]);
    assert.ok(rows.length > 1000 && log.length > 0);
    for (const secret of Object.values(secrets)) assert.ok(!rows.includes(secret) && !log.includes(secret));
  });
});

describe('an app without its secret', () => {
  it('refuses every call', async () => {
    const open = await start({ PATH: process.env.PATH, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1', DATABASE_URL: edition.databaseUrl });
    for (const headers of [{}, { authorization: 'Bearer ' }, { authorization: 'Bearer undefined' }, bearer]) {
      assert.equal((await fetch(`${open}/api/cron/poll-activities`, { headers })).status, 503);
    }
  });
});

describe('an app that is told to stop', () => {
  it('ends the work that goes on after an answer', async () => {
    const holder = await edition.admin.connect();
    await holder.query('BEGIN; LOCK TABLE daily_numbers');
    const id = await cron.runNow('daily-analytics');
    await until(async () => (await cron.invocation(id)).status === 'accepted');
    const [server] = servers;
    const exited = new Promise((resolve) => server.on('exit', resolve));
    server.kill('SIGTERM');
    // It takes no more connections. One that was open may go on for as long as it is used.
    await until(() => refusesConnections(url));
    assert.equal(server.exitCode, null);
    await holder.query('COMMIT');
    holder.release();
    assert.equal((await ended(id)).status, 'succeeded');
    await exited;
  });
});
