import { cron } from 'wee5-cron/next';

import { pool, query } from '@/lib/db';

export const dynamic = 'force-dynamic';

// The work takes longer than a request should: the answer is 202, and the database hears how it ended.
export const GET = cron((run) => {
  // The day that the run is for, not today: a late or repeated call still counts the right one.
  const day = (run.scheduledAt ?? new Date()).toISOString().slice(0, 10);
  return run.later(async () => {
    await pool.query(
      `INSERT INTO daily_numbers (day, users) SELECT $1::date, count(*) FROM users
       ON CONFLICT (day) DO UPDATE SET users = excluded.users`,
      [day],
    );
  });
}, { query });
