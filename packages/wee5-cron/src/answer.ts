// The header by which an answer 202 says that the work goes on and complete() will tell how it ended.
export const acceptedHeader = { 'Wee5-Cron': 'accepted' } as const;

// Numbers of 64 bits, which databases return, become text.
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part)) ?? 'null';
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(toJson(body), { status, headers: { 'Content-Type': 'application/json', ...headers } });
}

// For a handler that cannot do its work now: return it, or throw it. It answers 503 with Retry-After, by which
// wee5_cron makes the call again at that time. Takes seconds from now, or a time.
export function retryAfter(when: number | Date, status: 429 | 503 = 503): Response {
  const seconds = typeof when === 'number' ? when : (when.getTime() - Date.now()) / 1000;
  if (!Number.isFinite(seconds)) throw new RangeError('retryAfter() takes a number of seconds or a valid Date');
  return json(status, { error: 'Not now.' }, { 'Retry-After': String(Math.max(0, Math.ceil(seconds))) });
}

// Any realm's Response: frameworks bring their own.
export function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'headers' in value && 'status' in value && 'arrayBuffer' in value;
}

// What a handler returned, as an answer. A result that cannot be written as JSON does not undo the work that was done.
export function answerOf(result: unknown): Response {
  if (isResponse(result)) return result;
  if (result === undefined) return json(200, { ok: true });
  try {
    return json(200, result);
  } catch (error) {
    console.warn('wee5-cron: the result of a handler cannot be written as JSON and is left out of the answer.', error);
    return json(200, { ok: true });
  }
}

// An answer that no cache keeps. The headers of some answers cannot be changed, those of Response.redirect() for example.
export function uncached(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set('Cache-Control', 'no-store');
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
