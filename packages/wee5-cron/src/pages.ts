import { isResponse, json, uncached } from './answer.js';
import type { Database } from './claims.js';
import { CronClient } from './client.js';

// Whether this request may see the page: true, or the answer to send instead, such as a redirect to the login.
export type Authorize = (request: Request) => boolean | Response | Promise<boolean | Response>;

export interface StatusPageOptions extends Database {
  readonly authorize: Authorize;
  readonly title?: string;
}

export interface HealthOptions extends Database {
  // Without it, or where it refuses, the answer says only whether all is well: the names of jobs are not for everybody.
  readonly authorize?: Authorize;
  // As the argument of health(): '5 minutes' by default.
  readonly maxQueueAge?: string;
}

type Route = (request: Request) => Promise<Response>;

// Beyond the policy that the page itself carries: no frame shows it, no search engine lists it, no link tells its address.
const pageHeaders = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': "frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Robots-Tag': 'noindex',
  'Referrer-Policy': 'no-referrer',
};

function onlyReads(request: Request): Response | undefined {
  if (request.method === 'GET' || request.method === 'HEAD') return undefined;
  const allow = { Allow: 'GET, HEAD, OPTIONS' };
  return request.method === 'OPTIONS' ? new Response(null, { status: 204, headers: allow }) : json(405, { error: 'This route takes GET.' }, allow);
}

// HEAD has the status and the headers of GET, and no body.
function without(request: Request, answer: Response): Response {
  return uncached(request.method === 'HEAD' ? new Response(null, answer) : answer);
}

function failed(route: string, error: unknown): Response {
  console.error(`wee5-cron: ${route} failed:`, error);
  return json(503, { ok: false, error: 'The database did not answer. The log of this app has the error.' });
}

// A route that shows status_page() of the database to whom `authorize` lets in.
export function statusPage(options: StatusPageOptions): Route {
  if (typeof options?.authorize !== 'function') throw new TypeError('statusPage() needs the option "authorize"');
  const client = new CronClient(options);
  return async (request) => {
    const refused = onlyReads(request);
    if (refused) return uncached(refused);
    const allowed = await options.authorize(request);
    if (isResponse(allowed)) return uncached(allowed);
    if (allowed !== true) return uncached(json(401, { error: 'Log in to see this page.' }));
    try {
      return without(request, new Response(await client.statusPage(options.title), { headers: pageHeaders }));
    } catch (error) {
      return uncached(failed('statusPage()', error));
    }
  };
}

// A route for an uptime check: 200 where all is well, else 503.
export function health(options: HealthOptions): Route {
  const client = new CronClient(options);
  return async (request) => {
    const refused = onlyReads(request);
    if (refused) return uncached(refused);
    try {
      const state = await client.health(options.maxQueueAge);
      const mayKnow = (await options.authorize?.(request)) === true;
      return without(request, json(state.ok ? 200 : 503, mayKnow ? state : { ok: state.ok }));
    } catch (error) {
      return without(request, failed('health()', error));
    }
  };
}
