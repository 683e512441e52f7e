import { health } from 'wee5-cron/next';

import { query } from '@/lib/db';

export const dynamic = 'force-dynamic';
export const GET = health({ query });
