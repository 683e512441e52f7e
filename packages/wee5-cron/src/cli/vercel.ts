// Makes the jobs of wee5-cron.json from vercel.json: its `crons`, and those of its `schedules` that call a path.

interface Job {
  schedule: string;
  path: string;
  method?: string;
}

export interface Imported {
  readonly config: { jobs: Record<string, Job> };
  // What has no equivalent and was left out.
  readonly leftOut: string[];
}

type Entry = Record<string, unknown>;

const isObject = (value: unknown): value is Entry => typeof value === 'object' && value !== null && !Array.isArray(value);

// `/api/cron/daily-digest?shard=2` becomes `daily-digest-shard-2`.
function nameFor(path: string, taken: ReadonlySet<string>): string {
  const [route = '', query = ''] = path.split('?');
  const words = `${route.split('/').filter(Boolean).at(-1) ?? 'root'} ${query}`.replace(/[^\w]+/g, '-').replace(/^-|-$/g, '');
  const name = words.slice(0, 55) || 'job';
  let free = name;
  for (let n = 2; taken.has(free); n += 1) free = `${name}-${n}`;
  return free;
}

export function importVercel(document: unknown): Imported {
  if (!isObject(document)) throw new TypeError('vercel.json is not an object');
  const jobs: Record<string, Job> = {};
  const leftOut: string[] = [];
  const crons = document['crons'] ?? [];
  if (!Array.isArray(crons)) throw new TypeError('"crons" is not an array');
  for (const [index, cron] of (crons as unknown[]).entries()) {
    if (!isObject(cron) || typeof cron['path'] !== 'string' || typeof cron['schedule'] !== 'string') {
      throw new TypeError(`crons[${index}] has no "path" or no "schedule"`);
    }
    jobs[nameFor(cron['path'], new Set(Object.keys(jobs)))] = { schedule: cron['schedule'], path: cron['path'] };
  }
  const schedules = document['schedules'] ?? {};
  if (!isObject(schedules)) throw new TypeError('"schedules" is not an object');
  for (const [name, schedule] of Object.entries(schedules)) {
    if (!isObject(schedule) || typeof schedule['schedule'] !== 'string') throw new TypeError(`schedules.${name} has no "schedule"`);
    const reason = whyNot(schedule, Object.hasOwn(jobs, name));
    if (reason !== undefined) {
      leftOut.push(`schedules.${name}: ${reason}`);
      continue;
    }
    const method = schedule['requestMethod'];
    jobs[name] = { schedule: schedule['schedule'], path: String(schedule['path']), ...(typeof method === 'string' && method !== 'GET' && { method }) };
    if (schedule['jitter'] !== undefined) leftOut.push(`schedules.${name}.jitter: wee5_cron calls at the minute of the schedule`);
  }
  return { config: { jobs }, leftOut };
}

function whyNot(schedule: Entry, taken: boolean): string | undefined {
  if (typeof schedule['path'] !== 'string') return 'it calls a function or a topic, which has no address. Make it a route';
  const timezone = schedule['timezone'];
  if (timezone !== undefined && timezone !== 'UTC') {
    return `pg_cron has one time zone for all jobs (cron.timezone), and this schedule is in ${String(timezone)}`;
  }
  if (taken) return 'a job of "crons" has this name already';
  return undefined;
}
