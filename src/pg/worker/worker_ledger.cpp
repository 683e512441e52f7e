#include "wee5_cron/pg/worker/worker_ledger.h"

#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/array_parameter.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/ledger/end_call.h"
#include "wee5_cron/pg/ledger/record_results.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/registry/ended_calls.h"

namespace wee5::pg {

namespace {

constexpr uint64 kRetriesPerRead = 1000;
constexpr int64 kCancelsPerRead = 1000;

SPIPlanPtr mark_plan = nullptr;
SPIPlanPtr claim_plan = nullptr;
SPIPlanPtr queue_due_plan = nullptr;
SPIPlanPtr any_to_settle_plan = nullptr;
SPIPlanPtr any_waiting_plan = nullptr;
SPIPlanPtr send_waiting_plan = nullptr;
SPIPlanPtr next_attempt_plan = nullptr;
SPIPlanPtr pg_net_due_plan = nullptr;
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

SPIPlanPtr same_key_plan = nullptr;
SPIPlanPtr replaced_plan = nullptr;
SPIPlanPtr ask_plan = nullptr;
SPIPlanPtr left_plan = nullptr;

// $1 role, $2 key, $3 id; returns the ids of the other calls of the key that may have to give way, highest first.
constexpr const char* kSameKey =
    "SELECT i.id::pg_catalog.int8 FROM wee5_cron.invocation i WHERE i.requested_by = $1 AND i.key = $2"
    " AND i.finished_at IS NULL AND i.status IN ('queued', 'retrying') AND i.id <> $3 ORDER BY i.id DESC";

// $1 id, $2 the id of the newer call. Returns a row if the call has not ended and nobody holds its row locked.
constexpr const char* kEndReplaced = "SELECT wee5_cron.end_replaced(free.id, $2) FROM (" WEE5_OPEN_AND_FREE(
    "array[$1]") ") free WHERE (SELECT i.status IN ('queued', 'retrying') FROM wee5_cron.invocation i WHERE i.id = "
                 "free.id)";

// $1 id, $2 the id of the newer call
constexpr const char* kAskAgain = "INSERT INTO wee5_cron.cancellation (invocation_id, replaced_by) VALUES ($1, $2)";

// $1 id: the newer call came too late.
constexpr const char* kLeft = "DELETE FROM wee5_cron.cancellation WHERE invocation_id = $1 AND replaced_by IS NOT NULL";

// However a call has ended: its cancellation is settled.
constexpr const char* kSettled =
    "DELETE FROM wee5_cron.cancellation c WHERE (SELECT i.finished_at IS NULL FROM wee5_cron.invocation i"
    "                                            WHERE i.id = c.invocation_id) IS NOT TRUE";

// Queues calls whose next attempt is due. $1 how many
constexpr const char* kQueueDue =
    "UPDATE wee5_cron.invocation SET next_attempt_at = NULL WHERE id IN ("
    "  SELECT id FROM wee5_cron.invocation"
    "  WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'builtin'"
    "    AND status <> 'accepted'"
    "  ORDER BY next_attempt_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id::pg_catalog.int8";

// Most databases have no call that the app works on, or that waits for the end of another one. To find that out costs a
// new process less than a function in PL/pgSQL, which it has to load.
constexpr const char* kAnyToSettle =
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM wee5_cron.invocation WHERE http_status = 202"
    "                         AND (finished_at IS NULL OR reason = 'incomplete') AND status = 'accepted')"
    " OR EXISTS (SELECT 1 FROM wee5_cron.pending_outcome)";
constexpr const char* kAnyWaiting =
    "SELECT 1 FROM wee5_cron.invocation WHERE finished_at IS NULL AND next_attempt_at = 'infinity' LIMIT 1";

// Makes calls due that waited for the end of another one.
constexpr const char* kSendWaiting = "SELECT w.id FROM wee5_cron.send_waiting_calls() w (id)";

// Without calls that harvest() cannot hand over at the moment, and those that wait for the end of another one.
constexpr const char* kNextAttempt =
    "SELECT next_attempt_at::pg_catalog.timestamptz FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL"
    "   AND (transport = 'builtin' OR next_attempt_at > pg_catalog.now()) AND next_attempt_at < 'infinity'"
    " ORDER BY next_attempt_at LIMIT 1";

constexpr const char* kPgNetDue =
    "SELECT 1 FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'pg_net'"
    " ORDER BY next_attempt_at LIMIT 1";

bool finds_row(SPIPlanPtr* plan, const char* statement) {
  execute_plan(kept_plan(plan, statement, 0, nullptr), nullptr, nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

}  // namespace

void want_round(PendingReads* pending, int64 from) {
  pending->announced.look_from = Min(pending->announced.look_from, from);
}

void want_round_for(PendingReads* pending, IdRange range) {
  want_round(pending, range.first);
  pending->waits_unknown = true;
}

void add_announced_calls(PendingReads* pending, IdRange range) {
  if (pending->announced.count < kAnnouncements)
    pending->announced.ranges[pending->announced.count++] = range;
  else
    want_round_for(pending, range);
}

bool has_new_calls(const PendingReads* pending) {
  return pending->announced.count > 0 || (!pending->round_under_way && pending->announced.look_from != kNothing);
}

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

// False if the row is locked, or the call has ended or been sent.
bool end_replaced(int64 id, int64 replaced_by) {
  Oid types[2] = {INT8OID, INT8OID};
  Datum values[2] = {Int64GetDatum(id), Int64GetDatum(replaced_by)};
  execute_plan(kept_plan(&replaced_plan, kEndReplaced, 2, types), values, nullptr, SPI_OK_SELECT);
  if (SPI_processed == 0) return false;
  note_ended_call(id);
  return true;
}

void add_ended(EndedCalls* ended, int64 id) {
  if (ended->count == ended->capacity) {
    ended->capacity = Max(64, ended->capacity * 2);
    Size bytes = sizeof(int64) * static_cast<Size>(ended->capacity);
    ended->ids = static_cast<int64*>(ended->ids == nullptr ? MemoryContextAlloc(ended->context, bytes)
                                                           : repalloc(ended->ids, bytes));
  }
  ended->ids[ended->count++] = id;
}

bool is_read(const DueRows* due, int64 id) {
  for (int i = 0; i < due->count; ++i)
    if (due->rows[i].id == id) return true;
  return false;
}

// The other calls of the key, highest first.
int64* calls_of_key(const char* role, const char* key, int64 id, int* count) {
  NameData name;
  namestrcpy(&name, role);
  Oid types[3] = {NAMEOID, TEXTOID, INT8OID};
  Datum values[3] = {NameGetDatum(&name), CStringGetTextDatum(key), Int64GetDatum(id)};
  execute_plan(kept_plan(&same_key_plan, kSameKey, 3, types), values, nullptr, SPI_OK_SELECT);
  *count = static_cast<int>(SPI_processed);
  int64* ids = static_cast<int64*>(palloc(sizeof(int64) * static_cast<Size>(*count + 1)));
  for (int i = 0; i < *count; ++i) {
    bool is_null;
    ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
  }
  return ids;
}

// A row that somebody holds locked: the cancellation stays until it is free.
void ask_to_end_later(DueRows* due, int64 id, int64 replaced_by) {
  Oid types[2] = {INT8OID, INT8OID};
  Datum values[2] = {Int64GetDatum(id), Int64GetDatum(replaced_by)};
  execute_plan(kept_plan(&ask_plan, kAskAgain, 2, types), values, nullptr, SPI_OK_INSERT);
  due->rows_were_locked = true;
  due->cancels_left = true;
}

}  // namespace

bool is_replaced(const delivery::Dispatcher* dispatcher, DueRows* due, int64 id, const char* role, const char* key,
                 EndedCalls* ended) {
  int count;
  int64* ids = calls_of_key(role, key, id, &count);
  for (int i = 0; i < count; ++i) {
    // On the wire, although the ledger does not say so yet.
    bool held = dispatcher->holds(ids[i]);
    if (held && !dispatcher->is_waiting(ids[i])) continue;
    if (ids[i] > id) {
      if (end_replaced(id, ids[i]))
        ++due->ended;
      else
        due->rows_were_locked = true;
      return true;
    }
    if (!end_replaced(ids[i], id))
      ask_to_end_later(due, ids[i], id);
    else if (held || is_read(due, ids[i]))
      add_ended(ended, ids[i]);
  }
  return false;
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

bool queue_due_calls(PendingReads* pending) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(kRetriesPerRead)};
  execute_plan(kept_plan(&queue_due_plan, kQueueDue, 1, types), values, nullptr, SPI_OK_UPDATE_RETURNING);
  for (uint64 row = 0; row < SPI_processed; ++row) add_announced_calls(pending, {returned_id(row), returned_id(row)});
  // The reads that follow use the transaction's snapshot, which has to see these changes.
  if (SPI_processed > 0) UpdateActiveSnapshotCommandId();
  return SPI_processed == kRetriesPerRead;
}

bool send_waiting_calls(PendingReads* pending) {
  if (database_sql != own_sql || !finds_row(&any_waiting_plan, kAnyWaiting)) return false;
  execute_plan(kept_plan(&send_waiting_plan, kSendWaiting, 0, nullptr), nullptr, nullptr, SPI_OK_SELECT);
  for (uint64 row = 0; row < SPI_processed; ++row) add_announced_calls(pending, {returned_id(row), returned_id(row)});
  // The reads that follow use the transaction's snapshot, which has to see these changes.
  if (SPI_processed > 0) UpdateActiveSnapshotCommandId();
  return SPI_processed > 0;
}

Settled settle_accepted(const int64* ids, int count) {
  VersionedStatement* statement = &database_sql->settle_accepted;
  Settled settled = {0, false};
  if (statement->text == nullptr || (ids == nullptr && !finds_row(&any_to_settle_plan, kAnyToSettle))) return settled;
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {0};
  if (ids != nullptr) {
    ArrayParameter parameter = make_array_parameter(count);
    for (int i = 0; i < count; ++i) set(&parameter, i, Int64GetDatum(ids[i]));
    values[0] = array_of(&parameter, INT8OID);
  }
  select_row(kept_plan(&statement->plan, statement->text, 1, types), values, ids != nullptr ? " " : "n");
  bool is_null;
  settled.alerts = DatumGetBool(selected_column("alerts", &is_null));
  Datum ended = selected_column("ended", &is_null);
  if (is_null) return settled;
  Datum* elements;
  deconstruct_array(DatumGetArrayTypeP(ended), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
                    nullptr, &settled.ended);
  for (int i = 0; i < settled.ended; ++i) note_ended_call(DatumGetInt64(elements[i]));
  // The reads that follow use the transaction's snapshot, which has to see these changes.
  UpdateActiveSnapshotCommandId();
  return settled;
}

TimestampTz next_attempt_at() {
  execute_plan(kept_plan(&next_attempt_plan, kNextAttempt, 0, nullptr), nullptr, nullptr, SPI_OK_SELECT);
  if (SPI_processed == 0) return 0;
  bool is_null;
  Datum at = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  return is_null ? 0 : DatumGetTimestampTz(at);
}

namespace {

// A call that somebody asked to give up.
struct Cancellation {
  int64 id;
  const char* path;   // NULL: the call is gone
  int64 replaced_by;  // 0: cancel() was called
};

Cancellation read_cancellation(HeapTuple row, TupleDesc descriptor) {
  bool is_null;
  Cancellation asked;
  asked.id = DatumGetInt64(SPI_getbinval(row, descriptor, 1, &is_null));
  asked.path = SPI_getvalue(row, descriptor, 2);
  asked.replaced_by = DatumGetInt64(SPI_getbinval(row, descriptor, 3, &is_null));
  return asked;
}

// True if the newer call came too late: this one is on the wire.
bool leave_or_end_replaced(const delivery::Dispatcher* dispatcher, const DueRows* due, const Cancellation* asked,
                           EndedCalls* ended) {
  bool held = dispatcher->holds(asked->id);
  if (!held || dispatcher->is_waiting(asked->id)) {
    bool known = held || is_read(due, asked->id);
    if (end_replaced(asked->id, asked->replaced_by) && known) add_ended(ended, asked->id);
    return false;
  }
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(asked->id)};
  execute_plan(kept_plan(&left_plan, kLeft, 1, types), values, nullptr, SPI_OK_DELETE);
  return true;
}

}  // namespace

CancelsLeft cancel_requested_calls(const delivery::Dispatcher* dispatcher, const DueRows* due, MemoryContext context,
                                   int64** held, int* held_count, EndedCalls* ended) {
  *held_count = 0;
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(kCancelsPerRead)};
  VersionedStatement* statement = &database_sql->cancellations;
  execute_plan(kept_plan(&statement->plan, statement->text, 1, types), values, nullptr, SPI_OK_SELECT);
  int count = static_cast<int>(SPI_processed);
  if (count == 0) return CancelsLeft::kNone;
  SPITupleTable* rows = SPI_tuptable;
  *held = static_cast<int64*>(MemoryContextAlloc(context, sizeof(int64) * static_cast<Size>(count)));
  uint64 settled = 0;
  for (int i = 0; i < count; ++i) {
    Cancellation asked = read_cancellation(rows->vals[i], rows->tupdesc);
    if (asked.replaced_by != 0)
      settled += leave_or_end_replaced(dispatcher, due, &asked, ended) ? 1 : 0;
    else if (dispatcher->holds(asked.id))
      (*held)[(*held_count)++] = asked.id;
    else if (asked.path != nullptr && end_cancelled(asked.id, asked.path) && is_read(due, asked.id))
      add_ended(ended, asked.id);
  }
  execute_plan(kept_plan(&settled_plan, kSettled, 0, nullptr), nullptr, nullptr, SPI_OK_DELETE);
  settled += SPI_processed;
  UpdateActiveSnapshotCommandId();
  if (count == kCancelsPerRead && settled > 0) return CancelsLeft::kMore;
  return settled < static_cast<uint64>(count) ? CancelsLeft::kUnsettled : CancelsLeft::kNone;
}

bool pg_net_calls_due() { return finds_row(&pg_net_due_plan, kPgNetDue); }

bool pg_net_calls_outstanding() { return calls_open_on("pg_net"); }

bool cron_runs_unbound() {
  // Not a join: the planner might begin one with the whole ledger, hoping for an early hit.
  return finds_row(&unbound_plan,
                   "SELECT 1 FROM wee5_cron.cron_caller c"
                   " WHERE (SELECT i.finished_at IS NOT NULL OR i.status = 'accepted' FROM wee5_cron.invocation i"
                   "        WHERE i.id = c.invocation_id) LIMIT 1");
}

}  // namespace wee5::pg
