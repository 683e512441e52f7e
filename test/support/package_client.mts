// Calls every method of the client of packages/wee5-cron, once with each driver. For the TAP tests: prints "ok - ..." or
// "not ok - ..." for each, and exits with 1 if a driver failed.
//
//   DATABASE_URL=postgres://... tsx package_client.mts
import { createRequire } from 'node:module';

import { CronClient, fromPg, fromPostgres } from '../../packages/wee5-cron/src/client.ts';
import { useAll } from './all_of_the_client.mts';

const installed = createRequire(new URL('../scripts/package.json', import.meta.url));
const url = new URL(process.env['DATABASE_URL'] ?? '');
const host = url.searchParams.get('host') ?? '';
const port = Number(url.searchParams.get('port'));
const user = url.searchParams.get('user') ?? '';
const database = url.pathname.slice(1);

const { Pool } = installed('pg');
const pool = new Pool({ host, port, user, database });
const sql = installed('postgres')({ host, port, user, database, onnotice: () => {} });

let failed = false;
for (const [name, query] of Object.entries({ pg: fromPg(pool), 'postgres.js': fromPostgres(sql) })) {
  try {
    await useAll(new CronClient({ query }), `/client?driver=${name}`);
    console.log(`ok - ${name}`);
  } catch (error) {
    failed = true;
    console.log(`not ok - ${name}: ${(error as Error).stack}`);
  }
}
await pool.end();
await sql.end();
process.exitCode = failed ? 1 : 0;
