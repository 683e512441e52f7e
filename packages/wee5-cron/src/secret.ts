// A secret, or a function that looks it up at each request.
export type SecretSource = string | undefined | (() => string | undefined | Promise<string | undefined>);

const encoder = new TextEncoder();

// A secret of blanks is none. Blanks around it are ignored: no header can carry them, and a line break at the end of an
// environment variable is a common slip.
async function lookUp(source: SecretSource): Promise<string | undefined> {
  const value = typeof source === 'function' ? await source() : source;
  const trimmed = typeof value === 'string' ? value.trim() : '';
  return trimmed === '' ? undefined : trimmed;
}

// Node.js 18 has WebCrypto in a module alone. Bundlers for other platforms must not look for that.
async function webCrypto(): Promise<Pick<Crypto, 'subtle'>> {
  if (globalThis.crypto?.subtle) return globalThis.crypto;
  const name = 'node:crypto';
  const module = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as { webcrypto: Pick<Crypto, 'subtle'> };
  return module.webcrypto;
}

async function digest(text: string): Promise<Uint8Array> {
  const { subtle } = await webCrypto();
  return new Uint8Array(await subtle.digest('SHA-256', encoder.encode(text)));
}

// Takes the same time wherever the two differ.
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

export type Authorization = 'current' | 'previous' | 'refused' | 'unconfigured';

// Which secret the Authorization header carries. SHA-256 digests are compared, so that the time tells neither how long
// a secret is nor how much of it was right. Without a current secret nobody is let in, not even with the previous one.
export async function authorize(header: string | null, current: SecretSource, previous: SecretSource): Promise<Authorization> {
  const expected = await lookUp(current);
  if (expected === undefined) return 'unconfigured';
  const given = await digest(/^bearer +(.*)$/is.exec(header ?? '')?.[1]?.trim() ?? '');
  const isCurrent = isSame(given, await digest(expected));
  const former = await lookUp(previous);
  const isPrevious = former !== undefined && isSame(given, await digest(former));
  if (isCurrent) return 'current';
  return isPrevious ? 'previous' : 'refused';
}
