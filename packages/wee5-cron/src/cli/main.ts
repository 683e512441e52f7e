#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import type { Change, CronClient } from '../client.js';
import { call } from './call.js';
import { Complaint, print, say } from './complaint.js';
import { main as config } from './config.js';
import { inDatabase } from './database.js';
import { importVercel } from './vercel.js';

const usage = `usage: npx wee5-cron <command>

  sql                   prints the portable edition of wee5_cron, for a migration
  config [options]      prints the SQL that tells the database where the app is, and its secret; see config --help
  plan [file]           says what apply would change. Exit status 2: something would change
  apply [file]          brings the jobs of the database in line with the file, by default wee5-cron.json
      --prune                     removes the jobs that apply made and that the file no longer has
      --without-pg-cron notice    for a shadow database, where pg_cron is missing
  export                prints the jobs of the database as such a file
  import [vercel.json]  makes such a file from vercel.json. Exit status 2: something was left out
  doctor                says what is wrong with the installation, and what to do. Exit status 1: there is an error
      --all                       also what is right
  call <path>           calls a route of your app as wee5_cron does
      --origin URL                by default http://localhost:3000
      --method METHOD, --body JSON, --job NAME, --timeout SECONDS

plan, apply, export and doctor connect to DATABASE_URL with the package "pg" of your app. Without either they print the SQL
and exit with status 3; with --sql they only print it. call sends CRON_SECRET. Both variables are read from the environment, or
else from .env.local.

Results go to standard output, everything else to standard error.
`;

type Values = Record<string, string | boolean | undefined>;
interface Command {
  readonly options?: Record<string, { type: 'string' | 'boolean' }>;
  // How many arguments it takes at most.
  readonly arguments: number;
  readonly run: (argument: string | undefined, values: Values) => Promise<number> | number;
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Complaint(`${file} cannot be read (${String((error as { code?: unknown }).code)}).`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Complaint(`${file} is no JSON: ${(error as Error).message}`);
  }
}

function literal(text: string): string {
  const doubled = text.replaceAll("'", "''");
  return doubled.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

function printChanges(changes: readonly Change[]): void {
  for (const { action, job_name, detail } of changes) print(`${action.padEnd(6)}  ${job_name}${detail ? `  ${detail}` : ''}`);
}

const withSql = { sql: { type: 'boolean' } } as const;

function plan(file = 'wee5-cron.json', values: Values): Promise<number> {
  const document = readJson(file);
  return inDatabase(`SELECT * FROM wee5_cron.plan(${literal(JSON.stringify(document))});`, values['sql'] === true, async (cron) => {
    const changes = await cron.plan(document);
    printChanges(changes);
    return changes.some(({ action }) => action !== 'keep') ? 2 : 0;
  });
}

function apply(file = 'wee5-cron.json', values: Values): Promise<number> {
  const document = readJson(file);
  const prune = values['prune'] === true;
  const without = values['without-pg-cron'] ?? 'error';
  if (without !== 'error' && without !== 'notice') throw new Complaint('--without-pg-cron takes error or notice.', 2);
  const choices = `${prune ? ', prune => true' : ''}${without === 'notice' ? ", without_pg_cron => 'notice'" : ''}`;
  const sql = `SELECT * FROM wee5_cron.apply(${literal(JSON.stringify(document))}${choices});`;
  return inDatabase(sql, values['sql'] === true, async (cron) => {
    printChanges(await cron.apply(document, { prune, withoutPgCron: without }));
    return 0;
  });
}

function exportJobs(_: string | undefined, values: Values): Promise<number> {
  return inDatabase('SELECT jsonb_pretty(wee5_cron.export_config());', values['sql'] === true, async (cron) => {
    print(JSON.stringify(await cron.exportConfig(), null, 2));
    return 0;
  });
}

function importJobs(file = 'vercel.json'): number {
  const document = readJson(file);
  let imported;
  try {
    imported = importVercel(document);
  } catch (error) {
    throw new Complaint(`${file}: ${(error as Error).message}.`);
  }
  print(JSON.stringify(imported.config, null, 2));
  for (const line of imported.leftOut) say(`Left out ${line}.`);
  if (Object.keys(imported.config.jobs).length > 0) {
    say('When wee5_cron calls these paths, remove them from vercel.json: otherwise both call them. Vercel keeps the time in UTC, as pg_cron does unless cron.timezone is set.');
  }
  return imported.leftOut.length > 0 ? 2 : 0;
}

async function examine(cron: CronClient, all: boolean): Promise<number> {
  const findings = await cron.doctor();
  const shown = findings.filter(({ status }) => all || status !== 'ok');
  for (const { status, check_name, detail, hint } of shown) print(`${status.padEnd(7)}  ${check_name}: ${detail}${hint ? `\n         ${hint.replaceAll('\n', '\n         ')}` : ''}`);
  say(shown.length === 0 ? `All ${findings.length} checks are ok.` : `${findings.length} checks, ${findings.filter(({ status }) => status !== 'ok').length} of them not ok.`);
  return findings.some(({ status }) => status === 'error') ? 1 : 0;
}

function doctor(_: string | undefined, values: Values): Promise<number> {
  return inDatabase("SELECT * FROM wee5_cron.doctor() WHERE status <> 'ok';", values['sql'] === true, (cron) => examine(cron, values['all'] === true));
}

function callRoute(path: string | undefined, values: Values): Promise<number> {
  if (path === undefined) throw new Complaint('call takes the path of a route, as in: npx wee5-cron call /api/cron/digest', 2);
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined);
  const timeout = Number(text('timeout') ?? 60);
  if (!(timeout > 0 && timeout <= 86_400)) throw new Complaint('--timeout takes a number of seconds.', 2);
  const [job, body] = [text('job'), text('body')];
  const method = (text('method') ?? (body === undefined ? 'GET' : 'POST')).toUpperCase();
  return call(path, { origin: text('origin') ?? 'http://localhost:3000', method, timeout, ...(job !== undefined && { job }), ...(body !== undefined && { body }) });
}

const commands: Record<string, Command> = {
  sql: { arguments: 0, run: () => (print(readFileSync(fileURLToPath(new URL('../../wee5_cron--portable.sql', import.meta.url)), 'utf8')), 0) },
  plan: { arguments: 1, options: withSql, run: plan },
  apply: { arguments: 1, options: { ...withSql, prune: { type: 'boolean' }, 'without-pg-cron': { type: 'string' } }, run: apply },
  export: { arguments: 0, options: withSql, run: exportJobs },
  import: { arguments: 1, run: importJobs },
  doctor: { arguments: 0, options: { ...withSql, all: { type: 'boolean' } }, run: doctor },
  call: { arguments: 1, options: { origin: { type: 'string' }, method: { type: 'string' }, body: { type: 'string' }, job: { type: 'string' }, timeout: { type: 'string' } }, run: callRoute },
};

// A command line is seen by others on the machine, and is kept in the history of a shell.
function refuseSecrets(args: readonly string[]): void {
  if (args.some((arg) => /\bpostgres(ql)?:\/\//i.test(arg))) throw new Complaint('Give the address of the database as DATABASE_URL, not as an argument: others can see arguments.', 2);
}

async function run(args: string[]): Promise<number> {
  const [name = '', ...rest] = args;
  if (name === '--help' || name === '-h' || name === 'help') return print(usage), 0;
  refuseSecrets(args);
  if (name === 'config') return config(rest);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) throw new Complaint(name === '' ? usage : `There is no command "${name}". See npx wee5-cron --help.`, 2);
  let parsed;
  try {
    parsed = parseArgs({ args: rest, allowPositionals: true, options: { help: { type: 'boolean', short: 'h' }, ...command.options } });
  } catch (error) {
    throw new Complaint(`${(error as Error).message}\nSee npx wee5-cron --help.`, 2);
  }
  if (parsed.values['help']) return print(usage), 0;
  if (parsed.positionals.length > command.arguments) throw new Complaint(`${name} does not take "${parsed.positionals[command.arguments]}".`, 2);
  return command.run(parsed.positionals[0], parsed.values as Values);
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Complaint)) throw error;
  say(error.message);
  process.exitCode = error.status;
}
