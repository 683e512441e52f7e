export type Row = Readonly<Record<string, unknown>>;
// Runs a statement with its parameters ($1, $2 …) and returns its rows.
export type Query = (sql: string, params: unknown[]) => Promise<readonly Row[]>;

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

export async function claim(database: Database, key: string, lease: string): Promise<Claim> {
  const rows = await database.query(`SELECT ${nameOf(database, 'claim')}($1::uuid, $2::interval) AS claim`, [key, lease]);
  const answer = rows[0]?.['claim'];
  if (answer === 'new' || answer === 'running' || answer === 'done') return answer;
  throw new Error(`wee5-cron: claim() answered ${JSON.stringify(answer)}`);
}

// Tells the database how the work of a key ended. False where no call waited for it any more.
export async function complete(database: Database, key: string, ok: boolean, note: string | null = null): Promise<boolean> {
  const rows = await database.query(`SELECT ${nameOf(database, 'complete')}($1::uuid, $2::boolean, $3::text) AS completed`, [key, ok, note]);
  return rows[0]?.['completed'] === true;
}
