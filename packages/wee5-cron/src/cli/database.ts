import { createRequire } from 'node:module';
import { join } from 'node:path';

import { CronClient, fromPg, type PgLike } from '../client.js';
import { Complaint, print, say } from './complaint.js';
import { environment } from './environment.js';

interface PgClient extends PgLike {
  connect(): Promise<void>;
  end(): Promise<void>;
  on(event: 'notice', listener: (notice: { message?: string; hint?: string }) => void): void;
}

interface Pg {
  Client: new (options: { connectionString: string; application_name: string }) => PgClient;
}

// The package `pg` of the app in the current directory; this package brings none.
function findPg(): Pg | undefined {
  try {
    return createRequire(join(process.cwd(), 'package.json'))('pg') as Pg;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

// Runs the work in the database. Where it cannot connect, or is asked not to, it prints the SQL that a person runs instead.
export async function inDatabase(sql: string, onlySql: boolean, work: (cron: CronClient) => Promise<number>): Promise<number> {
  const url = environment('DATABASE_URL');
  const pg = onlySql ? undefined : findPg();
  if (pg === undefined || url === undefined) {
    print(sql);
    if (onlySql) return 0;
    say(`${pg === undefined ? 'The package "pg" is not installed here' : 'DATABASE_URL is not set'}, so this is the SQL to run yourself. Nothing was done.`);
    return 3;
  }
  const client = new pg.Client({ connectionString: url, application_name: 'wee5-cron' });
  client.on('notice', ({ message, hint }) => say(`NOTICE: ${message}${hint ? `\nHINT: ${hint}` : ''}`));
  try {
    await client.connect();
    return await work(new CronClient({ query: fromPg(client) }));
  } catch (error) {
    if (error instanceof Complaint) throw error;
    throw new Complaint(inWords(error));
  } finally {
    await client.end().catch(() => undefined);
  }
}

// Only the message and the hint: what else an error holds may include the address with its password.
function inWords(error: unknown): string {
  const { message, code, hint, errors } = error as { message?: string; code?: string; hint?: string; errors?: Error[] };
  const text = message || errors?.map((each) => each.message).join('; ') || String(code);
  const known = code === '42883' || code === '3F000' ? 'Is wee5_cron installed in this database?' : undefined;
  return [text, hint ?? known].filter(Boolean).join('\n');
}
