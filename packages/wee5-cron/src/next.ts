import { checkOptions, receive, type CronOptions, type Handler } from './receiver.js';
import type { WaitUntil } from './later.js';

export { health, statusPage } from './pages.js';
export * from './shared.js';

// Where Next.js, and Vercel below it, keep what belongs to the request that is being served.
const contexts = ['@next/request-context', '@vercel/request-context'].map((name) => Symbol.for(name));
type RequestContext = { get?: () => { waitUntil?: WaitUntil } | undefined };

async function findAfter(): Promise<WaitUntil | undefined> {
  try {
    return (await import('next/server')).after;
  } catch {
    return undefined;
  }
}

let found: Promise<WaitUntil | undefined> | undefined;

// after() keeps the work alive on every platform, also while `next start` shuts down. Without it, the context of the platform does.
function waitUntilBy(after: WaitUntil | undefined): WaitUntil {
  return (promise) => {
    try {
      if (after) return after(promise);
    } catch {
      // Not in a request of Next.js, as in a test of the app that calls the route itself.
    }
    for (const name of contexts) {
      const context = (globalThis as Record<symbol, RequestContext | undefined>)[name]?.get?.();
      if (context?.waitUntil) return context.waitUntil(promise);
    }
  };
}

// redirect(), notFound() and the sign that a route cannot be prerendered are errors with a digest.
function isSignal(error: unknown): boolean {
  const digest = (error as { digest?: unknown } | null)?.digest;
  return typeof digest === 'string' && (digest.startsWith('NEXT_') || digest === 'DYNAMIC_SERVER_USAGE' || digest === 'BAILOUT_TO_CLIENT_SIDE_RENDERING');
}

// A route handler of the App Router:
//
//   export const dynamic = 'force-dynamic';
//   export const GET = cron(async (run) => { … });
export function cron(handler: Handler, options: CronOptions = {}): (request: Request) => Promise<Response> {
  checkOptions(handler, options);
  return async (request) => {
    found ??= findAfter();
    return receive(request, handler, options, { waitUntil: waitUntilBy(await found), isSignal });
  };
}
