import { statusPage } from 'wee5-cron/next';

import { isAdmin } from '@/lib/admin';
import { query } from '@/lib/db';

export const dynamic = 'force-dynamic';
export const GET = statusPage({
  query,
  title: 'Jobs of the activities app',
  authorize: (request) => isAdmin(request) || new Response(null, { status: 303, headers: { Location: '/login' } }),
});
