import { acceptedHeader, json } from './answer.js';
import { complete, type Database } from './claims.js';

// Work that goes on after the answer.
export type Work = () => Promise<unknown>;
export type Later = (work: Work) => Promise<Response>;
// Keeps the process, or the function of a serverless platform, alive until the promise is settled.
export type WaitUntil = (promise: Promise<unknown>) => void;

interface Context {
  readonly key: string | null;
  readonly database: Database | undefined;
  readonly waitUntil: WaitUntil;
  readonly failed: (error: unknown) => void;
}

async function workAndTell(work: Work, key: string, database: Database, failed: (error: unknown) => void): Promise<void> {
  let note: string | null = null;
  try {
    await work();
  } catch (error) {
    failed(error);
    note = `The work failed after the answer: ${errorName(error)}`;
  }
  try {
    await complete(database, key, note === null, note);
  } catch (error) {
    failed(error);
  }
}

// The class of an error. Its text may hold what no table is to keep.
export function errorName(error: unknown): string {
  return error instanceof Error && /^\w{1,100}$/.test(error.name) ? error.name : 'Error';
}

// A caller that sends no key cannot be told later how the work ended: for it the work is done before the answer.
// hasBegun: work goes on that will complete the key, whatever the handler answers.
export function makeLater(context: Context): { later: Later; hasBegun: () => boolean } {
  let begun = false;
  const later: Later = async (work) => {
    const { key, database } = context;
    if (key === null) {
      await work();
      return json(200, { ok: true });
    }
    if (database === undefined) {
      throw new Error('wee5-cron: run.later() needs the option "query", to tell the database how the work ended');
    }
    begun = true;
    context.waitUntil(workAndTell(work, key, database, context.failed));
    return json(202, { accepted: true }, acceptedHeader);
  };
  return { later, hasBegun: () => begun };
}
