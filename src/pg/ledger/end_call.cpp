// Ends a call that is not on the wire.

#include "wee5_cron/pg/ledger/end_call.h"

#include "wee5_cron/core/text/text.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/ledger/overlap.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/registry/ended_calls.h"

namespace wee5::pg {

namespace {

SPIPlanPtr lost_plan = nullptr;
SPIPlanPtr outcome_plan = nullptr;
SPIPlanPtr wait_plan = nullptr;

// $1 id, $2 attempt, $3 error
constexpr const char* kLost =
    "INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, reason, error)"
    " SELECT i.id, $2, CASE WHEN $2 = 1 THEN i.first_sent_at END, pg_catalog.clock_timestamp(), 'lost', $3"
    " FROM wee5_cron.invocation i WHERE i.id = $1 ON CONFLICT DO NOTHING";

// $1 id
constexpr const char* kWait =
    "UPDATE wee5_cron.invocation SET next_attempt_at = 'infinity' WHERE id IN (" WEE5_OPEN_AND_FREE("array[$1]") ")";

// False if the row is locked, or the call has ended. `hint` may be NULL.
bool end_call(int64 id, const char* status, core::Reason reason, const char* error, const char* hint) {
  Oid types[5] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
  Datum values[5] = {Int64GetDatum(id), CStringGetTextDatum(status), CStringGetTextDatum(core::reason_name(reason)),
                     CStringGetTextDatum(error), hint != nullptr ? CStringGetTextDatum(hint) : 0};
  const char* nulls = hint != nullptr ? "     " : "    n";
  VersionedStatement* end = &database_sql->end_call;
  execute_plan(kept_plan(&end->plan, end->text, 5, types), values, nulls, SPI_OK_SELECT);
  if (SPI_processed == 0) return false;
  note_ended_call(id);
  return true;
}

// Alerts need the path, and that may be the column that cannot be read.
void note_outcome_if_possible(int64 id) {
  ErrorData* untold;
  in_subtransaction(
      [id] {
        Oid types[1] = {INT8OID};
        Datum values[1] = {Int64GetDatum(id)};
        execute_plan(kept_plan(&outcome_plan, "SELECT wee5_cron.note_outcomes(array[$1])", 1, types), values, nullptr,
                     SPI_OK_SELECT);
      },
      &untold);
}

}  // namespace

char* outcome_error(core::Reason reason, const char* path, const char* detail) {
  const char* endpoint_path = to_utf8_lossy(pstrdup(path));
  TextBuffer texts = make_text_buffer(4096 + 1);
  const char* error = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Observation seen;
        seen.reason = reason;
        seen.endpoint_path = endpoint_path;
        seen.detail = detail;
        error = texts.put(core::shorten(core::explain(seen).error, 4096));
      }))
    raise(&failure);
  return from_utf8(error);
}

bool skip_for_overlap(int64 id, const char* path, int64 overlapping) {
  return end_call(id, "skipped", core::Reason::kOverlap, overlap_error(path, overlapping), overlap_hint(path));
}

bool wait_or_skip(const OverlapQuery* query, int64 overlapping) {
  int64 waits = find_call_that_waits(query, overlapping);
  if (waits != 0) return skip_for_overlap(query->call_id, query->path, waits);
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(query->call_id)};
  execute_plan(kept_plan(&wait_plan, kWait, 1, types), values, nullptr, SPI_OK_UPDATE);
  return SPI_processed > 0;
}

bool end_unreadable(int64 id, const char* error) {
  const char* hint = "Look at the row: a value in it is missing, damaged or too long. Then make the call again.";
  if (!end_call(id, "failed", core::Reason::kConfig, psprintf("The row of this call cannot be read: %s.", error), hint))
    return false;
  note_outcome_if_possible(id);
  return true;
}

bool end_cancelled(int64 id, const char* path) {
  return end_call(id, "cancelled", core::Reason::kCancelled, outcome_error(core::Reason::kCancelled, path, ""),
                  nullptr);
}

void record_lost_attempt(int64 id, int attempt, const char* path) {
  Oid types[3] = {INT8OID, INT4OID, TEXTOID};
  Datum values[3] = {Int64GetDatum(id), Int32GetDatum(attempt),
                     CStringGetTextDatum(outcome_error(core::Reason::kLost, path, ""))};
  execute_plan(kept_plan(&lost_plan, kLost, 3, types), values, nullptr, SPI_OK_INSERT);
}

// wee5_cron.outcome_error(reason text, endpoint_path text) -> text
WEE5_SQL_FUNCTION(wee5_cron_outcome_error) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) PG_RETURN_NULL();
  core::Reason reason = core::parse_reason(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  PG_RETURN_TEXT_P(cstring_to_text(outcome_error(reason, text_to_cstring(PG_GETARG_TEXT_PP(1)), "")));
}

}  // namespace wee5::pg
