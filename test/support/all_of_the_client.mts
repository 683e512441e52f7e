// Calls every method of the client of packages/wee5-cron. `path` leads to a route that answers 200.
import assert from 'node:assert/strict';

import type { CronClient } from '../../packages/wee5-cron/src/client.ts';

const isDate = (value: unknown): void => assert.ok(value instanceof Date && !Number.isNaN(value.getTime()), String(value));

// sqlStateOf: where the driver keeps the SQLSTATE of an error.
export async function useAll(cron: CronClient, path: string, sqlStateOf = (error: { code?: unknown }): unknown => error.code): Promise<void> {
  const id = await cron.invoke(path, { method: 'POST', body: { quotes: `'"\\`, list: [1, null] }, headers: { 'X-Kind': 'a' }, timeout: '90 seconds' });
  const row = await cron.waitFor(id, '3 minutes');
  assert.deepEqual([row.id, row.status, row.http_status, row.method], [id, 'succeeded', 200, 'POST']);
  assert.deepEqual([row.body, row.headers], [{ quotes: `'"\\`, list: [1, null] }, { 'X-Kind': 'a' }]);
  assert.deepEqual([row.timeout, row.response_truncated, row.due_at], ['00:01:30', false, null]);
  isDate(row.requested_at);
  isDate(row.finished_at);
  assert.deepEqual(await cron.invocation(BigInt(id)), row);
  assert.equal(await cron.invocation('9007199254740993'), null);

  const again = await cron.retry(id);
  assert.equal((await cron.waitFor(again, '3 minutes')).idempotency_key, row.idempotency_key);

  const at = new Date(Date.now() + 3_600_000);
  const later = await cron.invoke(path, { at, key: `client ${path}` });
  const waiting = (await cron.upcoming()).find((due) => due.invocation_id === later);
  assert.deepEqual([waiting?.due_at, waiting?.key, waiting?.kind], [at, `client ${path}`, 'call']);
  assert.equal(await cron.cancel(later), true);
  assert.equal((await cron.waitFor(later, '3 minutes')).status, 'cancelled');
  assert.equal(await cron.cancel(later), false);

  const key = crypto.randomUUID();
  assert.deepEqual([await cron.claim(key), await cron.complete(key), await cron.claim(key, '1 minute')], ['new', true, 'done']);

  const job = `job of ${path}`;
  await cron.schedule(job, '0 9 * * 1', path);
  await cron.pause(job, 'for a while');
  const status = (await cron.jobStatus()).find(({ job_name }) => job_name === job);
  assert.deepEqual([status?.schedule, status?.active, status?.state, status?.endpoint_path], ['0 9 * * 1', false, 'paused', path]);
  await cron.resume(job);
  const runs = await cron.nextRuns(job, 2);
  assert.deepEqual(runs.map((run) => run.getUTCDay()), [1, 1]);
  assert.equal((await cron.waitFor(await cron.runNow(job), '3 minutes')).job_name, job);
  const exported = await cron.exportConfig();
  assert.deepEqual(Object.keys(exported.jobs).includes(job), true);
  const own = { jobs: { [job]: { schedule: '0 10 * * 1', path } } };
  assert.deepEqual((await cron.plan(own)).filter(({ job_name }) => job_name === job).map(({ action }) => action), ['adopt']);
  assert.deepEqual((await cron.apply(own)).filter(({ job_name }) => job_name === job).map(({ action }) => action), ['adopt']);
  assert.deepEqual((await cron.apply({ jobs: {} }, { prune: true })).filter(({ job_name }) => job_name === job).map(({ action }) => action), ['remove']);
  assert.match(await cron.schedule(job, '0 9 * * 1', path), /^\d+$/);
  assert.equal(await cron.unschedule(job), true);
  await assert.rejects(cron.runNow(job), /there is no job/);

  assert.match(await cron.statusPage('A <title>'), /^<!doctype html>.*A &lt;title&gt;/is);
  assert.match(await cron.callPage(id), /^<!doctype html>/i);
  const health = await cron.health('1 hour');
  assert.deepEqual([typeof health.ok, health.worker, health.failing], ['boolean', 'up', []]);
  const findings = await cron.doctor();
  assert.ok(findings.length > 10 && findings.every(({ status, detail }) => /^(ok|warning|error)$/.test(status) && detail !== ''));

  await assert.rejects(cron.invoke('no path'), (error: { code?: unknown }) => sqlStateOf(error) === '22023');
}
