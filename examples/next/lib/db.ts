import { Pool } from 'pg';
import { fromPg } from 'wee5-cron/next';

// The pool connects at the first query, so that `next build` needs no database.
export const pool = new Pool({ connectionString: process.env.DATABASE_URL });

// A connection that breaks while nobody uses it is no reason to end the app: the pool opens another one.
pool.on('error', (error) => console.error('a connection to the database broke:', error.message));

export const query = fromPg(pool);
