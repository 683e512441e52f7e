import { toJson } from './answer.js';
import {
  changeColumns, changeForms, exposedFunctions, findingColumns, findingForms, invocationColumns, invocationForms, jobStatusColumns, jobStatusForms,
  upcomingColumns, upcomingForms, type Change, type Finding, type Invocation, type JobStatus, type Upcoming,
} from './catalogue.js';
import { claim, complete, nameOf, type Claim, type Database, type Row } from './claims.js';
import type { Method } from './receiver.js';

export {
  fromPg, fromPostgres, fromPrisma, fromSupabase, type PgLike, type PostgresLike, type PrismaLike, type SupabaseLike,
} from './adapters.js';
export type { Change, Finding, Invocation, JobStatus, Upcoming } from './catalogue.js';
export type { Arguments, Claim, Database, Query, Row } from './claims.js';
export type { Method } from './receiver.js';

// The choices of a call. What is left out follows the policy of the path.
export interface InvokeOptions {
  readonly method?: Method;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  // An interval as PostgreSQL writes it, such as '90 seconds'; as all intervals here.
  readonly timeout?: string;
  readonly target?: string;
  // When to make the call: up to 10 years from now.
  readonly at?: Date;
  // Replaces this caller's other calls with the same key that have not begun.
  readonly key?: string;
}

// An id of an invocation: text, because a number of JavaScript does not hold all of them.
export type Id = string | number | bigint;

// What health() returns.
export interface Health {
  readonly ok: boolean;
  readonly armed: boolean;
  readonly enabled: boolean;
  readonly worker: 'up' | 'asleep' | 'down';
  readonly failing: readonly string[];
  readonly late: readonly string[];
  readonly waiting: readonly string[];
  readonly queue_age: number;
  readonly at: string;
}

export interface ApplyOptions {
  // Also removes jobs that apply() made and that the document no longer has.
  readonly prune?: boolean;
  // 'notice' lets migrations run in a database without pg_cron, such as a shadow database.
  readonly withoutPgCron?: 'error' | 'notice';
}

// text: a number that JavaScript may not hold, which SQL returns as text, and PostgREST as a number.
type Forms = Readonly<Record<string, 'time' | 'json' | 'text'>>;

// A call that waits for the end of another one has the time infinity. The last time that a Date holds also comes after all others.
const lastTime = 8.64e15;

function parsed(row: Row, forms: Forms): Row {
  const result: Record<string, unknown> = { ...row };
  for (const [name, form] of Object.entries(forms)) {
    const value = row[name];
    if (form === 'text') {
      if (typeof value === 'number') result[name] = String(value);
    } else if (typeof value === 'string') {
      result[name] = form === 'json' ? (JSON.parse(value) as unknown) : new Date(value === 'infinity' ? lastTime : value);
    }
  }
  return result;
}

const exposed: ReadonlySet<string> = new Set(exposedFunctions);

// An argument of a function, as text that PostgreSQL casts: drivers write values of other types each in their own way.
type Argument = readonly [name: string, type: string, value: string | null | undefined];

const text = (value: unknown): string | undefined => (value === undefined ? undefined : toJson(value));

// The functions of wee5_cron. Errors are those of the driver, with the SQLSTATE and the hint of the database.
export class CronClient {
  readonly #database: Database;

  constructor(database: Database) {
    if (typeof database?.query !== 'function') throw new TypeError('CronClient needs the option "query"');
    this.#database = database;
  }

  // Queues one call, and returns its id. It is sent when the transaction of `query` commits.
  invoke(path: string, options: InvokeOptions = {}): Promise<string> {
    const { method, body, headers, timeout, target, at, key } = options;
    return this.#text('invoke', [
      ['endpoint_path', 'text', path], ['method', 'text', method], ['body', 'jsonb', text(body)], ['headers', 'jsonb', text(headers)],
      ['timeout', 'interval', timeout], ['target', 'text', target], ['at', 'timestamptz', at?.toISOString()], ['key', 'text', key],
    ]);
  }

  // Waits until the call has ended, or until the timeout, and returns its row. 'one minute' by default.
  async waitFor(id: Id, timeout?: string): Promise<Invocation> {
    const row = await this.#first<Invocation>(invocationColumns, invocationForms, 'wait_for', [['id', 'bigint', String(id)], ['timeout', 'interval', timeout]]);
    if (row === null) throw new Error('wee5-cron: wait_for() returned no row');
    return row;
  }

  // The row of a call; null if there is none. The role needs the profile `read`, as for all that follows up to health().
  async invocation(id: Id): Promise<Invocation | null> {
    if (this.#database.query.rpc) return (await this.#exposedRows<Invocation>(invocationForms, 'invocation', [['invocation_id', 'bigint', String(id)]]))[0] ?? null;
    const sql = `SELECT ${invocationColumns} FROM ${this.#name('invocation')} WHERE id = $1::text::bigint`;
    const [row] = await this.#database.query(sql, [String(id)]);
    return row === undefined ? null : (parsed(row, invocationForms) as unknown as Invocation);
  }

  jobStatus(): Promise<JobStatus[]> {
    if (this.#database.query.rpc) return this.#exposedRows(jobStatusForms, 'job_status', []);
    return this.#view(jobStatusColumns, jobStatusForms, 'job_status', 'job_name, jobid');
  }

  upcoming(): Promise<Upcoming[]> {
    return this.#view(upcomingColumns, upcomingForms, 'upcoming', 'due_at');
  }

  doctor(): Promise<Finding[]> {
    return this.#rows(findingColumns, findingForms, 'doctor', []);
  }

  // A whole page of HTML.
  statusPage(title?: string): Promise<string> {
    return this.#text('status_page', [['title', 'text', title]]);
  }

  callPage(id: Id): Promise<string> {
    return this.#text('call_page', [['id', 'bigint', String(id)]]);
  }

  async health(maxQueueAge?: string): Promise<Health> {
    return JSON.parse(await this.#text('health', [['max_queue_age', 'interval', maxQueueAge]])) as Health;
  }

  retry(id: Id): Promise<string> {
    return this.#text('retry', [['id', 'bigint', String(id)]]);
  }

  async cancel(id: Id): Promise<boolean> {
    return (await this.#text('cancel', [['id', 'bigint', String(id)]])) === 'true';
  }

  // Makes or changes a job, and returns its jobid.
  schedule(jobName: string, schedule: string, path: string): Promise<string> {
    return this.#text('schedule', [['job_name', 'text', jobName], ['schedule', 'text', schedule], ['endpoint_path', 'text', path]]);
  }

  async unschedule(jobName: string): Promise<boolean> {
    return (await this.#text('unschedule', [['job_name', 'text', jobName]])) === 'true';
  }

  // Makes the job's call now, and returns its id.
  runNow(jobName: string): Promise<string> {
    return this.#text('run_now', [['job_name', 'text', jobName]]);
  }

  async pause(jobName: string, note?: string): Promise<void> {
    await this.#text('pause', [['job_name', 'text', jobName], ['note', 'text', note]]);
  }

  async resume(jobName: string): Promise<void> {
    await this.#text('resume', [['job_name', 'text', jobName]]);
  }

  async nextRuns(jobName: string, n = 5): Promise<Date[]> {
    const rows = await this.#call(`to_json(result) #>> '{}' AS at`, 'next_runs', [['job_name', 'text', jobName], ['n', 'integer', String(n)]]);
    return rows.map(({ at }) => new Date(String(at)));
  }

  // What apply() would change. The document is described on the page "Jobs in the repository".
  plan(config: unknown): Promise<Change[]> {
    return this.#rows(changeColumns, changeForms, 'plan', [['config', 'jsonb', toJson(config)]]);
  }

  apply(config: unknown, options: ApplyOptions = {}): Promise<Change[]> {
    const prune = options.prune === undefined ? undefined : String(options.prune);
    return this.#rows(changeColumns, changeForms, 'apply', [['config', 'jsonb', toJson(config)], ['prune', 'boolean', prune], ['without_pg_cron', 'text', options.withoutPgCron]]);
  }

  async exportConfig(): Promise<{ jobs: Record<string, Record<string, unknown>> }> {
    return JSON.parse(await this.#text('export_config', [])) as { jobs: Record<string, Record<string, unknown>> };
  }

  // Whether the work of an idempotency key is still to be done. `lease` is '5 minutes' by default.
  claim(key: string, lease = '5 minutes'): Promise<Claim> {
    return claim(this.#database, key, lease);
  }

  // How the work of a key ended. False where no call waited for it any more.
  complete(key: string, ok = true, note: string | null = null): Promise<boolean> {
    return complete(this.#database, key, ok, note);
  }

  #name(object: string): string {
    return nameOf(this.#database, object);
  }

  // Through PostgREST, which reads the arguments from JSON.
  async #rpc(name: string, all: readonly Argument[]): Promise<unknown> {
    if (!this.#database.query.rpc || !exposed.has(name)) throw new Error(`wee5-cron: expose_api() does not expose ${name}()`);
    const given = all.filter(([, , value]) => value !== undefined);
    return this.#database.query.rpc(name, Object.fromEntries(given.map(([argument, type, value]) =>
      [argument, type === 'jsonb' && typeof value === 'string' ? (JSON.parse(value) as unknown) : value])));
  }

  async #exposedRows<T>(forms: Forms, name: string, all: readonly Argument[]): Promise<T[]> {
    const withoutJson = Object.fromEntries(Object.entries(forms).filter(([, form]) => form !== 'json')) as Forms;
    return ((await this.#rpc(name, all)) as Row[]).map((row) => parsed(row, withoutJson) as T);
  }

  async #call(columns: string, name: string, all: readonly Argument[]): Promise<readonly Row[]> {
    if (this.#database.query.rpc) {
      const result = await this.#rpc(name, all);
      return [{ result: typeof result === 'object' ? JSON.stringify(result) : String(result) }];
    }
    const given = all.filter(([, , value]) => value !== undefined);
    const list = given.map(([argument, type], i) => `"${argument}" => $${i + 1}::text::${type}`).join(', ');
    return this.#database.query(`SELECT ${columns} FROM ${this.#name(name)}(${list}) AS result`, given.map(([, , value]) => value));
  }

  async #rows<T>(columns: string, forms: Forms, name: string, all: readonly Argument[]): Promise<T[]> {
    return (await this.#call(columns, name, all)).map((row) => parsed(row, forms) as T);
  }

  async #first<T>(columns: string, forms: Forms, name: string, all: readonly Argument[]): Promise<T | null> {
    return (await this.#rows<T>(columns, forms, name, all))[0] ?? null;
  }

  async #view<T>(columns: string, forms: Forms, name: string, order: string): Promise<T[]> {
    if (this.#database.query.rpc) await this.#rpc(name, []);
    const rows = await this.#database.query(`SELECT ${columns} FROM ${this.#name(name)} ORDER BY ${order}`, []);
    return rows.map((row) => parsed(row, forms) as T);
  }

  // The result of a function that returns one value.
  async #text(name: string, all: readonly Argument[]): Promise<string> {
    const [row] = await this.#call('result::text AS result', name, all);
    return String(row?.['result']);
  }
}
