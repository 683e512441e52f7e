// What the tests share: requests as wee5_cron and others send them, and a database that remembers.

import type { Query } from '../src/index.js';

export const secret = 'the secret of these tests';
export const previous = 'the previous secret';
export const key = '0f8fad5b-d9cb-469f-a165-70867728950e';

// The headers of an attempt of wee5_cron.
export const attempt = {
  authorization: `Bearer ${secret}`,
  'user-agent': 'wee5_cron/0.2.0',
  'cache-control': 'no-cache',
  'idempotency-key': key,
  'x-wee5-cron-invocation': '9007199254740993',
  'x-wee5-cron-attempt': '2',
  'x-wee5-cron-timeout-ms': '60000',
  'x-wee5-cron-job': 'digest',
  'x-wee5-cron-scheduled-at': '2026-11-29T09:00:00Z',
  'x-vercel-cron-schedule': '0 9 * * *',
};
export const vercelCron = { authorization: `Bearer ${secret}`, 'user-agent': 'vercel-cron/1.0', 'x-vercel-cron-schedule': '0 5 * * *' };
export const handWritten = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };

export function request(headers: Record<string, string> = attempt, init: RequestInit = {}, path = '/api/cron/digest?shard=2'): Request {
  return new Request(`https://app.example${path}`, { ...init, headers });
}

export interface Remembering {
  readonly query: Query;
  readonly statements: Array<{ sql: string; params: unknown[] }>;
  // Resolves when complete() has been called.
  readonly completed: Promise<unknown[]>;
}

// A database that only records statements. The tests with a real one are in test/t.
export function database(states: string[] = ['new'], failing: RegExp = /$^/): Remembering {
  const statements: Remembering['statements'] = [];
  let tell: (params: unknown[]) => void;
  const completed = new Promise<unknown[]>((resolve) => (tell = resolve));
  return {
    statements,
    completed,
    query: async (sql, params) => {
      statements.push({ sql, params });
      if (failing.test(sql)) throw new Error('the database is away');
      if (/\.claim\(/.test(sql)) return [{ claim: states.length > 1 ? states.shift() : states[0] }];
      tell(params);
      return [{ completed: true }];
    },
  };
}

// Runs the function, and catches what console writes.
export async function quietly<T>(run: () => Promise<T>): Promise<{ result: T; written: string }> {
  const kept = { error: console.error, warn: console.warn };
  let written = '';
  console.error = console.warn = (...parts: unknown[]) => (written += `${parts.map(String).join(' ')}\n`);
  try {
    return { result: await run(), written };
  } finally {
    Object.assign(console, kept);
  }
}
