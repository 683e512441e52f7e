#include <cstdint>
#include <optional>

#include "wee5_cron/core/jobs/cron_schedule.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/jobs/cron_caller.h"
#include "wee5_cron/pg/jobs/cron_clock.h"

namespace wee5::pg {

namespace {

bool is_pg_cron_session() {
  if (MyBgworkerEntry != nullptr) return strcmp(MyBgworkerEntry->bgw_type, "pg_cron") == 0;
  return MyProcPort != nullptr && application_name != nullptr && strcmp(application_name, "pg_cron") == 0;
}

char* copy_text(HeapTuple tuple, TupleDesc descriptor, int column, MemoryContext context) {
  char* text = SPI_getvalue(tuple, descriptor, column);
  return text != nullptr ? MemoryContextStrdup(context, text) : nullptr;
}

// Finds the only job of this database and session_user whose command is the running statement.
void find_job_by_command(CronCaller* caller, MemoryContext context) {
  Oid types[1] = {TEXTOID};
  Datum values[1] = {CStringGetTextDatum(debug_query_string)};
  int result = SPI_execute_with_args(
      "SELECT jobname::text, schedule FROM cron.job WHERE command = $1 AND username = SESSION_USER"
      " AND database = pg_catalog.current_database() LIMIT 2",
      1, types, values, nullptr, true, 2);
  if (result != SPI_OK_SELECT || SPI_processed != 1) return;
  caller->job_name = copy_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, context);
  caller->schedule = copy_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, context);
}

// If pg_cron is in another database: finds the only job that is known for the path. wee5_cron.job counts before the
// jobs that register_jobs() proposes.
void find_job_by_path(CronCaller* caller, const char* path, MemoryContext context) {
  Oid types[1] = {TEXTOID};
  Datum values[1] = {CStringGetTextDatum(path)};
  int result = SPI_execute_with_args(
      "SELECT j.job_name FROM wee5_cron.job j WHERE j.endpoint_path = $1"
      " UNION ALL"
      " SELECT r.job_name FROM wee5_cron.jobs_to_register() r WHERE r.endpoint_path = $1"
      " AND NOT EXISTS (SELECT FROM wee5_cron.job j WHERE j.endpoint_path = $1)"
      " LIMIT 2",
      1, types, values, nullptr, true, 2);
  if (result == SPI_OK_SELECT && SPI_processed == 1)
    caller->job_name = copy_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, context);
}

// Finds the newest tick of the schedule at or before the start of the transaction, because jobs start seconds late.
void find_tick(CronCaller* caller) {
  load_cron_clock();
  std::int64_t now = unix_seconds_of(GetCurrentTransactionStartTimestamp());
  std::int64_t tick = 0;
  bool found = false;
  CppFailure failure;
  const char* text = caller->schedule;
  if (!run_cpp(&failure, [&] {
        std::optional<core::CronSchedule> schedule = core::CronSchedule::parse(text, cron_dialect());
        if (!schedule) return;
        if (schedule->interval_seconds() > 0) {
          tick = now;
          found = true;
        } else if (std::optional<std::int64_t> newest = schedule->newest_at_or_before(now, cron_wall_clock)) {
          tick = *newest;
          found = true;
        }
      }))
    raise(&failure);
  caller->has_scheduled_at = found;
  if (found) caller->scheduled_at = timestamp_of_unix_seconds(tick);
}

}  // namespace

void identify_caller(CronCaller* caller, const char* path) {
  memset(caller, 0, sizeof(*caller));
  caller->by_job = is_pg_cron_session();
  if (!caller->by_job) return;

  ExtensionInfo pg_cron;
  find_extension("pg_cron", &pg_cron);
  Oid cron_job = relation_of_extension("cron", "job", pg_cron.oid);
  MemoryContext context = CurrentMemoryContext;
  caller->pg_cron_here = OidIsValid(cron_job);
  SPI_connect();
  if (!caller->pg_cron_here)
    find_job_by_path(caller, path, context);
  else if (debug_query_string != nullptr && get_attnum(cron_job, "jobname") != InvalidAttrNumber)
    find_job_by_command(caller, context);
  SPI_finish();
  if (caller->schedule != nullptr) find_tick(caller);
}

}  // namespace wee5::pg
