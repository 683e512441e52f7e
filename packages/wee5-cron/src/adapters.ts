import type { Arguments, Query, Row } from './claims.js';

// What is used of a Pool or Client of `pg`, or of what imitates it: @neondatabase/serverless, @vercel/postgres, PGlite.
export interface PgLike {
  query(sql: string, params: unknown[]): Promise<{ rows: unknown[] }>;
}

// What is used of a connection of `postgres`, also known as postgres.js.
export interface PostgresLike {
  unsafe(sql: string, params: never[]): PromiseLike<Iterable<unknown>>;
}

// What is used of a client of Prisma, or of its transaction.
export interface PrismaLike {
  $queryRawUnsafe(sql: string, ...params: unknown[]): PromiseLike<unknown>;
}

// What is used of a client of supabase-js.
export interface SupabaseLike {
  schema(name: string): { rpc(name: string, args?: Arguments): PromiseLike<{ data: unknown; error: object | null }> };
}

// For `pg`, and for Drizzle on it: fromPg(db.$client).
export function fromPg(pool: PgLike): Query {
  return async (sql, params) => (await pool.query(sql, params)).rows as Row[];
}

// For postgres.js, and for Drizzle on it: fromPostgres(db.$client). The connections of a pooler may differ from one statement
// to the next, so nothing is prepared by name: `unsafe` does not.
export function fromPostgres(sql: PostgresLike): Query {
  return async (text, params) => [...(await sql.unsafe(text, params as never[]))] as Row[];
}

export function fromPrisma(prisma: PrismaLike): Query {
  return async (sql, params) => (await prisma.$queryRawUnsafe(sql, ...params)) as Row[];
}

// supabase-js runs no SQL, so this calls the functions of the schema that expose_api() created. The client needs the key of the
// role that expose_api() named, which only your server has.
export function fromSupabase(supabase: SupabaseLike, schema = 'wee5_cron_public'): Query {
  const rpc = async (name: string, args: Arguments): Promise<unknown> => {
    const { data, error } = await supabase.schema(schema).rpc(name, args);
    if (error === null) return data;
    throw error instanceof Error ? error : Object.assign(new Error(`wee5-cron: ${name}() failed`), error);
  };
  const query = () => Promise.reject(new Error('wee5-cron: supabase-js runs no SQL'));
  return Object.assign(query, { rpc });
}
