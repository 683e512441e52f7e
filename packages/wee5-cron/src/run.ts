import type { Later } from './later.js';

// What a handler is told about the call that it answers.
export interface Run {
  // The name of the job that made the call; null for a call by hand, from Vercel Cron or from another scheduler.
  readonly job: string | null;
  // Path and query of the request, as in `/api/cron/digest?shard=2`.
  readonly path: string;
  // The tick that the job ran for: a fixed time, also where the call is late or made again. Null without a job.
  readonly scheduledAt: Date | null;
  // 1 for the first attempt of a call, 2 for the next.
  readonly attempt: number;
  // The row's id in wee5_cron.invocation, as text, because it may exceed what a number holds. Null from elsewhere.
  readonly invocation: string | null;
  // The same for all attempts of a call, and for all calls that a job makes for one tick. Null from elsewhere.
  readonly idempotencyKey: string | null;
  // The job's cron expression, which Vercel Cron sends, too.
  readonly schedule: string | null;
  // True where the caller sent the previous secret: the database has not been told of the new one yet.
  readonly usedPreviousSecret: boolean;
  // Aborts when the caller stops waiting for the answer: at the attempt's timeout, or when it hangs up.
  readonly deadline: AbortSignal;
  readonly request: Request;
  // Answers 202 at once and does the work afterwards; see the README for what it needs.
  readonly later: Later;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const longestTimer = 2 ** 31 - 1;

function header(request: Request, name: string, form: RegExp = /./): string | null {
  const value = request.headers.get(name);
  return value !== null && form.test(value) ? value : null;
}

function dateOf(text: string | null): Date | null {
  const date = new Date(text ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date;
}

// Header values are bytes: what is not ASCII arrives as if it were Latin-1.
function decodeUtf8(value: string | null): string | null {
  if (value === null || !/[\x80-\xff]/.test(value) || /[^\x00-\xff]/.test(value)) return value;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(value, (c) => c.charCodeAt(0)));
  } catch {
    return value;
  }
}

interface Deadline {
  readonly signal: AbortSignal;
  // For when the answer is there: the signal stays as it is.
  readonly release: () => void;
}

function deadlineOf(request: Request): Deadline {
  const controller = new AbortController();
  const hungUp = (): void => controller.abort(request.signal.reason);
  if (request.signal?.aborted) hungUp();
  request.signal?.addEventListener('abort', hungUp, { once: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = Number(header(request, 'x-wee5-cron-timeout-ms', /^\d{1,15}$/) ?? Number.NaN);
  if (timeout <= longestTimer) {
    timer = setTimeout(() => controller.abort(new DOMException('The caller no longer waits for the answer.', 'TimeoutError')), timeout);
    // In Node.js a timer would keep a process alive that is to end.
    (timer as { unref?: () => void }).unref?.();
  }
  const release = (): void => {
    clearTimeout(timer);
    request.signal?.removeEventListener('abort', hungUp);
  };
  return { signal: controller.signal, release };
}

export type RunFacts = Omit<Run, 'later'>;

// Headers are believed only where the secret was right: nobody else gets this far.
export function readRun(request: Request, usedPreviousSecret: boolean): { facts: RunFacts; release: () => void } {
  const url = new URL(request.url);
  const deadline = deadlineOf(request);
  const facts: RunFacts = {
    job: decodeUtf8(header(request, 'x-wee5-cron-job')),
    path: url.pathname + url.search,
    scheduledAt: dateOf(header(request, 'x-wee5-cron-scheduled-at')),
    attempt: Number(header(request, 'x-wee5-cron-attempt', /^[1-9]\d{0,8}$/) ?? 1),
    invocation: header(request, 'x-wee5-cron-invocation', /^\d{1,19}$/),
    idempotencyKey: header(request, 'idempotency-key', uuid)?.toLowerCase() ?? null,
    schedule: header(request, 'x-vercel-cron-schedule'),
    usedPreviousSecret,
    deadline: deadline.signal,
    request,
  };
  return { facts, release: deadline.release };
}
