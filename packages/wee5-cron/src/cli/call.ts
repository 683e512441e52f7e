import { randomUUID } from 'node:crypto';

import { Complaint, print, say } from './complaint.js';
import { environment } from './environment.js';

export interface CallOptions {
  readonly origin: string;
  readonly method: string;
  readonly job?: string;
  readonly body?: string;
  // In seconds.
  readonly timeout: number;
}

function isLocal(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);
}

// The address, if the secret may go there.
function addressOf(path: string, origin: string): URL {
  if (!path.startsWith('/') || path.startsWith('//')) throw new Complaint(`A path begins with one "/", as in /api/cron/digest; not "${path}".`, 2);
  let url: URL;
  try {
    url = new URL(origin);
  } catch {
    throw new Complaint(`--origin takes an address such as http://localhost:3000, not "${origin}".`, 2);
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal(url.hostname))) {
    throw new Complaint('--origin takes https, or http on this machine: the call carries the secret.', 2);
  }
  return new URL(`${url.pathname.replace(/\/$/, '')}${path}`, url.origin);
}

function headersOf(secret: string, options: CallOptions): Record<string, string> {
  return {
    Authorization: `Bearer ${secret}`,
    'User-Agent': 'wee5_cron (npx wee5-cron call)',
    'Cache-Control': 'no-cache',
    'Idempotency-Key': randomUUID(),
    'X-Wee5-Cron-Attempt': '1',
    'X-Wee5-Cron-Timeout-Ms': String(Math.round(options.timeout * 1000)),
    ...(options.body !== undefined && { 'Content-Type': 'application/json' }),
    ...(options.job !== undefined && {
      // Bytes of UTF-8, as the database sends them.
      'X-Wee5-Cron-Job': Buffer.from(options.job).toString('latin1'),
      'X-Wee5-Cron-Scheduled-At': new Date(Math.floor(Date.now() / 60_000) * 60_000).toISOString().replace('.000', ''),
    }),
  };
}

// Calls a route as wee5_cron does, from this machine: for an app in development. Prints the answer.
export async function call(path: string, options: CallOptions): Promise<number> {
  const url = addressOf(path, options.origin);
  const secret = environment('CRON_SECRET');
  if (secret === undefined) throw new Complaint('CRON_SECRET is not set, in the environment or in .env.local.');
  let answer: Response;
  const begun = Date.now();
  try {
    answer = await fetch(url, {
      method: options.method,
      headers: headersOf(secret, options),
      redirect: 'manual',
      signal: AbortSignal.timeout(options.timeout * 1000),
      ...(options.body !== undefined && { body: options.body }),
    });
    print(await answer.text());
  } catch (error) {
    const { name, message, cause } = error as { name: string; message: string; cause?: { message?: string; code?: string } };
    const reason = name === 'TimeoutError' ? `there was no answer in ${options.timeout} s` : cause?.message || cause?.code || message;
    throw new Complaint(`${options.method} ${url.href} failed: ${reason}`);
  }
  const accepted = answer.status === 202 && answer.headers.get('wee5-cron') === 'accepted' ? ', and the work goes on' : '';
  say(`${options.method} ${url.href}: ${answer.status}${accepted}, in ${Date.now() - begun} ms`);
  if (answer.status >= 300 && answer.status < 400) say(`It redirects to ${answer.headers.get('location')}. wee5_cron follows no redirect.`);
  return answer.ok ? 0 : 1;
}
