import { acceptedHeader, answerOf, isResponse, json, uncached } from './answer.js';
import { claim, complete, type Database, type Query } from './claims.js';
import { environmentVariable } from './environment.js';
import { makeLater, type WaitUntil } from './later.js';
import { readRun, type Run } from './run.js';
import { authorize, type SecretSource } from './secret.js';

export type Handler = (run: Run) => unknown;
export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface CronOptions {
  // The secret that callers send as a bearer; the environment variable CRON_SECRET by default.
  readonly secret?: SecretSource;
  // Also let in, while a new secret is rolled out; CRON_SECRET_PREVIOUS by default.
  readonly previousSecret?: SecretSource;
  // The methods that run the handler: GET and POST by default. HEAD runs nothing unless it is named here.
  readonly methods?: readonly Method[];
  // A connection to the database that has wee5_cron. Needed for `once` and for run.later().
  readonly query?: Query;
  // The schema of wee5_cron; 'wee5_cron' by default.
  readonly schema?: string;
  // True: a call whose key was done already is not done again. A caller without a key is served each time.
  readonly once?: boolean;
  // How long an unfinished claim keeps others away, as PostgreSQL writes an interval; '5 minutes' by default.
  readonly lease?: string;
  // Keeps the platform from freezing the function while run.later() works.
  readonly waitUntil?: WaitUntil;
  // Gets what the handler threw. By default it is written to console.error. The caller never sees it.
  readonly onError?: (error: unknown, run: Run) => void;
}

// What a framework adds to the options of a route.
export interface Platform {
  readonly environment?: (name: string) => string | undefined;
  readonly waitUntil?: WaitUntil;
  // Errors that are signals of the framework, and must reach it.
  readonly isSignal?: (error: unknown) => boolean;
}

// In a process that lives on, work that nobody waits for ends all the same.
const leaveToProcess: WaitUntil = () => undefined;

const defaultMethods: readonly Method[] = ['GET', 'POST'];

const isSuccess = (response: Response): boolean => response.status >= 200 && response.status < 300;

async function refusal(request: Request, options: CronOptions, platform: Platform): Promise<Response | { usedPreviousSecret: boolean }> {
  const methods = options.methods ?? defaultMethods;
  const allow = { Allow: [...methods, 'OPTIONS'].join(', ') };
  const lookUp = platform.environment ?? environmentVariable;
  const authorization = await authorize(
    request.headers.get('authorization'),
    'secret' in options ? options.secret : () => lookUp('CRON_SECRET'),
    'previousSecret' in options ? options.previousSecret : () => lookUp('CRON_SECRET_PREVIOUS'),
  );
  if (authorization === 'unconfigured') {
    console.error('wee5-cron: CRON_SECRET is not set, so every call is refused. Set it in the environment of this app.');
    return json(503, { error: 'CRON_SECRET is not set in this app.' });
  }
  if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: allow });
  if (authorization === 'refused') return json(401, { error: 'The secret is missing or wrong.' }, { 'WWW-Authenticate': 'Bearer' });
  if (!(methods as readonly string[]).includes(request.method)) {
    return json(405, { error: `This route takes ${methods.join(' or ')}.` }, allow);
  }
  return { usedPreviousSecret: authorization === 'previous' };
}

function databaseOf(options: CronOptions): Database | undefined {
  if (options.query === undefined) return undefined;
  return options.schema === undefined ? { query: options.query } : { query: options.query, schema: options.schema };
}

// What an app does with an error must not undo the answer, whether it throws or rejects.
function report(error: unknown, options: CronOptions, run: Run): void {
  const complain = (second: unknown): void => console.error(`wee5-cron: onError failed for ${run.path}:`, second);
  if (!options.onError) {
    console.error(`wee5-cron: ${run.path} failed:`, error);
    return;
  }
  try {
    const reported: unknown = options.onError(error, run);
    Promise.resolve(reported).catch(complain);
  } catch (second) {
    complain(second);
  }
}

// What the handler returns or throws, as an answer. An answer that cannot be sent, such as one whose body was read
// already, is an error like any other.
async function answerOfHandler(handler: Handler, run: Run): Promise<Response> {
  try {
    return uncached(answerOf(await handler(run)));
  } catch (error) {
    if (isResponse(error)) return uncached(error);
    throw error;
  }
}

// Runs the handler, and makes an answer of whatever comes of it.
async function work(handler: Handler, run: Run, failed: (error: unknown) => void, platform: Platform): Promise<Response> {
  try {
    return await answerOfHandler(handler, run);
  } catch (error) {
    if (platform.isSignal?.(error)) throw error;
    failed(error);
    return json(500, { error: 'The handler failed. The log of this app has the error.' });
  }
}

// As `work`, for the first call with its key alone. The key is free again where the work failed.
async function workOnce(
  key: string, database: Database, lease: string, run: () => Promise<Response>, laterHasBegun: () => boolean, failed: (error: unknown) => void,
): Promise<Response> {
  let state;
  try {
    state = await claim(database, key, lease);
  } catch (error) {
    failed(error);
    return json(503, { error: 'The database did not answer, so nothing was done.' });
  }
  if (state === 'done') return json(200, { duplicate: true });
  // Not 200: that would be recorded as a success while the first call is still at work.
  if (state === 'running') return json(202, { duplicate: true }, acceptedHeader);
  let response: Response | undefined;
  try {
    response = await run();
    return response;
  } finally {
    // What goes on after the answer completes the key itself.
    if (!laterHasBegun()) {
      await complete(database, key, response !== undefined && isSuccess(response)).catch(failed);
    }
  }
}

// Answers one request.
export async function receive(request: Request, handler: Handler, options: CronOptions, platform: Platform): Promise<Response> {
  const refused = await refusal(request, options, platform);
  if (isResponse(refused)) return uncached(refused);
  const { facts, release } = readRun(request, refused.usedPreviousSecret);
  const database = databaseOf(options);
  const failed = (error: unknown): void => report(error, options, run);
  const waitUntil = options.waitUntil ?? platform.waitUntil ?? leaveToProcess;
  const later = makeLater({ key: facts.idempotencyKey, database, waitUntil, failed });
  const run: Run = { ...facts, later: later.later };
  const answer = (): Promise<Response> => work(handler, run, failed, platform);
  const once = options.once && database !== undefined && facts.idempotencyKey !== null;
  try {
    return uncached(once ? await workOnce(facts.idempotencyKey, database, options.lease ?? '5 minutes', answer, later.hasBegun, failed) : await answer());
  } finally {
    release();
  }
}

// Finds mistakes when the app starts, not when its first job runs.
export function checkOptions(handler: unknown, options: CronOptions): void {
  if (typeof handler !== 'function') throw new TypeError('cron() takes a function as its first argument');
  if (options.once && options.query === undefined) throw new TypeError('cron() needs the option "query" for "once"');
  if (options.methods?.length === 0) throw new TypeError('cron() needs at least one method');
}
