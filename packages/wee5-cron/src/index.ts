import { checkOptions, receive, type CronOptions, type Handler } from './receiver.js';

export { health, statusPage } from './pages.js';
export * from './shared.js';

// A route for whatever serves Web requests: Deno, Bun, Cloudflare Workers, SvelteKit, Remix, Astro.
export function cron(handler: Handler, options: CronOptions = {}): (request: Request) => Promise<Response> {
  checkOptions(handler, options);
  return (request) => receive(request, handler, options, {});
}
