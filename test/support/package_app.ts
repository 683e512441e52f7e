// An app on packages/wee5-cron, for the TAP tests. Its work waits for the advisory lock 207, and leaves a row in the table
// `work`.
//
//   CRON_SECRET=... DATABASE_URL=postgres://... tsx package_app.ts
//
// Prints "listening PORT". Runs until its standard input ends.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

import { cron, type Query, type Run } from '../../packages/wee5-cron/src/express.ts';

const { Pool } = createRequire(new URL('../scripts/package.json', import.meta.url))('pg');
const pool = new Pool({ connectionString: process.env['DATABASE_URL'] });
// The server may end before the app.
pool.on('error', () => {});
const query: Query = async (sql, params) => (await pool.query(sql, params)).rows;

async function work(run: Run): Promise<void> {
  await query('WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(207)) INSERT INTO work SELECT $1 FROM held', [run.path]);
}

const routes: Record<string, ReturnType<typeof cron>> = {
  '/once': cron(work, { once: true, query }),
  '/once-that-fails': cron(() => { throw new RangeError('the secret of the app'); }, { once: true, query }),
  '/later': cron((run) => run.later(() => work(run)), { query }),
  '/client': cron(() => ({ ok: true })),
  '/later-that-fails': cron((run) => run.later(async () => { throw new RangeError('the secret of the app'); }), { query }),
};

const server = createServer((request, response) => {
  const route = routes[new URL(request.url ?? '/', 'http://localhost').pathname];
  if (route) void route(request, response);
  else response.writeHead(404).end();
});
process.stdin.on('end', () => process.exit(0)).resume();
server.listen(0, '127.0.0.1', () => console.log(`listening ${(server.address() as { port: number }).port}`));
