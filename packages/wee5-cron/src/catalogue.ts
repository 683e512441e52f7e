// Made by catalogue.sql from the catalogue of a database. Do not edit it.

// A row of wee5_cron.invocation: one call, and what became of it.
export interface Invocation {
  /** Returned by invoke_cron_endpoint(), sent as X-Wee5-Cron-Invocation */
  readonly id: string;
  /** cron.job.jobname of the job that made the call; NULL for a call by hand */
  readonly job_name: string | null;
  /** Path as the caller gave it */
  readonly endpoint_path: string;
  /** GET, POST, PUT, PATCH, DELETE or HEAD */
  readonly method: string;
  /** Request body; NULL: none */
  readonly body: unknown;
  /** Headers beyond those that every call has; for a job also x-vercel-cron-schedule */
  readonly headers: unknown;
  /** URL that was called; the builtin transport sets it when it sends the request */
  readonly url: string | null;
  /** builtin: the worker of wee5_cron sends the call; pg_net: the extension pg_net does */
  readonly transport: string;
  /** queued: waits to be sent, or for due_at. sending: in flight; written after 250 ms, or at once if retry_on is never. retrying: failed, and is retried at next_attempt_at. accepted: the app answered 202 with Wee5-Cron: accepted; the call ends when the app calls complete(), or at next_attempt_at. Final: succeeded, failed, skipped (not made), cancelled */
  readonly status: string;
  /** Why the call did not succeed: config (no usable address or secret), dns, connect, tls, timeout, http (the status), redirect, response (no complete answer), lost (a crash hid the answer), incomplete (the app accepted the call, and its work failed or was not completed in time), overlap, cancelled. While retrying: why the last attempt failed */
  readonly reason: string | null;
  /** What happened, in one sentence */
  readonly error: string | null;
  /** What to do about it */
  readonly hint: string | null;
  /** HTTP status of the last answer; NULL: there was none */
  readonly http_status: number | null;
  /** Number of attempts that have begun */
  readonly attempts: number;
  /** Start of the transaction that made the call */
  readonly requested_at: Date;
  /** session_user of the caller; app.settings.* are looked up for this role */
  readonly requested_by: string;
  /** The time for which pg_cron started the job */
  readonly scheduled_at: Date | null;
  /** When the first attempt was sent; NULL on pg_net, which does not report it */
  readonly first_sent_at: Date | null;
  /** When the call is sent next: as a retry, or for the first time if it has due_at. NULL once it is due. infinity: the call waits for the end of another one (overlap = queue). While accepted: until when the app must complete it */
  readonly next_attempt_at: Date | null;
  /** When the call ended; NULL: it has not */
  readonly finished_at: Date | null;
  /** finished_at - first_sent_at; NULL on pg_net */
  readonly duration: string | null;
  /** cron.job_run_details.runid of the run that made the call */
  readonly cron_run_id: string | null;
  /** Sent as Idempotency-Key: the same on every attempt, and by retry() */
  readonly idempotency_key: string;
  /** Content type of the last answer */
  readonly response_content_type: string | null;
  /** First wee5_cron.max_response_bytes of the answer, as text; invalid bytes and NUL are replaced */
  readonly response_body: string | null;
  /** Whether response_body is only a part of the answer */
  readonly response_truncated: boolean;
  /** Timeout of each attempt; NULL: wee5_cron.request_timeout at the time of sending */
  readonly timeout: string | null;
  /** Which unfinished calls make this one wait or be skipped. path: those of the same path. route: those of the same path with any query. NULL: none */
  readonly exclusive: string | null;
  /** The time for which the call was made: invoke(at => ...); NULL: at once */
  readonly due_at: Date | null;
  /** invoke(key => ...): a newer call by the same role with the same key replaces this one, unless it is in flight, accepted or over */
  readonly key: string | null;
}

export const invocationColumns = `
  "id"::text AS "id",
  "job_name"::text AS "job_name",
  "endpoint_path"::text AS "endpoint_path",
  "method"::text AS "method",
  "body"::text AS "body",
  "headers"::text AS "headers",
  "url"::text AS "url",
  "transport"::text AS "transport",
  "status"::text AS "status",
  "reason"::text AS "reason",
  "error"::text AS "error",
  "hint"::text AS "hint",
  "http_status" AS "http_status",
  "attempts" AS "attempts",
  to_json("requested_at") #>> '{}' AS "requested_at",
  "requested_by"::text AS "requested_by",
  to_json("scheduled_at") #>> '{}' AS "scheduled_at",
  to_json("first_sent_at") #>> '{}' AS "first_sent_at",
  to_json("next_attempt_at") #>> '{}' AS "next_attempt_at",
  to_json("finished_at") #>> '{}' AS "finished_at",
  "duration"::text AS "duration",
  "cron_run_id"::text AS "cron_run_id",
  "idempotency_key"::text AS "idempotency_key",
  "response_content_type"::text AS "response_content_type",
  "response_body"::text AS "response_body",
  "response_truncated" AS "response_truncated",
  "timeout"::text AS "timeout",
  "exclusive"::text AS "exclusive",
  to_json("due_at") #>> '{}' AS "due_at",
  "key"::text AS "key"`;
export const invocationForms = { id: 'text', body: 'json', headers: 'json', requested_at: 'time', scheduled_at: 'time', first_sent_at: 'time', next_attempt_at: 'time', finished_at: 'time', cron_run_id: 'text', due_at: 'time' } as const;

// A row of wee5_cron.job_status: one job that calls wee5_cron.
export interface JobStatus {
  /** cron.job.jobname */
  readonly job_name: string | null;
  /** cron.job.jobid. NULL if pg_cron is in another database, like schedule, active and next_run */
  readonly jobid: string | null;
  /** cron.job.schedule */
  readonly schedule: string | null;
  /** cron.job.active: false while the job is paused */
  readonly active: boolean | null;
  /** Path of the first call in the job's command; NULL if the path is not a literal */
  readonly endpoint_path: string | null;
  /** When pg_cron starts the job next; NULL while it is paused */
  readonly next_run: Date | null;
  /** id of its newest call */
  readonly last_invocation_id: string | null;
  /** status of its newest call */
  readonly last_status: string | null;
  /** http_status of its newest call */
  readonly last_http_status: number | null;
  /** When one of its calls last ended */
  readonly last_finished_at: Date | null;
  /** When one of its calls last ended with 2xx */
  readonly last_success_at: Date | null;
  /** Failed calls and failed pg_cron runs since last_success_at */
  readonly consecutive_failures: number | null;
  /** 0 to 1: succeeded / (succeeded + failed) in the last 24 hours; NULL if there were none */
  readonly success_rate_24h: number | null;
  /** Median duration of the calls that succeeded in the last 24 hours */
  readonly p50_24h: string | null;
  /** 95th percentile of the duration of the calls that succeeded in the last 24 hours */
  readonly p95_24h: string | null;
  /** Ticks that had neither a pg_cron run nor a call, since the worker has known the job; NULL if pg_cron is in another database */
  readonly missed_runs: string | null;
  /** Error of the newest failure since the last success, or in the last two days */
  readonly last_error: string | null;
  /** paused: pg_cron does not start it. never_ran: it has neither succeeded nor failed yet. late: its newest due run was missed; if pg_cron is in another database, the job has been silent for more than twice its longest pause, at a time at which it calls. failing: it failed since its last success. waiting: its calls are skipped because an earlier one has not been sent yet or waits to be retried. ok */
  readonly state: string | null;
}

export const jobStatusColumns = `
  "job_name"::text AS "job_name",
  "jobid"::text AS "jobid",
  "schedule"::text AS "schedule",
  "active" AS "active",
  "endpoint_path"::text AS "endpoint_path",
  to_json("next_run") #>> '{}' AS "next_run",
  "last_invocation_id"::text AS "last_invocation_id",
  "last_status"::text AS "last_status",
  "last_http_status" AS "last_http_status",
  to_json("last_finished_at") #>> '{}' AS "last_finished_at",
  to_json("last_success_at") #>> '{}' AS "last_success_at",
  "consecutive_failures" AS "consecutive_failures",
  "success_rate_24h"::float8 AS "success_rate_24h",
  "p50_24h"::text AS "p50_24h",
  "p95_24h"::text AS "p95_24h",
  "missed_runs"::text AS "missed_runs",
  "last_error"::text AS "last_error",
  "state"::text AS "state"`;
export const jobStatusForms = { jobid: 'text', next_run: 'time', last_invocation_id: 'text', last_finished_at: 'time', last_success_at: 'time', missed_runs: 'text' } as const;

// A row of wee5_cron.upcoming: what is due in the next 24 hours.
export interface Upcoming {
  /** When it is due */
  readonly due_at: Date | null;
  /** job: pg_cron starts the job. call: a call whose time has not come, made by invoke(at => ...). retry: a call that failed is made again */
  readonly kind: string | null;
  /** cron.job.jobname; of a call: the job that made it. NULL: no job */
  readonly job_name: string | null;
  /** cron.job.jobid; NULL for a call */
  readonly jobid: string | null;
  /** Path that will be called; NULL if it is not a literal in the job's command */
  readonly endpoint_path: string | null;
  /** wee5_cron.invocation.id of the call; NULL for a run that has not begun */
  readonly invocation_id: string | null;
  /** key of the call */
  readonly key: string | null;
}

export const upcomingColumns = `
  to_json("due_at") #>> '{}' AS "due_at",
  "kind"::text AS "kind",
  "job_name"::text AS "job_name",
  "jobid"::text AS "jobid",
  "endpoint_path"::text AS "endpoint_path",
  "invocation_id"::text AS "invocation_id",
  "key"::text AS "key"`;
export const upcomingForms = { due_at: 'time', jobid: 'text', invocation_id: 'text' } as const;

// A line of doctor(): one check, and what to do about it.
export interface Finding {
  readonly check_name: string;
  readonly status: string;
  readonly detail: string;
  readonly hint: string | null;
}

export const findingColumns = `
  "check_name"::text AS "check_name",
  "status"::text AS "status",
  "detail"::text AS "detail",
  "hint"::text AS "hint"`;
export const findingForms = { } as const;

// A row of plan() or apply(): one change of a job.
export interface Change {
  readonly action: string;
  readonly job_name: string;
  readonly detail: string;
}

export const changeColumns = `
  "action"::text AS "action",
  "job_name"::text AS "job_name",
  "detail"::text AS "detail"`;
export const changeForms = { } as const;

// The functions that expose_api() creates.
export const exposedFunctions = [
  'cancel',
  'claim',
  'complete',
  'health',
  'invocation',
  'invoke',
  'job_status',
  'pause',
  'resume',
  'retry',
  'run_now',
  'status_page',
] as const;
