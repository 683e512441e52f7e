// What each entry of the package exports besides its cron().
export { retryAfter } from './answer.js';
export type { Query } from './claims.js';
export type { Later, WaitUntil, Work } from './later.js';
export type { CronOptions, Handler, Method } from './receiver.js';
export type { Run } from './run.js';
export type { SecretSource } from './secret.js';
