// scripts/generate-cron-config.ts: what it reads, what it refuses, what it prints. That the SQL does on a server what it
// should is tested in test/t.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { run } from './script_in_process.js';

const secret = 'canary-0123456789abcdef';
const url = 'https://app.example.com';
const both = { APP_URL: url, CRON_SECRET: secret };

const configure = (address, bearer) => `SELECT wee5_cron.configure('${address}', '${bearer}');\n`;

function prints(expected, args, given) {
  assert.deepEqual(run(args, given), { status: 0, stdout: expected, stderr: '' });
}

// Refused: exit 1, no SQL at all, a reason that matches, and the secret in none of it.
function refuses(reason, args, given) {
  const { status, stdout, stderr } = run(args, given);
  assert.deepEqual({ status, stdout }, { status: 1, stdout: '' });
  assert.match(stderr, reason);
  assert.doesNotMatch(stderr, /canary/);
}

// --- where the values come from ---

test('address and secret come from the environment', () => prints(configure(url, secret), [], { env: both }));

test('... or from .env.local', () => {
  prints(configure(url, secret), [], { file: `export APP_URL="${url}" # the app\nCRON_SECRET='${secret}'\n` });
});

test('the environment takes precedence over the file', () => {
  const file = `APP_URL=https://file.example\nCRON_SECRET=canary-of-the-file-0123\n`;
  prints(configure(url, secret), [], { env: both, file });
  prints(configure('https://file.example', secret), [], { env: { CRON_SECRET: secret }, file });
});

test('SUPABASE_APP_URL takes precedence over APP_URL, and APP_URL over NEXT_PUBLIC_APP_URL, in file and environment', () => {
  const of = (name) => `https://${name}.example`;
  const file = `NEXT_PUBLIC_APP_URL=${of('next')}\nAPP_URL=${of('app')}\nSUPABASE_APP_URL=${of('supabase')}\nCRON_SECRET=${secret}`;
  const without = (name) => ({ file: file.replace(new RegExp(`^${name}=.*$`, 'm'), '') });
  prints(configure(of('supabase'), secret), [], { file });
  prints(configure(of('supabase'), secret), [], { file, env: { APP_URL: of('environment') } });
  prints(configure(of('app'), secret), [], without('SUPABASE_APP_URL'));
  prints(configure(of('next'), secret), [], { file: without('SUPABASE_APP_URL').file.replace(/^APP_URL=.*$/m, '') });
});

test('an empty variable counts as unset, and in the environment it hides the file', () => {
  prints(configure(url, secret), [], { env: { ...both, SUPABASE_APP_URL: ' ' } });
  prints(configure(url, secret), [], { env: { ...both, SUPABASE_APP_URL: '' }, file: 'SUPABASE_APP_URL=https://file.example' });
});

test('one error names all missing values', () => {
  refuses(/SUPABASE_APP_URL, APP_URL, NEXT_PUBLIC_APP_URL are missing[^]*CRON_SECRET is missing/, [], {});
  refuses(/CRON_SECRET is missing/, [], { env: { APP_URL: url, CRON_SECRET: ' ' } });
  refuses(/"nonsense"[^]*CRON_SECRET is missing/, [], { env: { APP_URL: 'nonsense' } });
});

test('a message names the variable and its source', () => {
  refuses(/^APP_URL of the environment, "ftp:/, [], { env: { ...both, APP_URL: 'ftp://app.example.com' } });
  refuses(/^NEXT_PUBLIC_APP_URL of \.env\.local, "ftp:/, [], { file: `NEXT_PUBLIC_APP_URL=ftp://x\nCRON_SECRET=${secret}` });
});

// --- the address ---

const withUrl = (address) => ({ env: { ...both, APP_URL: address } });

for (const [address, taken] of Object.entries({
  'https://app.example.com/': url,
  ' https://app.example.com ': url,
  'https://app.example.com//': url,
  'HTTPS://App.Example.com:8443/': 'https://App.Example.com:8443',
  'https://example.com/base': 'https://example.com/base',
  'https://example.com/base/': 'https://example.com/base',
  "https://example.com/it's": "https://example.com/it''s",
  'https://example.com/größe': 'https://example.com/gr%C3%B6%C3%9Fe',
  'https://example.com/%7euser': 'https://example.com/%7euser',
  'https://xn--bcher-kva.example': 'https://xn--bcher-kva.example',
  'https://[2001:db8::1]:8443': 'https://[2001:db8::1]:8443',
  'https://93.184.216.34': 'https://93.184.216.34',
  'http://app:3000': 'http://app:3000',
  'http://app.internal': 'http://app.internal',
  'http://APP.LOCAL.': 'http://APP.LOCAL.',
  'http://10.1.2.3': 'http://10.1.2.3',
  'http://172.16.0.1': 'http://172.16.0.1',
  'http://192.168.1.2:3000': 'http://192.168.1.2:3000',
  'http://169.254.1.1': 'http://169.254.1.1',
  'http://[fd00::1]': 'http://[fd00::1]',
  'http://[fe80::1%25eth0]': 'http://[fe80::1%25eth0]',
  'http://[::ffff:10.0.0.1]': 'http://[::ffff:10.0.0.1]',
})) {
  test(`the address ${address} is accepted`, () => prints(configure(taken, secret), [], withUrl(address)));
}

for (const [address, reason] of Object.entries({
  'app.example.com': /does not begin with https:/,
  '//app.example.com': /does not begin with https:/,
  'ftp://app.example.com': /neither https/,
  'https://': /names no host/,
  'https:///path': /names no host/,
  'https://:443': /names no host/,
  'https://user:canary@app.example.com': /user information/,
  'https://app.example.com?token=canary': /a query/,
  'https://app.example.com#canary': /a fragment/,
  'https://app.example.com/a b': /a blank/,
  'https://app.example.com/a\tb': /control character/,
  'https:\\\\app.example.com': /backslash/,
  'https://app.example.com/a//b': /two slashes/,
  'https://app.example.com/base///': /two slashes/,
  'https://app.example.com/a/../b': /a segment/,
  'https://app.example.com/a/%2E%2e/b': /a segment/,
  'https://app.example.com/a%2f..': /a segment/,
  'https://app.example.com/50%': /hexadecimal/,
  [`https://app.example.com/${'x'.repeat(2048)}`]: /longer/,
  'https://app.example.com:0': /port/,
  'https://app.example.com:65536': /port/,
  'https://app.example.com:80x': /no host/,
  'https://bücher.example': /not ASCII/,
  'https://app%2eexample.com': /no host/,
  'https://${VERCEL_URL}': /not expanded/,
  'https://[::1': /no host/,
  'https://[1:2]': /no host/,
  'https://1.2.3.4.5': /no host/,
  'http://app.example.com': /clear text/,
  'http://93.184.216.34': /clear text/,
  'http://[2001:db8::1]': /clear text/,
  'http://172.32.0.1': /clear text/,
  'http://1572395042': /clear text/,
  'http://app.local.example.com': /clear text/,
  'http://[::ffff:93.184.216.34]': /clear text/,
})) {
  test(`the address ${address.slice(0, 60)} is refused`, () => refuses(reason, [], withUrl(address)));
}

// The cases that the script shares with the extension.
const hosts = readFileSync(new URL('../plain_http_hosts.txt', import.meta.url), 'utf8').match(/^(private|public) .+$/gm);
for (const [verdict, host] of hosts.map((line) => line.split(' '))) {
  test(`plain http to ${host} is ${verdict === 'private' ? 'accepted' : 'refused'}`, () => {
    const { status } = run(['--allow-localhost'], withUrl(`http://${host}`));
    assert.equal(status, verdict === 'private' ? 0 : 1);
  });
}

for (const address of ['http://localhost:3000', 'https://localhost', 'http://api.localhost', 'http://LOCALHOST.', 'http://127.0.0.1:3000',
  'http://127.1', 'http://0x7f000001', 'http://2130706433', 'http://[::1]:3000', 'http://[::ffff:127.0.0.1]']) {
  test(`${address}, which is the database's own machine, needs --allow-localhost`, () => {
    refuses(/--allow-localhost/, [], withUrl(address));
    prints(configure(address, secret), ['--allow-localhost'], withUrl(address));
  });
}

// --- the secret ---

const withSecret = (text) => ({ env: { ...both, CRON_SECRET: text } });

test('a secret of sixteen characters is accepted, one of fifteen is refused', () => {
  prints(configure(url, 'canary-890123456'), [], withSecret('canary-890123456'));
  refuses(/has 15 characters/, [], withSecret('canary-89012345'));
});

for (const [text, reason] of Object.entries({
  'canary-0123456789\n': /white space around/,
  ' canary-0123456789': /white space around/,
  'canary\n0123456789': /line break/,
  'canary\r0123456789': /line break/,
  'canary\t0123456789': /control character/,
  'canary\x000123456789': /control character/,
  'canary\x7f0123456789': /control character/,
  'canary-0123456789ä': /not ASCII/,
  'canary-0123456789\u00a0': /white space around/,
})) {
  test(`a secret like ${JSON.stringify(text)} is refused`, () => refuses(reason, [], withSecret(text)));
}

test('a "$" in .env.local, which Next.js expands, gets a note', () => {
  const file = `APP_URL=${url}\nCRON_SECRET='canary-$a-0123456789'\n`;
  const { status, stdout, stderr } = run([], { file });
  assert.deepEqual({ status, stdout }, { status: 0, stdout: configure(url, 'canary-$a-0123456789') });
  assert.match(stderr, /^# Note: .*Next\.js/);
  assert.doesNotMatch(stderr, /canary/);
  prints(configure(url, 'canary-$a-0123456789'), [], withSecret('canary-$a-0123456789'));
});

// --- the SQL ---

const nasty = `canary'"\\'\\\\$$ $wee5$ $wee5_1$ %L %s :x :'x' -- /* ;`;
const nastyLiteral = `E'canary''"\\\\''\\\\\\\\$$ $wee5$ $wee5_1$ %L %s :x :''x'' -- /* ;'`;

test('quotes, backslashes and dollar signs are quoted', () => {
  prints(`SELECT wee5_cron.configure('${url}', ${nastyLiteral});\n`, [], withSecret(nasty));
});

test('the value cannot end the dollar quote around it', () => {
  for (const to of ['guc', 'vault', 'portable']) {
    const { stdout } = run(['--to', to], withSecret(nasty));
    assert.match(stdout, /^(BEGIN;\n)?DO \$wee5_2\$\n[^]*\n\$wee5_2\$;\n(SELECT wee5_cron\.configure\(\);\nCOMMIT;\n)?$/);
    assert.equal(stdout.split('$wee5_2$').length, 3);
    assert.ok(stdout.includes(nastyLiteral));
  }
});

test('--to guc alters the current database', () => {
  const { status, stdout, stderr } = run(['--to', 'guc'], { env: both });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.match(stdout, /database_name constant text := current_database\(\);\n  new_url constant text := 'https:\/\/app\.example\.com';/);
  assert.match(stdout, /new_secret constant text := 'canary-/);
  assert.match(stdout, /ALTER DATABASE %I SET app\.settings\.cron_secret = %L', database_name, new_secret\)/);
});

test('--database names the database to alter', () => {
  const { status, stdout } = run(['--to=guc', '--database', `my "app's"`], { env: both });
  assert.equal(status, 0);
  assert.match(stdout, /database_name constant text := 'my "app''s"';/);
});

test('--to portable stores both values in Vault and configures, all or nothing', () => {
  const { status, stdout } = run(['--to', 'portable'], { env: both });
  assert.equal(status, 0);
  assert.match(stdout, /^BEGIN;\nDO [^]*vault\.create_secret[^]*;\nSELECT wee5_cron\.configure\(\);\nCOMMIT;\n$/);
  assert.doesNotMatch(stdout, /counts more than Vault/);
});

test('--to vault creates or updates both secrets', () => {
  const { status, stdout } = run(['--to', 'vault'], { env: both });
  assert.equal(status, 0);
  assert.match(stdout, /new_url constant text := 'https:\/\/app\.example\.com'/);
  assert.match(stdout, /new_secret constant text := 'canary-/);
  assert.match(stdout, /vault\.create_secret[^]*vault\.update_secret/);
});

test('--drop-previous does not keep the replaced secret', () => {
  prints(`SELECT wee5_cron.configure('${url}', '${secret}', keep_previous => false);\n`, ['--drop-previous'], { env: both });
  for (const to of ['guc', 'vault']) {
    assert.match(run(['--to', to, '--drop-previous'], { env: both }).stdout, /WHEN NOT false OR/);
    assert.match(run(['--to', to], { env: both }).stdout, /WHEN NOT true OR/);
  }
});

test('standard output is plain ASCII, whatever encoding psql reads', () => {
  for (const to of ['configure', 'guc', 'vault', 'portable']) {
    const { stdout } = run(['--to', to], withUrl('https://example.com/größe'));
    assert.match(stdout, /gr%C3%B6%C3%9Fe/);
    assert.match(stdout, /^[\x20-\x7e\n]*$/);
  }
});

test('--generate-secret also prints the line for .env.local', () => {
  const made = new Set();
  for (const to of ['configure', 'guc', 'vault', 'portable']) {
    const { status, stdout, stderr } = run(['--to', to, '--generate-secret'], { env: both });
    assert.equal(status, 0);
    const [, fresh] = /^CRON_SECRET=([0-9a-f]{64})$/m.exec(stderr);
    assert.ok(stdout.includes(`'${fresh}'`));
    assert.doesNotMatch(stdout + stderr, /canary/);
    assert.ok(stderr.split('\n').every((line) => line === '' || line.startsWith('#') || line.startsWith('CRON_SECRET=')));
    made.add(fresh);
  }
  assert.equal(made.size, 4);
  refuses(/address is not set/, ['--generate-secret'], {});
});

// --- options ---

test('--help prints the usage on standard output', () => {
  const { status, stdout, stderr } = run(['--help']);
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  for (const word of ['--to', 'guc', 'vault', 'portable', '--generate-secret', '--allow-localhost', '--database', '.env.local', 'Exit status']) {
    assert.ok(stdout.includes(word), word);
  }
});

for (const args of [['--to'], ['--to', 'nowhere'], ['--unknown'], ['stray'], ['--database', 'x'], ['--to', 'guc', '--database', ''],
  ['--to', 'vault', '--database', 'x'], ['--to', 'guc', '--database', 'x'.repeat(64)], ['--generate-secret=yes']]) {
  test(`the invalid options ${args.join(' ').slice(0, 40)} exit with 2`, () => {
    const { status, stdout, stderr } = run(args, { env: both });
    assert.deepEqual({ status, stdout }, { status: 2, stdout: '' });
    assert.match(stderr, /--help/);
  });
}

// --- as a user runs it ---

const script = fileURLToPath(new URL('../../scripts/generate-cron-config.ts', import.meta.url));
const require = createRequire(import.meta.url);
const tsx = join(require.resolve('tsx/package.json'), '../dist/cli.mjs');
const [major, minor] = process.versions.node.split('.').map(Number);
const runners = { tsx: [tsx] };
if (major > 22 || (major === 22 && minor >= 6)) runners['type stripping'] = ['--experimental-strip-types', '--no-warnings'];

function inDirectory(make) {
  const directory = mkdtempSync(join(tmpdir(), 'generate-cron-config-'));
  try {
    make(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function spawn(runner, file, args, cwd, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...runner, file, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, TMPDIR: cwd, ...env },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

for (const [name, runner] of Object.entries(runners)) {
  for (const type of ['module', 'commonjs', undefined]) {
    test(`the script runs by ${name} in an app whose package.json has ${type ? `the type ${type}` : 'no type'}`, () => {
      inDirectory((app) => {
        // Node refuses an import in a .ts file of a commonjs package; the ending .mts marks a module.
        const file = `scripts/generate-cron-config.${name !== 'tsx' && type === 'commonjs' ? 'mts' : 'ts'}`;
        mkdirSync(join(app, 'scripts'));
        copyFileSync(script, join(app, file));
        writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', type }));
        writeFileSync(join(app, '.env.local'), `APP_URL=${url}\nCRON_SECRET="${secret}"\n`);
        assert.deepEqual(spawn(runner, file, [], app), { status: 0, stdout: configure(url, secret), stderr: '' });
        assert.equal(spawn(runner, file, ['--to', 'nowhere'], app).status, 2);
        assert.equal(spawn(runner, file, [], app, { APP_URL: 'http://localhost:3000' }).status, 1);
      });
    });
  }
}

test('a .env.local that cannot be read is an error, not an empty file', () => {
  inDirectory((app) => {
    mkdirSync(join(app, '.env.local'));
    const { status, stdout, stderr } = spawn(runners.tsx, script, [], app, both);
    assert.deepEqual({ status, stdout }, { status: 1, stdout: '' });
    assert.match(stderr, /\.env\.local cannot be read \(EISDIR\)/);
  });
});
