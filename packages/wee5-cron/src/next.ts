import { checkOptions, receive, type CronOptions, type Handler } from './receiver.js';
import type { WaitUntil } from './later.js';

export { health, statusPage } from './pages.js';
export * from './shared.js';

// Where Next.js, and Vercel below it, keep what belongs to the request that is being served.
const contexts = ['@next/request-context', '@vercel/request-context'].map((name) => Symbol.for(name));
type RequestContext = { get?: () => { waitUntil?: WaitUntil } | undefined };

const waitUntil: WaitUntil = (promise) => {
  for (const name of contexts) {
    const context = (globalThis as Record<symbol, RequestContext | undefined>)[name]?.get?.();
    if (context?.waitUntil) {
      context.waitUntil(promise);
      return;
    }
  }
};

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
  return (request) => receive(request, handler, options, { waitUntil, isSignal });
}
