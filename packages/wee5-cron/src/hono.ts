import { environmentVariable } from './environment.js';
import type { WaitUntil } from './later.js';
import { health as healthRoute, statusPage as statusPageRoute, type HealthOptions, type StatusPageOptions } from './pages.js';
import { checkOptions, receive, type CronOptions, type Handler } from './receiver.js';

export * from './shared.js';

// What is read of Hono's context.
export interface HonoContext {
  readonly req: { readonly raw: Request };
  readonly env?: unknown;
  readonly executionCtx: { waitUntil(promise: Promise<unknown>): void };
}

// Hono throws where the platform has no execution context, as in Node.js.
function waitUntilOf(context: HonoContext): WaitUntil | undefined {
  try {
    const execution = context.executionCtx;
    return (promise) => execution.waitUntil(promise);
  } catch {
    return undefined;
  }
}

// app.all('/api/cron/digest', cron(async (run) => { … })). On Cloudflare Workers the secret is read from the bindings.
export function cron(handler: Handler, options: CronOptions = {}): (context: HonoContext) => Promise<Response> {
  checkOptions(handler, options);
  return (context) => {
    const bindings = (context.env ?? {}) as Record<string, unknown>;
    const waitUntil = waitUntilOf(context);
    return receive(context.req.raw, handler, options, {
      environment: (name) => (typeof bindings[name] === 'string' ? bindings[name] : environmentVariable(name)),
      ...(waitUntil && { waitUntil }),
    });
  };
}

export function statusPage(options: StatusPageOptions): (context: HonoContext) => Promise<Response> {
  const route = statusPageRoute(options);
  return (context) => route(context.req.raw);
}

export function health(options: HealthOptions): (context: HonoContext) => Promise<Response> {
  const route = healthRoute(options);
  return (context) => route(context.req.raw);
}
