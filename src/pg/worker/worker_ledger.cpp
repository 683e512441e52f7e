#include "wee5_cron/pg/worker/worker_ledger.h"

#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/array_parameter.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/ledger/book_results.h"
#include "wee5_cron/pg/ledger/end_call.h"

namespace wee5::pg {

namespace {

constexpr uint64 kRetriesPerRead = 1000;
constexpr int64 kCancelsPerRead = 1000;

SPIPlanPtr mark_plan = nullptr;
SPIPlanPtr claim_plan = nullptr;
SPIPlanPtr queue_due_plan = nullptr;
SPIPlanPtr next_attempt_plan = nullptr;
SPIPlanPtr pg_net_due_plan = nullptr;
SPIPlanPtr asked_plan = nullptr;
SPIPlanPtr settled_plan = nullptr;
SPIPlanPtr unbound_plan = nullptr;
SPIPlanPtr pages_plan = nullptr;

// $1 ids, $2 attempts, $3 started_at, $4 urls
constexpr const char* kMark =
    "UPDATE wee5_cron.invocation i SET status = 'sending', attempts = c.attempt, url = c.url,"
    "  first_sent_at = coalesce(i.first_sent_at, c.started_at)"
    " FROM unnest($1, $2, $3, $4) AS c(id, attempt, started_at, url)"
    // A row that somebody holds locked is not marked. Nothing else depends on that.
    " WHERE i.id = c.id AND i.id IN (" WEE5_OPEN_AND_FREE("$1") ")";

// $1 ids, $2 attempts, $3 started_at, $4 urls; returns the ids of those that could be claimed.
constexpr const char* kClaim =
    "UPDATE wee5_cron.invocation i SET status = 'sending', attempts = c.attempt, url = c.url,"
    "  first_sent_at = coalesce(i.first_sent_at, c.started_at)"
    " FROM unnest($1, $2, $3, $4) AS c(id, attempt, started_at, url)"
    " WHERE i.id = c.id AND i.id IN (" WEE5_OPEN_AND_FREE("$1") ") RETURNING i.id::pg_catalog.int8";

// $1 how many; returns ids and paths
constexpr const char* kAsked =
    "SELECT c.id, (SELECT i.endpoint_path FROM wee5_cron.invocation i WHERE i.id = c.id)"
    " FROM (SELECT DISTINCT invocation_id::pg_catalog.int8 AS id FROM wee5_cron.cancellation LIMIT $1) c";

// However a call has ended: its cancellation is settled.
constexpr const char* kSettled =
    "DELETE FROM wee5_cron.cancellation c WHERE (SELECT i.finished_at IS NULL FROM wee5_cron.invocation i"
    "                                            WHERE i.id = c.invocation_id) IS NOT TRUE";

// Queues calls whose next attempt is due. $1 how many
constexpr const char* kQueueDue =
    "UPDATE wee5_cron.invocation SET next_attempt_at = NULL WHERE id IN ("
    "  SELECT id FROM wee5_cron.invocation"
    "  WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'builtin'"
    "  ORDER BY next_attempt_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id::pg_catalog.int8";

// Without calls that harvest() cannot hand over at the moment.
constexpr const char* kNextAttempt =
    "SELECT next_attempt_at::pg_catalog.timestamptz FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL"
    "   AND (transport = 'builtin' OR next_attempt_at > pg_catalog.now())"
    " ORDER BY next_attempt_at LIMIT 1";

constexpr const char* kPgNetDue =
    "SELECT 1 FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'pg_net'"
    " ORDER BY next_attempt_at LIMIT 1";

}  // namespace

void note_html_pages(const delivery::Result* results, int count) {
  Datum* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(count)));
  int pages = 0;
  for (int i = 0; i < count; ++i)
    if (results[i].outcome.succeeded && core::is_html(results[i].response_content_type))
      ids[pages++] = Int64GetDatum(results[i].id);
  if (pages == 0) return;
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {eight_byte_array(ids, pages, INT8OID)};
  execute_plan(kept_plan(&pages_plan, "SELECT wee5_cron.note_html_pages($1)", 1, types), values, nullptr,
               SPI_OK_SELECT);
}

namespace {

// Runs one of the statements that take $1 ids, $2 attempts, $3 started_at, $4 urls.
void execute_for_calls(SPIPlanPtr* plan, const char* statement, const delivery::OnTheWire* calls, int count,
                       int expected) {
  ArrayParameter ids = make_array_parameter(count);
  ArrayParameter attempts = make_array_parameter(count);
  ArrayParameter started = make_array_parameter(count);
  ArrayParameter urls = make_array_parameter(count);
  for (int row = 0; row < count; ++row) {
    set(&ids, row, Int64GetDatum(calls[row].id));
    set(&attempts, row, Int32GetDatum(calls[row].attempt));
    set(&started, row, TimestampTzGetDatum(timestamp_of_unix_us(calls[row].started_us)));
    set_text(&urls, row, &calls[row].url);
  }
  Oid types[4] = {INT8ARRAYOID, INT4ARRAYOID, get_array_type(TIMESTAMPTZOID), TEXTARRAYOID};
  Datum values[4] = {array_of(&ids, INT8OID), array_of(&attempts, INT4OID), array_of(&started, TIMESTAMPTZOID),
                     array_of(&urls, TEXTOID)};
  execute_plan(kept_plan(plan, statement, 4, types), values, nullptr, expected);
}

// The first column of a row that the statement returned.
int64 returned_id(uint64 row) {
  bool is_null;
  return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &is_null));
}

}  // namespace

void mark_sending(const delivery::OnTheWire* calls, int count) {
  execute_for_calls(&mark_plan, kMark, calls, count, SPI_OK_UPDATE);
}

void claim(const delivery::OnTheWire* calls, int count, MemoryContext context, int64** claimed, int* claimed_count) {
  execute_for_calls(&claim_plan, kClaim, calls, count, SPI_OK_UPDATE_RETURNING);
  *claimed = static_cast<int64*>(MemoryContextAlloc(context, sizeof(int64) * static_cast<Size>(count)));
  *claimed_count = 0;
  for (uint64 row = 0; row < SPI_processed; ++row) (*claimed)[(*claimed_count)++] = returned_id(row);
  if (*claimed_count == count) return;
  int64* left = static_cast<int64*>(palloc(sizeof(int64) * static_cast<Size>(count)));
  int left_count = 0;
  for (int i = 0; i < count; ++i) {
    bool is_claimed = false;
    for (int j = 0; j < *claimed_count; ++j) is_claimed = is_claimed || (*claimed)[j] == calls[i].id;
    if (!is_claimed) left[left_count++] = calls[i].id;
  }
  refuse_discarded_updates(left, left_count);
}

bool queue_due_retries(PendingReads* pending) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(kRetriesPerRead)};
  execute_plan(kept_plan(&queue_due_plan, kQueueDue, 1, types), values, nullptr, SPI_OK_UPDATE_RETURNING);
  for (uint64 row = 0; row < SPI_processed; ++row) add_announced_calls(pending, {returned_id(row), returned_id(row)});
  // The reads that follow use the transaction's snapshot, which has to see these changes.
  if (SPI_processed > 0) UpdateActiveSnapshotCommandId();
  return SPI_processed == kRetriesPerRead;
}

TimestampTz next_attempt_at() {
  execute_plan(kept_plan(&next_attempt_plan, kNextAttempt, 0, nullptr), nullptr, nullptr, SPI_OK_SELECT);
  if (SPI_processed == 0) return 0;
  bool is_null;
  Datum at = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  return is_null ? 0 : DatumGetTimestampTz(at);
}

CancelsLeft cancel_requested_calls(const delivery::Dispatcher* dispatcher, MemoryContext context, int64** held,
                                   int* held_count) {
  *held_count = 0;
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(kCancelsPerRead)};
  execute_plan(kept_plan(&asked_plan, kAsked, 1, types), values, nullptr, SPI_OK_SELECT);
  int count = static_cast<int>(SPI_processed);
  if (count == 0) return CancelsLeft::kNone;
  SPITupleTable* asked = SPI_tuptable;
  *held = static_cast<int64*>(MemoryContextAlloc(context, sizeof(int64) * static_cast<Size>(count)));
  for (int i = 0; i < count; ++i) {
    bool is_null;
    int64 id = DatumGetInt64(SPI_getbinval(asked->vals[i], asked->tupdesc, 1, &is_null));
    const char* path = SPI_getvalue(asked->vals[i], asked->tupdesc, 2);
    if (dispatcher->holds(id))
      (*held)[(*held_count)++] = id;
    else if (path != nullptr)
      end_cancelled(id, path);
  }
  execute_plan(kept_plan(&settled_plan, kSettled, 0, nullptr), nullptr, nullptr, SPI_OK_DELETE);
  uint64 settled = SPI_processed;
  UpdateActiveSnapshotCommandId();
  if (count == kCancelsPerRead && settled > 0) return CancelsLeft::kMore;
  return settled < static_cast<uint64>(count) ? CancelsLeft::kUnsettled : CancelsLeft::kNone;
}

bool pg_net_calls_due() {
  execute_plan(kept_plan(&pg_net_due_plan, kPgNetDue, 0, nullptr), nullptr, nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

bool pg_net_calls_outstanding() { return calls_open_on("pg_net"); }

bool cron_runs_unbound() {
  execute_plan(kept_plan(&unbound_plan,
                         // Not a join: the planner might begin one with the whole ledger, hoping for an early hit.
                         "SELECT 1 FROM wee5_cron.cron_caller c WHERE (SELECT i.finished_at IS NOT NULL"
                         " FROM wee5_cron.invocation i WHERE i.id = c.invocation_id) LIMIT 1",
                         0, nullptr),
               nullptr, nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

}  // namespace wee5::pg
