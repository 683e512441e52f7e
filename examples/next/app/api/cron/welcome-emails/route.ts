import { cron } from 'wee5-cron/next';

import { pool, query } from '@/lib/db';

export const dynamic = 'force-dynamic';

// Nobody is to get two e-mails: a call that comes again does not run this.
export const GET = cron(async () => {
  const { rows } = await pool.query<{ email: string }>('SELECT email FROM users WHERE welcomed_at IS NULL ORDER BY id LIMIT 100');
  for (const { email } of rows) {
    console.log(`welcome, ${email}`); // A real app sends an e-mail here.
    await pool.query('UPDATE users SET welcomed_at = now() WHERE email = $1', [email]);
  }
  return { sent: rows.length };
}, { query, once: true });
