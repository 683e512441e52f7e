import { join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { defineConfig } from 'prisma/config';

// engine: Prisma's schema engine in WebAssembly. npm has no other. It connects by @prisma/adapter-pg, which in this version lacks
// three things that a schema engine needs: the types of system catalogs, scripts with function bodies, and a shadow database
// without connections when it is dropped.

const url = new URL(process.env['DATABASE_URL'] ?? '');
const project = process.env['PROJECT'] ?? '.';

type Result = { fields?: Array<{ dataTypeID: number }> } | undefined;
type Callback = (error: unknown, result: Result) => void;

// "char" and name are text.
function asText(result: Result): Result {
  for (const field of result?.fields ?? []) if (field.dataTypeID === 18 || field.dataTypeID === 19) field.dataTypeID = 25;
  return result;
}

class Client extends pg.Client {
  override query(...args: unknown[]): never {
    const callback = args.at(-1);
    const query = super.query.bind(this) as (...all: unknown[]) => unknown;
    if (typeof callback !== 'function') return (query(...args) as Promise<Result>).then(asText) as never;
    return query(...args.slice(0, -1), (error: unknown, result: Result) => (callback as Callback)(error, asText(result))) as never;
  }
}

async function connect(database: string, disposed: () => Promise<unknown>) {
  // The parts of the address, because a whole one would win over the name of the database.
  const pool = new pg.Pool({ host: url.searchParams.get('host') ?? '', port: Number(url.port), user: url.username, database, Client } as pg.PoolConfig);
  const adapter = await new PrismaPg(pool).connect();
  const executeScript = async (script: string) => void (await pool.query(script));
  return Object.assign(adapter, { executeScript, dispose: async () => { await pool.end(); await disposed(); } });
}

const database = url.pathname.slice(1);
const adapter = {
  provider: 'postgres' as const,
  adapterName: '@prisma/adapter-pg',
  connect: () => connect(database, async () => undefined),
  connectToShadowDb: async () => {
    const shadow = `prisma_migrate_shadow_db_${crypto.randomUUID()}`;
    const main = await connect(database, async () => undefined);
    await main.executeScript(`CREATE DATABASE "${shadow}"`);
    return connect(shadow, async () => {
      await main.executeScript(`DROP DATABASE "${shadow}"`);
      await main.dispose();
    });
  },
};

export default defineConfig({
  engine: 'js',
  experimental: { adapter: true },
  schema: join(project, 'schema.prisma'),
  migrations: { path: join(project, 'migrations') },
  adapter: async () => adapter,
});
