import { cron, retryAfter } from 'wee5-cron/next';

import { pool } from '@/lib/db';

interface Activity {
  id: string;
  title: string;
}

export const dynamic = 'force-dynamic';

// Running this twice does no harm. The signal ends the request to the provider when the database no longer waits for us.
export const GET = cron(async (run) => {
  const answer = await fetch(new URL('/activities', process.env.ACTIVITIES_URL), { signal: run.deadline, cache: 'no-store' });
  if (answer.status === 429) return retryAfter(60);
  if (!answer.ok) throw new Error(`the provider answered ${answer.status}`);
  const activities = (await answer.json()) as Activity[];
  const { rowCount } = await pool.query(
    `INSERT INTO activities (id, title) SELECT id, title FROM jsonb_to_recordset($1::jsonb) AS new (id text, title text)
     ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
    [JSON.stringify(activities)],
  );
  return { activities: rowCount };
});
