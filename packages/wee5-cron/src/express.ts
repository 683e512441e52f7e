import { health as healthRoute, statusPage as statusPageRoute, type HealthOptions, type StatusPageOptions } from './pages.js';
import { checkOptions, receive, type CronOptions, type Handler } from './receiver.js';

export * from './shared.js';

// What is read of a request of Express, Connect or node:http.
export interface NodeRequest extends AsyncIterable<Uint8Array> {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly originalUrl?: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly body?: unknown;
  readonly readableEnded?: boolean;
}

// What is used of a response of Express, Connect or node:http.
export interface NodeResponse {
  statusCode: number;
  readonly writableFinished: boolean;
  readonly headersSent: boolean;
  setHeader(name: string, value: string | readonly string[]): unknown;
  end(body?: Uint8Array): unknown;
  on(event: 'close', listener: () => void): unknown;
}

function headersOf(request: NodeRequest): Headers {
  const headers = new Headers();
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    headers.append(request.rawHeaders[i] ?? '', request.rawHeaders[i + 1] ?? '');
  }
  return headers;
}

function bytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    all.set(chunk, end);
    end += chunk.length;
  }
  return all;
}

// The body as a parser of Express left it, or read only where the handler asks for it.
function bodyOf(request: NodeRequest): BodyInit | null {
  if (request.method === 'GET' || request.method === 'HEAD') return null;
  const parsed = request.body;
  if (typeof parsed === 'string') return parsed;
  if (parsed instanceof Uint8Array) return bytes([parsed]);
  if (parsed !== undefined && request.readableEnded) return JSON.stringify(parsed);
  const chunks = request[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await chunks.next();
      if (next.done) controller.close();
      else controller.enqueue(new Uint8Array(next.value));
    },
  }, { highWaterMark: 0 });
}

// The host is left out: it is the client's word, and nothing here depends on it.
function requestOf(request: NodeRequest, signal: AbortSignal): Request {
  const target = request.originalUrl ?? request.url ?? '/';
  const body = bodyOf(request);
  return new Request(new URL(`http://localhost${target.startsWith('/') ? target : '/'}`), {
    method: request.method ?? 'GET',
    headers: headersOf(request),
    signal,
    ...(body !== null && { body, duplex: 'half' }),
  } as RequestInit);
}

async function send(answer: Response, response: NodeResponse): Promise<void> {
  response.statusCode = answer.status;
  answer.headers.forEach((value, name) => {
    if (name !== 'set-cookie') response.setHeader(name, value);
  });
  const cookies = answer.headers.getSetCookie?.() ?? [];
  if (cookies.length > 0) response.setHeader('set-cookie', cookies);
  response.end(new Uint8Array(await answer.arrayBuffer()));
}

// Methods that the Request of the Web refuses to carry. They reach a plain server, too.
const forbiddenMethods = ['CONNECT', 'TRACE', 'TRACK'];

type Route = (request: Request) => Promise<Response>;

async function answer(request: NodeRequest, response: NodeResponse, route: Route, signal: AbortSignal): Promise<void> {
  if (forbiddenMethods.includes((request.method ?? '').toUpperCase())) {
    response.statusCode = 405;
    response.end();
    return;
  }
  await send(await route(requestOf(request, signal)), response);
}

function served(route: Route) {
  return (request: NodeRequest, response: NodeResponse, next?: (error?: unknown) => void): Promise<void> => {
    const hungUp = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) hungUp.abort(new DOMException('The caller hung up.', 'AbortError'));
    });
    return answer(request, response, route, hungUp.signal).catch((error: unknown) => {
      if (next !== undefined) return next(error);
      // Nobody waits for this promise in a plain server: a rejection would end the process.
      console.error('wee5-cron: a request was not answered:', error);
      if (!response.headersSent) response.statusCode = 500;
      response.end();
    });
  };
}

// app.all('/api/cron/digest', cron(async (run) => { … })), before or behind express.json().
export function cron(handler: Handler, options: CronOptions = {}) {
  checkOptions(handler, options);
  return served((request) => receive(request, handler, options, {}));
}

// app.get('/admin/cron', statusPage({ query, authorize }))
export function statusPage(options: StatusPageOptions) {
  return served(statusPageRoute(options));
}

// app.get('/api/health/cron', health({ query }))
export function health(options: HealthOptions) {
  return served(healthRoute(options));
}
