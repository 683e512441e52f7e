import { cron } from 'wee5-cron/next';

// This needs no database, so it can run on the Edge runtime. Next.js advises against that runtime now, but has it still.
export const runtime = 'edge';
export const dynamic = 'force-dynamic';

export const GET = cron((run) => {
  // A real app calls the API of its content network here.
  return { purged: true, attempt: run.attempt };
});
