// Prints the SQL that tells wee5_cron where the app is and which secret it expects.
//
//   npx tsx scripts/generate-cron-config.ts | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"
//
// One file, to be copied into the app's repository: it needs Node 18 or newer and nothing else. No syntax in it asks for
// more than the removal of types, so that Node 22.6 and newer run it by themselves (--experimental-strip-types, from
// 22.18 on without the option; named .mts where package.json says "type": "commonjs").

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { BlockList } from 'node:net';
import { parseArgs } from 'node:util';

const usage = `usage: generate-cron-config [--to configure|guc|vault|portable] [--database NAME] [--generate-secret]
                            [--drop-previous] [--allow-localhost]

Prints the SQL that tells wee5_cron where the app is, and the secret that the app expects. Only SQL goes to standard
output, so that it can be piped into psql, or pasted into an SQL editor that is connected to the app's database:

  npx tsx scripts/generate-cron-config.ts | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"

The app's address is SUPABASE_APP_URL, or else APP_URL, or else NEXT_PUBLIC_APP_URL; the secret is CRON_SECRET. Each is
taken from the environment, or where it is not there from the file .env.local in the current directory, which is read by
the rules of dotenv. To change the secret, change it there and in the app, and run this again: for
24 hours, calls that the app answers with 401 are made again with the secret that was replaced.

  --to configure     a call of wee5_cron.configure(), which stores both for the database (the default)
  --to guc           ALTER DATABASE ... SET, which any superuser may run before the extension is there
  --to vault         into Supabase Vault, as the secrets "api_url" and "cron_secret"; a second run updates them
  --to portable      the same for the portable edition, as on hosted Supabase; then lets the database make calls
  --database NAME    with --to guc: this database, not the one that the SQL is run in
  --generate-secret  makes a new secret instead of reading CRON_SECRET. It is in the SQL, and as a line for .env.local
                     on standard error: it is kept nowhere else
  --drop-previous    does not keep the secret that is replaced, which somebody else may know
  --allow-localhost  takes an address that leads to this machine itself, for a database on the same machine
  --help             prints this

Exit status: 0 and SQL; 1 and no SQL when a value is missing or cannot be used; 2 when the options are wrong.
`;

const urlNames = ['SUPABASE_APP_URL', 'APP_URL', 'NEXT_PUBLIC_APP_URL'];
const secretName = 'CRON_SECRET';
const envFile = '.env.local';
const shortestSecret = 16;

// A value that cannot be used: what is wrong with it, and what to do. Never the secret itself.
class Problem extends Error {}
class UsageError extends Error {}

// --- .env.local --------------------------------------------------------------------------------------------------

// The rules of the npm package dotenv, in which quotes that are not closed, "#" in values and the like mean what they
// mean there. Not util.parseEnv(): Node 18 has none, and it reads some files otherwise.
const blank = '\\s*';
const quoted = ["'", '"', '`'].map((quote) => `${blank}${quote}(?:\\\\${quote}|[^${quote}])*${quote}`);
const assignment = new RegExp(
  `^${blank}(?:export\\s+)?([\\w.-]+)(?:${blank}=\\s*?|:\\s+?)(${quoted.join('|')}|[^#\\r\\n]+)?${blank}(?:#.*)?$`,
  'gm',
);

function parseDotenv(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const [, name = '', raw = ''] of text.replace(/\r\n?/g, '\n').matchAll(assignment)) {
    const trimmed = raw.trim();
    let value = trimmed.replace(/^(['"`])([\s\S]*)\1$/gm, '$2');
    if (trimmed.startsWith('"')) value = value.replace(/\\n/g, '\n').replace(/\\r/g, '\r');
    values.set(name, value);
  }
  return values;
}

function readEnvFile(): Map<string, string> {
  try {
    return parseDotenv(readFileSync(envFile, 'utf8'));
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code === 'ENOENT') return new Map();
    throw new Problem(`${envFile} cannot be read (${String(code)}).`);
  }
}

interface Value {
  name: string;
  text: string;
  fromFile: boolean;
}

// The first of the names that is set to more than blanks. As with dotenv, what the environment has, even if it is empty,
// hides the file's.
function lookUp(names: string[], file: Map<string, string>): Value | undefined {
  for (const name of names) {
    const inEnvironment = process.env[name];
    const text = inEnvironment ?? file.get(name) ?? '';
    if (text.trim() !== '') return { name, text, fromFile: inEnvironment === undefined };
  }
  return undefined;
}

function describe(value: Value): string {
  return `${value.name} ${value.fromFile ? `of ${envFile}` : 'of the environment'}`;
}

// --- the app's address -------------------------------------------------------------------------------------------

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('0.0.0.0');
loopback.addAddress('::1', 'ipv6');
loopback.addAddress('::', 'ipv6');

const privateNetworks = new BlockList();
privateNetworks.addSubnet('127.0.0.0', 8);
privateNetworks.addSubnet('10.0.0.0', 8);
privateNetworks.addSubnet('172.16.0.0', 12);
privateNetworks.addSubnet('192.168.0.0', 16);
privateNetworks.addSubnet('169.254.0.0', 16);
privateNetworks.addSubnet('100.64.0.0', 10);
privateNetworks.addAddress('::1', 'ipv6');
privateNetworks.addSubnet('fe80::', 10, 'ipv6');
privateNetworks.addSubnet('fc00::', 7, 'ipv6');

// `host` as the URL class spells it: in lower case, IPv4 with four decimal numbers, IPv6 in brackets.
function isIn(networks: BlockList, host: string): boolean {
  if (host.startsWith('[')) return networks.check(host.slice(1, -1), 'ipv6');
  return /^[\d.]+$/.test(host) && networks.check(host, 'ipv4');
}

function leadsToThisMachine(host: string): boolean {
  return isIn(loopback, host) || /^(.*\.)?localhost\.?$/.test(host);
}

function staysInPrivateNetworks(host: string): boolean {
  if (host.startsWith('[') || /^[\d.]+$/.test(host)) return isIn(privateNetworks, host);
  return /^[^.]+\.?$/.test(host) || /\.(localhost|internal|local|svc)\.?$/.test(host);
}

// For a message: what stands before an "@" or after a "?" may be a password or a token.
function shown(url: string): string {
  return url
    .replace(/[?#].*$/s, (rest) => `${rest.slice(0, 1)}...`)
    .replace(/^([^:]*:\/\/)?.*@/s, '$1...@')
    .replace(/[^\x21-\x7e]/gu, encodeURI)
    .slice(0, 200);
}

function pathProblem(path: string): string | undefined {
  if (Buffer.byteLength(path) > 2048) return 'is longer than 2048 bytes';
  if (path.includes('//')) return 'holds two slashes in a row';
  if (/%(?![\da-f]{2})/i.test(path)) return 'holds a "%" that two hexadecimal digits do not follow';
  const segments = path.split(/\/|%2f|%5c/i);
  if (segments.some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) return 'holds a segment "." or ".."';
  return undefined;
}

// The address as wee5_cron will take it, or a Problem: the same rules as in the extension, which checks again. Pure ASCII.
function checkUrl(value: Value, allowLocalhost: boolean): string {
  const text = value.text.trim();
  const refuse = (what: string, advice = ''): Problem =>
    new Problem(`${describe(value)}, "${shown(text)}", ${what}.${advice ? ` ${advice}` : ''}`);

  if (/\$\{|:\/\/\$/.test(text)) throw refuse('holds a variable', 'Variables are not expanded here: write the address itself.');
  if (/[\x00-\x20\x7f]/.test(text)) throw refuse('holds a blank or a control character');
  if (text.includes('\\')) throw refuse('holds a backslash');
  if (text.includes('?')) throw refuse('holds a query, from "?" on', 'Leave it out.');
  if (text.includes('#')) throw refuse('holds a fragment, from "#" on', 'Leave it out.');

  const [, scheme = '', authority = '', rest = ''] = /^([^/]*?):\/\/([^/]*)(.*)$/s.exec(text) ?? [];
  if (scheme === '') throw refuse('does not begin with https://', 'Give the scheme too, as in https://app.example.com.');
  if (!/^https?$/i.test(scheme)) throw refuse('is neither https:// nor http://');
  if (authority.includes('@')) throw refuse('holds user information before an "@"', 'Leave it out.');
  if (/[^\x00-\x7f]/.test(authority)) {
    throw refuse('holds a host name that is not ASCII', 'Write the host in its ASCII form, which begins with xn--.');
  }
  const [, host = '', port = ''] = /^(\[[\da-f:.]+(?:%25[\w.~-]+)?\]|[\w.-]+)(?::(\d*))?$/i.exec(authority) ?? [];
  if (host === '') throw refuse('names no host');
  if (port !== '' && (Number(port) < 1 || Number(port) > 65535)) throw refuse('names a port that does not exist');

  const path = rest.replace(/\/$/, '');
  const wrongPath = pathProblem(path);
  if (wrongPath) throw refuse(`has a path that ${wrongPath}`);

  let canonical: string;
  try {
    canonical = new URL(`http://${host.replace(/%25.*\]/, ']')}`).hostname;
  } catch {
    throw refuse('names no host that there can be');
  }
  if (leadsToThisMachine(canonical) && !allowLocalhost) {
    throw refuse(
      'leads to the machine that the database runs on',
      'Set SUPABASE_APP_URL to the address at which the database reaches the app. If both are on one machine, add --allow-localhost.',
    );
  }
  if (/^http$/i.test(scheme) && !staysInPrivateNetworks(canonical)) {
    throw refuse('would send the secret in clear text over a public network', 'Use https.');
  }
  const encoded = path.replace(/[^\w.~!$&'()*+,;=:@/%-]+/g, (characters) =>
    Buffer.from(characters).reduce((out, byte) => `${out}%${byte.toString(16).toUpperCase().padStart(2, '0')}`, ''),
  );
  return `${scheme.toLowerCase()}://${authority}${encoded}`.replace(/\/$/, '');
}

// --- the secret --------------------------------------------------------------------------------------------------

function checkSecret(value: Value): string {
  const { text } = value;
  const refuse = (what: string): Problem =>
    new Problem(
      `${describe(value)} ${what}. Make a new one with --generate-secret, or with "openssl rand -hex 32", and give it to the app, too.`,
    );
  if (text !== text.trim()) throw refuse('has white space around it, which the app would count and a header does not carry');
  if (/[\r\n]/.test(text)) throw refuse('holds a line break, which no HTTP header can carry');
  if (/[\x00-\x1f\x7f]/.test(text)) throw refuse('holds a control character, which no HTTP header can carry');
  if (/[^\x00-\x7f]/.test(text)) throw refuse('holds a character that is not ASCII, which no HTTP header can carry');
  if (text.length < shortestSecret) {
    throw refuse(`has ${text.length} characters; fewer than ${shortestSecret} can be guessed`);
  }
  return text;
}

// --- the SQL -----------------------------------------------------------------------------------------------------

// Means the same whether standard_conforming_strings is on or off: with a backslash in it, the E form does.
function literal(text: string): string {
  const doubled = text.replace(/'/g, "''");
  return text.includes('\\') ? `E'${doubled.replace(/\\/g, '\\\\')}'` : `'${doubled}'`;
}

// A DO block, in a dollar quote that its own text does not end.
function block(body: string): string {
  let tag = '$wee5$';
  for (let n = 1; body.includes(tag); n += 1) tag = `$wee5_${n}$`;
  return `DO ${tag}\n${body}\n${tag};\n`;
}

function configureSql(url: string, secret: string, keepPrevious: boolean): string {
  const choice = keepPrevious ? '' : ', keep_previous => false';
  return `SELECT wee5_cron.configure(${literal(url)}, ${literal(secret)}${choice});\n`;
}

// What configure() does about the secret that it replaces: for a day it is kept as "cron_secret_previous", if it goes to the
// same scheme, host and port. `remember` and `forget` are statements; `document` stands for the value in them.
function previousSecretSql(keepPrevious: boolean, remember: string, forget: string): string {
  return `  previous_step := CASE
    WHEN NOT ${keepPrevious} OR coalesce(old_secret, '') = '' OR old_origin IS DISTINCT FROM new_origin THEN 'forget'
    WHEN old_secret <> new_secret THEN 'remember' END;
  document := json_build_object('secret', old_secret, 'api_url', old_url,
    'until', to_char(now() AT TIME ZONE 'UTC' + interval '24 hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  IF previous_step = 'remember' THEN
    ${remember}
  ELSIF previous_step = 'forget' THEN
    ${forget}
  END IF;`;
}

// Scheme, host and port of an address, without a port that the scheme has anyway.
function originSql(address: string): string {
  const text = `lower(btrim(${address})) || '/'`;
  return `coalesce(substring(${text} FROM '^https://[^/]+?(?=(?::443)?/)'), substring(${text} FROM '^http://[^/]+?(?=(?::80)?/)'))`;
}

function declarations(url: string, secret: string): string {
  return `  new_url constant text := ${literal(url)};
  new_secret constant text := ${literal(secret)};
  new_origin constant text := ${originSql('new_url')};
  old_url text;
  old_secret text;
  old_origin text;
  previous_step text;
  document text;`;
}

function alterDatabaseSql(url: string, secret: string, database: string | undefined, keepPrevious: boolean): string {
  const alter = (setting: string, value: string): string =>
    `EXECUTE format('ALTER DATABASE %I SET app.settings.${setting} = %L', database_name, ${value});`;
  const stored = (setting: string): string =>
    `max(substr(entry, ${`app.settings.${setting}=`.length + 1})) FILTER (WHERE starts_with(entry, 'app.settings.${setting}='))`;
  return block(`DECLARE
  database_name constant text := ${database === undefined ? 'current_database()' : literal(database)};
${declarations(url, secret)}
BEGIN
  SELECT ${stored('api_url')}, ${stored('cron_secret')} INTO old_url, old_secret
  FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) AS entry
  WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = database_name);
  old_origin := ${originSql('old_url')};
  ${alter('api_url', 'new_url')}
  ${alter('cron_secret', 'new_secret')}
${previousSecretSql(
  keepPrevious,
  alter('cron_secret_previous', 'document'),
  `EXECUTE format('ALTER DATABASE %I RESET app.settings.cron_secret_previous', database_name);`,
)}
END`);
}

// What ALTER DATABASE stored would go on counting; in the portable edition Vault counts first.
const warningOfStored = `
    IF EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) AS stored(setting)
               WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
                 AND starts_with(stored.setting, 'app.settings.' || wanted.name || '=')) THEN
      RAISE WARNING 'app.settings.% is also stored by ALTER DATABASE or ALTER ROLE, which counts more than Vault', wanted.name
        USING HINT = format('ALTER DATABASE %I RESET app.settings.%s;', current_database(), wanted.name);
    END IF;`;

// Vault takes a name only once: what is there is updated.
function vaultSql(url: string, secret: string, keepPrevious: boolean, thenWarn: string): string {
  return block(`DECLARE
  wanted record;
  present uuid;
${declarations(url, secret)}
BEGIN
  IF to_regclass('vault.secrets') IS NULL THEN
    RAISE EXCEPTION 'Supabase Vault is not in the database %', current_database()
      USING HINT = 'CREATE EXTENSION supabase_vault; or generate the SQL with --to configure.';
  END IF;
  SELECT max(decrypted_secret) FILTER (WHERE name = 'api_url'), max(decrypted_secret) FILTER (WHERE name = 'cron_secret')
  INTO old_url, old_secret FROM vault.decrypted_secrets;
  old_origin := ${originSql('old_url')};
${previousSecretSql(keepPrevious, 'NULL;', `DELETE FROM vault.secrets WHERE name = 'cron_secret_previous';`)}
  FOR wanted IN
    SELECT *
    FROM (VALUES ('api_url', new_url, 'wee5_cron: where the app is'),
                 ('cron_secret', new_secret, 'wee5_cron: the bearer secret that the app expects'),
                 ('cron_secret_previous', document, 'wee5_cron: the bearer secret that the app expected before'))
         AS v(name, value, description)
    WHERE name <> 'cron_secret_previous' OR previous_step = 'remember'
  LOOP
    SELECT id INTO present FROM vault.secrets WHERE name = wanted.name;
    IF present IS NULL THEN
      PERFORM vault.create_secret(wanted.value, wanted.name, wanted.description);
    ELSE
      PERFORM vault.update_secret(present, wanted.value);
    END IF;${thenWarn}
  END LOOP;
END`);
}

function portableSql(url: string, secret: string, keepPrevious: boolean): string {
  return `BEGIN;\n${vaultSql(url, secret, keepPrevious, '')}SELECT wee5_cron.configure();\nCOMMIT;\n`;
}

// --- the whole ---------------------------------------------------------------------------------------------------

interface Options {
  to: string;
  database: string | undefined;
  generateSecret: boolean;
  dropPrevious: boolean;
  allowLocalhost: boolean;
  help: boolean;
}

function readOptions(args: string[]): Options {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        to: { type: 'string' },
        database: { type: 'string' },
        'generate-secret': { type: 'boolean' },
        'drop-previous': { type: 'boolean' },
        'allow-localhost': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { to = 'configure', database, help = false } = values;
  if (!['configure', 'guc', 'vault', 'portable'].includes(to)) {
    throw new UsageError(`--to takes configure, guc, vault or portable, not "${to}"`);
  }
  if (database !== undefined && to !== 'guc') throw new UsageError('--database goes with --to guc; else connect to that database');
  if (database === '') throw new UsageError('--database needs a name');
  // PostgreSQL would cut it, and perhaps find another one.
  if (Buffer.byteLength(database ?? '') > 63) throw new UsageError('the name of a database has at most 63 bytes');
  return {
    to,
    database,
    generateSecret: values['generate-secret'] ?? false,
    dropPrevious: values['drop-previous'] ?? false,
    allowLocalhost: values['allow-localhost'] ?? false,
    help,
  };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

// Both values, or all that is wrong with them at once.
function readValues(options: Options): { url: string; secret: string } {
  const file = readEnvFile();
  const problems: string[] = [];
  const checked = (check: () => string): string => {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problems.push(error.message);
      return '';
    }
  };

  const url = checked(() => {
    const value = lookUp(urlNames, file);
    if (value) return checkUrl(value, options.allowLocalhost);
    throw new Problem(
      `The app's address is not set: ${urlNames.join(', ')} are missing or empty, in the environment and in ${envFile}. ` +
        'Set one of them, to an address such as https://app.example.com.',
    );
  });
  const secret = checked(() => {
    if (options.generateSecret) return randomBytes(32).toString('hex');
    const value = lookUp([secretName], file);
    if (!value) {
      throw new Problem(
        `The secret is not set: ${secretName} is missing or empty, in the environment and in ${envFile}. ` +
          'Set it to the one that the app expects, or make one with --generate-secret.',
      );
    }
    const text = checkSecret(value);
    if (value.fromFile && text.includes('$')) {
      say(`# Note: ${describe(value)} holds a "$". Next.js expands variables in that file, and the app may see another secret.`);
    }
    return text;
  });
  if (problems.length > 0) throw new Problem(problems.join('\n'));
  return { url, secret };
}

function generate(options: Options): void {
  const { url, secret } = readValues(options);
  if (options.generateSecret) {
    say(`# A new secret. Put it into ${envFile} and into the app's environment; it is kept nowhere else:`);
    say(`${secretName}=${secret}`);
  }
  const keepPrevious = !options.dropPrevious;
  switch (options.to) {
    case 'guc':
      process.stdout.write(alterDatabaseSql(url, secret, options.database, keepPrevious));
      break;
    case 'vault':
      process.stdout.write(vaultSql(url, secret, keepPrevious, warningOfStored));
      break;
    case 'portable':
      process.stdout.write(portableSql(url, secret, keepPrevious));
      break;
    default:
      process.stdout.write(configureSql(url, secret, keepPrevious));
  }
}

// Returns the exit status.
function main(args: string[]): number {
  try {
    const options = readOptions(args);
    if (options.help) process.stdout.write(usage);
    else generate(options);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      say(`${error.message}\nSee --help.`);
      return 2;
    }
    if (error instanceof Problem) {
      say(error.message);
      return 1;
    }
    throw error;
  }
}

process.exitCode = main(process.argv.slice(2));
