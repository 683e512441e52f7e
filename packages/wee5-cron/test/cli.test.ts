// The command line as it is published: run `npm run build` first.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../dist/esm/cli/main.js', import.meta.url));
const secret = 'a secret of 32 characters or more';
let app: string;

before(() => { app = mkdtempSync(join(tmpdir(), 'wee5-cron-cli-')); });
after(() => rmSync(app, { recursive: true, force: true }));

interface Ended { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function run(args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: app, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => (stdout += String(chunk)));
    child.stderr.on('data', (chunk) => (stderr += String(chunk)));
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

function write(name: string, content: unknown): void {
  mkdirSync(dirname(join(app, name)), { recursive: true });
  writeFileSync(join(app, name), typeof content === 'string' ? content : JSON.stringify(content));
}

const jobs = { jobs: { digest: { schedule: '0 9 * * *', path: "/api/it's" } } };

describe('npx wee5-cron', () => {
  it('prints its usage', async () => {
    for (const args of [['--help'], ['help'], ['plan', '--help']]) {
      const { status, stdout } = await run(args);
      assert.deepEqual([status, /^usage: npx wee5-cron <command>/.test(stdout)], [0, true]);
    }
    assert.deepEqual(await run(['what']), { status: 2, stdout: '', stderr: 'There is no command "what". See npx wee5-cron --help.\n' });
    assert.equal((await run([])).status, 2);
    assert.equal((await run(['toString'])).status, 2);
    assert.equal((await run(['plan', '--what'])).status, 2);
    assert.equal((await run(['doctor', 'x'])).status, 2);
  });

  it('sql: prints the portable edition', async () => {
    const { status, stdout } = await run(['sql']);
    assert.deepEqual([status, stdout.length > 500_000, /CREATE SCHEMA IF NOT EXISTS wee5_cron/i.test(stdout)], [0, true, true]);
  });

  it('config: runs the script of the repository', async () => {
    const env = { SUPABASE_APP_URL: 'https://app.example.com', CRON_SECRET: secret };
    assert.deepEqual(await run(['config'], env), { status: 0, stdout: `SELECT wee5_cron.configure('https://app.example.com', '${secret}');\n`, stderr: '' });
    assert.match((await run(['config', '--help'])).stdout, /^usage: npx wee5-cron config \[/);
    assert.deepEqual([(await run(['config'])).status, (await run(['config', '--what'])).status], [1, 2]);
  });

  it('refuses a database address as an argument without repeating it', async () => {
    for (const args of [['plan', 'postgres://a:hunter2@db/x'], ['config', '--database=postgresql://a:hunter2@db/x']]) {
      const { status, stdout, stderr } = await run(args);
      assert.equal(status, 2);
      assert.match(stderr, /DATABASE_URL/);
      assert.doesNotMatch(stdout + stderr, /hunter2/);
    }
  });
});

describe('without a connection', () => {
  const sql = `SELECT * FROM wee5_cron.plan('{"jobs":{"digest":{"schedule":"0 9 * * *","path":"/api/it''s"}}}');\n`;
  it('plan, apply, export and doctor print the SQL, and say that nothing was done', async () => {
    write('wee5-cron.json', jobs);
    const plan = await run(['plan']);
    assert.deepEqual([plan.status, plan.stdout], [3, sql]);
    assert.match(plan.stderr, /"pg" is not installed here.*Nothing was done/);
    const commands: Record<string, RegExp> = {
      'apply': /^SELECT \* FROM wee5_cron\.apply\('.*'\);\n$/,
      'apply --prune': /apply\('.*', prune => true\);\n$/,
      'apply --without-pg-cron notice': /apply\('.*', without_pg_cron => 'notice'\);\n$/,
      'apply --prune --without-pg-cron notice': /apply\('.*', prune => true, without_pg_cron => 'notice'\);\n$/,
      'apply --without-pg-cron error': /apply\('.*'\);\n$/,
      'export': /export_config\(\)/,
      'doctor': /doctor\(\)/,
    };
    for (const [command, printed] of Object.entries(commands)) {
      const { status, stdout, stderr } = await run(command.split(' '));
      assert.equal(status, 3, command);
      assert.match(stdout, printed);
      assert.match(stderr, /Nothing was done/);
      const asked = await run([...command.split(' '), '--sql']);
      assert.deepEqual(asked, { status: 0, stdout, stderr: '' }, command);
    }
  });
  it('refuses a choice that it does not know', async () => {
    for (const args of [['apply', '--without-pg-cron', 'maybe'], ['apply', '--prune=yes'], ['plan', 'a.json', 'b.json'], ['sql', 'x'], ['export', '--prune'], ['call'], ['import', '--sql']]) {
      const { status, stdout, stderr } = await run(args);
      assert.deepEqual([status, stdout], [2, ''], args.join(' '));
      assert.notEqual(stderr, '');
    }
  });
  it('takes no secret as an argument, and does not repeat one', async () => {
    for (const args of [['call', '/x', '--secret=hunter2'], ['config', '--secret=hunter2'], ['doctor', '--password=hunter2']]) {
      const { status, stdout, stderr } = await run(args, { CRON_SECRET: secret, APP_URL: 'https://app.example.com' });
      assert.deepEqual([status, stdout], [2, ''], args.join(' '));
      assert.doesNotMatch(stderr, /hunter2/);
    }
  });
  it('with --sql printing the SQL is a success', async () => {
    write('other.json', jobs);
    assert.deepEqual(await run(['plan', 'other.json', '--sql']), { status: 0, stdout: sql, stderr: '' });
  });
  it('a backslash in the file means the same on every server', async () => {
    write('other.json', { jobs: { a: { schedule: '0 9 * * *', path: '/x', note: 'back\\slash' } } });
    assert.match((await run(['plan', 'other.json', '--sql'])).stdout, /plan\(E'.*back\\\\\\\\slash/);
  });
  it('a file that is missing or not JSON is an error', async () => {
    write('broken.json', '{');
    const { status, stdout, stderr } = await run(['apply', 'broken.json']);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /broken\.json is no JSON/);
    assert.match((await run(['apply', 'none.json'])).stderr, /none\.json cannot be read \(ENOENT\)/);
  });
});

// A stand-in for the package `pg`, for what is said about a database. The example app calls a real one.
describe('with a connection', () => {
  const pg = (behaviour: string) => write('node_modules/pg/index.js', `
    exports.Client = class {
      constructor({ connectionString }) { this.url = connectionString; if (!connectionString.includes('hunter2')) throw new Error('wrong address'); }
      on(event, listener) { this.listener = listener; }
      async connect() { ${behaviour.startsWith('!') ? behaviour.slice(1) : ''} }
      async query(sql, params) { this.listener({ message: 'a notice' }); ${behaviour.startsWith('!') ? '' : behaviour} }
      async end() {}
    };`);
  const env = { DATABASE_URL: 'postgres://a:hunter2@db.example/x' };
  after(() => rmSync(join(app, 'node_modules'), { recursive: true, force: true }));

  it('plan exits with 2 if something would change', async () => {
    write('wee5-cron.json', jobs);
    pg(`return { rows: [{ action: 'create', job_name: 'digest', detail: '0 9 * * *' }] };`);
    assert.deepEqual(await run(['plan'], env), { status: 2, stdout: 'create  digest  0 9 * * *\n', stderr: 'NOTICE: a notice\n' });
    assert.equal((await run(['apply'], env)).status, 0);
    pg(`return { rows: [{ action: 'keep', job_name: 'old', detail: '' }] };`);
    assert.deepEqual((await run(['plan'], env)).status, 0);
    pg(`return { rows: [] };`);
    assert.deepEqual((await run(['plan'], env)).status, 0);
  });
  it('DATABASE_URL may be in .env.local', async () => {
    write('.env.local', 'DATABASE_URL="postgres://a:hunter2@db.example/x"\n');
    pg(`return { rows: [] };`);
    assert.equal((await run(['plan'])).status, 0);
    rmSync(join(app, '.env.local'));
    const without = await run(['plan']);
    assert.equal(without.status, 3);
    assert.match(without.stderr, /DATABASE_URL is not set/);
  });
  it('--sql connects to nothing', async () => {
    pg(`!throw new Error('connected');`);
    assert.equal((await run(['plan', '--sql'], env)).status, 0);
  });
  it('doctor exits with 1 if there is an error', async () => {
    pg(`return { rows: [{ check_name: 'secret', status: 'error', detail: 'no secret', hint: 'SELECT 1;\\nSELECT 2;' }, { check_name: 'worker', status: 'ok', detail: 'up', hint: null }] };`);
    const found = await run(['doctor'], env);
    assert.deepEqual([found.status, found.stdout], [1, 'error    secret: no secret\n         SELECT 1;\n         SELECT 2;\n']);
    assert.match(found.stderr, /^2 checks, 1 of them not ok\.$/m);
    assert.match((await run(['doctor', '--all'], env)).stdout, /^ok       worker: up$/m);
    pg(`return { rows: [{ check_name: 'worker', status: 'ok', detail: 'up', hint: null }] };`);
    const well = await run(['doctor'], env);
    assert.deepEqual([well.status, well.stdout], [0, '']);
    assert.match(well.stderr, /^All \d+ checks are ok\.$/m);
    pg(`return { rows: [{ check_name: 'x', status: 'warning', detail: 'y', hint: null }] };`);
    assert.equal((await run(['doctor'], env)).status, 0);
  });
  it('errors show message and hint, and not the database address', async () => {
    pg(`throw Object.assign(new Error('schema "wee5_cron" does not exist'), { code: '3F000', client: this });`);
    assert.deepEqual(await run(['export'], env), { status: 1, stdout: '', stderr: 'NOTICE: a notice\nschema "wee5_cron" does not exist\nIs wee5_cron installed in this database?\n' });
    pg(`!throw Object.assign(new Error(''), { errors: [new Error('connect ECONNREFUSED ::1:5432')], client: this, url: this.url });`);
    assert.deepEqual(await run(['export'], env), { status: 1, stdout: '', stderr: 'connect ECONNREFUSED ::1:5432\n' });
  });
});

describe('import', () => {
  const imported = async (vercel: unknown) => {
    write('vercel.json', vercel);
    const { status, stdout, stderr } = await run(['import']);
    return { status, stderr, jobs: stdout === '' ? null : (JSON.parse(stdout) as { jobs: unknown }).jobs };
  };
  it('takes crons, each under its own name', async () => {
    const { status, stderr, jobs: made } = await imported({ crons: [
      { path: '/api/cron/digest', schedule: '0 9 * * *' }, { path: '/api/other/digest', schedule: '0 10 * * *' }, { path: '/api/cron/sum?of=a&b=ü', schedule: '5 * * * *' },
    ] });
    assert.deepEqual(made, {
      'digest': { schedule: '0 9 * * *', path: '/api/cron/digest' },
      'digest-2': { schedule: '0 10 * * *', path: '/api/other/digest' },
      'sum-of-a-b': { schedule: '5 * * * *', path: '/api/cron/sum?of=a&b=ü' },
    });
    assert.equal(status, 0);
    assert.match(stderr, /remove them from vercel\.json/);
  });
  it('takes schedules that call a path, and names the others', async () => {
    const { status, stderr, jobs: made } = await imported({ schedules: {
      report: { schedule: '0 9 * * *', path: '/api/report', requestMethod: 'POST', jitter: 5 },
      utc: { schedule: '0 9 * * *', path: '/api/utc', timezone: 'UTC', requestMethod: 'GET' },
      cleanup: { schedule: '0 * * * *', function: 'api/cleanup' },
      york: { schedule: '0 * * * *', path: '/api/york', timezone: 'America/New_York' },
    } });
    assert.deepEqual(made, { report: { schedule: '0 9 * * *', path: '/api/report', method: 'POST' }, utc: { schedule: '0 9 * * *', path: '/api/utc' } });
    assert.equal(status, 2);
    for (const what of [/schedules\.cleanup: .*function/, /schedules\.york: .*America\/New_York/, /schedules\.report\.jitter/]) assert.match(stderr, what);
  });
  it('accepts a vercel.json without jobs, and refuses an invalid one', async () => {
    assert.deepEqual(await imported({}), { status: 0, stderr: '', jobs: {} });
    for (const wrong of [[], { crons: {} }, { crons: [{ path: 1 }] }, { schedules: [] }, { schedules: { a: {} } }]) {
      const { status, jobs: made } = await imported(wrong);
      assert.deepEqual([status, made], [1, null]);
    }
  });
});

describe('call', () => {
  const requests: Array<{ method: string | undefined; url: string | undefined; headers: IncomingMessage['headers']; body: string }> = [];
  let server: Server;
  let origin = '';
  before(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk))).on('end', () => {
        requests.push({ method: request.method, url: request.url, headers: request.headers, body });
        if (request.url === '/slow') return;
        const status = Number(/^\/status\/(\d+)/.exec(request.url ?? '')?.[1] ?? 200);
        response.writeHead(status, { ...(status === 202 && { 'Wee5-Cron': 'accepted' }), ...(status === 308 && { Location: '/else' }) }).end('{"ok":1}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => { server.closeAllConnections(); server.close(); });

  it('sends what wee5_cron sends', async () => {
    write('.env.local', `CRON_SECRET=${secret}\n`);
    const { status, stdout, stderr } = await run(['call', '/api/cron/digest?a=1', '--origin', `${origin}/`, '--job', 'Übersicht']);
    assert.deepEqual([status, stdout], [0, '{"ok":1}\n']);
    assert.match(stderr, /^GET http:\/\/127\.0\.0\.1:\d+\/api\/cron\/digest\?a=1: 200, in \d+ ms\n$/);
    const { method, url, headers } = requests.at(-1)!;
    assert.deepEqual([method, url, headers.authorization, headers['x-wee5-cron-attempt'], headers['x-wee5-cron-timeout-ms']], ['GET', '/api/cron/digest?a=1', `Bearer ${secret}`, '1', '60000']);
    assert.equal(Buffer.from(String(headers['x-wee5-cron-job']), 'latin1').toString(), 'Übersicht');
    assert.match(String(headers['x-wee5-cron-scheduled-at']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$/);
    assert.match(String(headers['idempotency-key']), /^[0-9a-f-]{36}$/);
    rmSync(join(app, '.env.local'));
  });
  it('posts a body', async () => {
    await run(['call', '/x', '--origin', origin, '--body', '{"a":1}'], { CRON_SECRET: secret });
    assert.deepEqual([requests.at(-1)?.method, requests.at(-1)?.body, requests.at(-1)?.headers['content-type']], ['POST', '{"a":1}', 'application/json']);
  });
  it('sends another method, and a timeout of its own', async () => {
    await run(['call', '/x', '--origin', origin, '--method', 'delete', '--timeout', '1.5'], { CRON_SECRET: secret });
    assert.deepEqual([requests.at(-1)?.method, requests.at(-1)?.headers['x-wee5-cron-timeout-ms'], requests.at(-1)?.headers['x-wee5-cron-job']], ['DELETE', '1500', undefined]);
  });
  const answers: Record<string, [number, RegExp]> = { '/status/500': [1, /: 500, in/], '/status/202': [0, /202, and the work goes on/], '/status/308': [1, /redirects to \/else/] };
  for (const [path, [expected, words]] of Object.entries(answers)) {
    it(`reports an answer of ${path}`, async () => {
      const { status, stderr } = await run(['call', path, '--origin', origin], { CRON_SECRET: secret });
      assert.equal(status, expected);
      assert.match(stderr, words);
    });
  }
  it('reports a timeout, and an app that does not run', async () => {
    assert.match((await run(['call', '/slow', '--origin', origin, '--timeout', '0.2'], { CRON_SECRET: secret })).stderr, /failed: there was no answer in 0\.2 s/);
    const gone = await run(['call', '/x', '--origin', 'http://127.0.0.1:1'], { CRON_SECRET: secret });
    assert.equal(gone.status, 1);
    assert.match(gone.stderr, /GET http:\/\/127\.0\.0\.1:1\/x failed: /);
  });
  it('sends the secret in clear text only to this machine, and never prints it', async () => {
    for (const args of [['/x', '--origin', 'http://app.example.com'], ['//evil.example/x'], ['x'], ['/x', '--origin', 'what'], ['/x', '--timeout', '0']]) {
      const { status, stdout, stderr } = await run(['call', ...args], { CRON_SECRET: secret });
      assert.equal(status, 2, args.join(' '));
      assert.doesNotMatch(stdout + stderr, new RegExp(secret));
    }
    assert.match((await run(['call', '/x'])).stderr, /CRON_SECRET is not set/);
  });
});

// npm itself may need a newer Node than this package does.
if (!process.version.startsWith('v18.')) describe('what npm would publish', () => {
  it('is the built files and the licence, and nothing else', () => {
    const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: fileURLToPath(new URL('..', import.meta.url)), encoding: 'utf8' });
    const [packed] = JSON.parse(stdout) as [{ files: Array<{ path: string; mode: number }> }];
    const other = packed.files.map(({ path }) => path).filter((path) => !/^dist\/(esm|cjs)\/[\w/]+\.(js|d\.ts)$/.test(path));
    assert.deepEqual(other.sort(), ['LICENSE', 'README.md', 'dist/cjs/package.json', 'dist/wee5_cron--portable.sql', 'package.json']);
    const built = readFileSync(main, 'utf8');
    assert.match(built, /^#!\/usr\/bin\/env node\n/);
  });

  it('works where it is installed', async () => {
    const place = join(app, 'installed');
    mkdirSync(place);
    writeFileSync(join(place, 'package.json'), '{}');
    const npm = (...args: string[]) => spawnSync('npm', args, { cwd: place, encoding: 'utf8' });
    const { stdout: packed } = spawnSync('npm', ['pack', '--ignore-scripts', '--pack-destination', place], { cwd: fileURLToPath(new URL('..', import.meta.url)), encoding: 'utf8' });
    const installed = npm('install', '--offline', '--no-audit', '--no-fund', join(place, packed.trim().split('\n').at(-1) ?? ''));
    assert.equal(installed.status, 0, installed.stderr);
    const sql = spawnSync(join(place, 'node_modules/.bin/wee5-cron'), ['sql'], { cwd: place, encoding: 'utf8', maxBuffer: 10_000_000 });
    assert.deepEqual([sql.status, sql.stderr, sql.stdout.length > 500_000], [0, '', true]);
    for (const entry of ['wee5-cron', 'wee5-cron/next', 'wee5-cron/hono', 'wee5-cron/express', 'wee5-cron/client']) {
      for (const load of [`require('${entry}')`, `await import('${entry}')`]) {
        const script = `const loaded = ${load}; console.log(typeof (loaded.cron ?? loaded.CronClient), typeof loaded.fromPg)`;
        const args = [...(load.startsWith('await') ? ['--input-type=module'] : []), '--eval', script];
        const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: place, encoding: 'utf8' });
        assert.equal(stdout, 'function function\n', `${load}: ${stderr}`);
      }
    }
  });
});
