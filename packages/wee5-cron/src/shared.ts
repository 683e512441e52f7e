// What each entry of the package exports besides its routes.
export {
  fromPg, fromPostgres, fromPrisma, fromSupabase, type PgLike, type PostgresLike, type PrismaLike, type SupabaseLike,
} from './adapters.js';
export { retryAfter } from './answer.js';
export type { Arguments, Database, Query, Row } from './claims.js';
export type { Later, WaitUntil, Work } from './later.js';
export type { Authorize, HealthOptions, StatusPageOptions } from './pages.js';
export type { CronOptions, Handler, Method } from './receiver.js';
export type { Run } from './run.js';
export type { SecretSource } from './secret.js';
