export type Row = Readonly<Record<string, unknown>>;
export type Arguments = Readonly<Record<string, unknown>>;
// Runs a statement with its parameters ($1, $2 …) and returns its rows.
export interface Query {
  (sql: string, params: unknown[]): Promise<readonly Row[]>;
  // Calls a function that expose_api() created, for clients that run no SQL. Returns its result as JSON has it.
  readonly rpc?: (name: string, args: Arguments) => Promise<unknown>;
}

export interface Database {
  readonly query: Query;
  // Where wee5_cron is installed; 'wee5_cron' by default.
  readonly schema?: string;
}

export type Claim = 'new' | 'running' | 'done';

export function nameOf(database: Database, name: string): string {
  const schema = database.schema ?? 'wee5_cron';
  return `"${schema.replaceAll('"', '""')}".${name}`;
}

// Parameters are text that PostgreSQL casts: drivers write values of other types each in their own way.
export async function claim(database: Database, key: string, lease: string): Promise<Claim> {
  const { query } = database;
  const answer = query.rpc
    ? await query.rpc('claim', { idempotency_key: key, lease })
    : (await query(`SELECT ${nameOf(database, 'claim')}($1::text::uuid, $2::text::interval) AS claim`, [key, lease]))[0]?.['claim'];
  if (answer === 'new' || answer === 'running' || answer === 'done') return answer;
  throw new Error(`wee5-cron: claim() answered ${JSON.stringify(answer)}`);
}

// Tells the database how the work of a key ended. False where no call waited for it any more.
export async function complete(database: Database, key: string, ok: boolean, note: string | null = null): Promise<boolean> {
  const { query } = database;
  if (query.rpc) return (await query.rpc('complete', { idempotency_key: key, ok, note })) === true;
  const rows = await query(`SELECT ${nameOf(database, 'complete')}($1::text::uuid, $2::text::boolean, $3::text) AS completed`, [key, String(ok), note]);
  return rows[0]?.['completed'] === true;
}
