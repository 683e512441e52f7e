#include "wee5_cron/pg/worker/worker_ledger.h"

#include "wee5_cron/core/endpoint_path.hpp"
#include "wee5_cron/core/outcome.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/ledger/ended_calls.h"
#include "wee5_cron/pg/ledger/ledger.h"
#include "wee5_cron/pg/ledger/outcome_text.h"
#include "wee5_cron/pg/ledger/overlap.h"
#include "wee5_cron/pg/ledger/result_writer.h"

namespace wee5::pg {

namespace {

constexpr uint64 kRetriesPerRead = 1000;
constexpr int64 kCancelsPerRead = 1000;

SPIPlanPtr record_plan = nullptr;
SPIPlanPtr left_plan = nullptr;
SPIPlanPtr free_plan = nullptr;
SPIPlanPtr mark_plan = nullptr;
SPIPlanPtr claim_plan = nullptr;
SPIPlanPtr skip_plan = nullptr;
SPIPlanPtr unreadable_plan = nullptr;
SPIPlanPtr outcome_plan = nullptr;
SPIPlanPtr path_plan = nullptr;
SPIPlanPtr turn_due_plan = nullptr;
SPIPlanPtr next_attempt_plan = nullptr;
SPIPlanPtr pg_net_due_plan = nullptr;
SPIPlanPtr asked_plan = nullptr;
SPIPlanPtr cancel_plan = nullptr;
SPIPlanPtr settled_plan = nullptr;
SPIPlanPtr lost_plan = nullptr;
SPIPlanPtr unbound_plan = nullptr;
SPIPlanPtr pages_plan = nullptr;

// Those of the calls that have not ended and that nobody else holds, locked. By the primary key: statistics from a time
// when nothing was open make an index of what is open look empty, and then each of the calls would read all of it.
#define WEE5_OPEN_AND_FREE(ids)                                              \
  "SELECT f.id FROM (SELECT l.id, l.finished_at FROM wee5_cron.invocation l" \
  "                  WHERE l.id = ANY (" ids                                 \
  ") OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED) f"                              \
  " WHERE f.finished_at IS NULL"

// unnest() of several arrays is syntax: with a schema before it, it would be a function that does not exist.
// $1 id, $2 attempt, $3 status, $4 reason, $5 error, $6 hint, $7 http_status, $8 started_at, $9 finished_at, $10 url,
// $11 content type, $12 body, $13 truncated, $14 dns_ms, $15 connect_ms, $16 tls_ms, $17 first_byte_ms, $18 total_ms:
// $19 next_attempt_at, $20 as_before: all of them arrays. A result without started_at is of an attempt that was not
// begun; one with next_attempt_at is not the end of its call; one as_before leaves what its last attempt came to.
constexpr const char* kRecord =
    "WITH result AS ("
    "  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
    "    AS r(id, attempt, status, reason, error, hint, http_status, started_at, finished_at, url, content_type, body,"
    "         truncated, dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms, next_attempt_at, as_before)"
    "), free AS MATERIALIZED (" WEE5_OPEN_AND_FREE("$1") "), booked AS ("
    "  UPDATE wee5_cron.invocation i"
    "  SET status = r.status, reason = CASE WHEN r.as_before THEN i.reason ELSE r.reason END,"
    "      error = CASE WHEN r.as_before THEN i.error ELSE r.error END,"
    "      hint = CASE WHEN r.as_before THEN i.hint ELSE r.hint END,"
    "      http_status = CASE WHEN r.as_before THEN i.http_status ELSE r.http_status END,"
    "      attempts = r.attempt, url = coalesce(r.url, i.url),"
    "      first_sent_at = coalesce(i.first_sent_at, r.started_at), next_attempt_at = r.next_attempt_at,"
    "      finished_at = CASE WHEN r.next_attempt_at IS NULL THEN r.finished_at END,"
    "      duration = CASE WHEN r.next_attempt_at IS NULL"
    "                      THEN r.finished_at - coalesce(i.first_sent_at, r.started_at) END,"
    "      response_content_type = CASE WHEN r.as_before THEN i.response_content_type ELSE r.content_type END,"
    "      response_body = CASE WHEN r.as_before THEN i.response_body ELSE r.body END,"
    "      response_truncated = CASE WHEN r.as_before THEN i.response_truncated ELSE r.truncated END"
    "  FROM result r WHERE i.id = r.id AND i.id IN (SELECT id FROM free)"
    "  RETURNING r.*"
    ") INSERT INTO wee5_cron.attempt"
    "  (invocation_id, attempt, started_at, finished_at, http_status, reason, error, dns_ms, connect_ms, tls_ms,"
    "   first_byte_ms, total_ms)"
    "  SELECT id, attempt, started_at, finished_at, http_status, reason, error, dns_ms, connect_ms, tls_ms,"
    "         first_byte_ms, total_ms"
    "  FROM booked WHERE started_at IS NOT NULL"
    "  ON CONFLICT DO NOTHING";
constexpr int kRecordColumns = 20;

// $1 ids. By the primary key, too.
constexpr const char* kLeft =
    "SELECT i.id::pg_catalog.int8 FROM (SELECT f.id, f.finished_at, f.next_attempt_at FROM wee5_cron.invocation f "
    "WHERE f.id = ANY ($1)"
    "                  OFFSET 0) i"
    " WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL";

// $1 ids, $2 attempts, $3 started_at, $4 urls
constexpr const char* kMark =
    "UPDATE wee5_cron.invocation i SET status = 'sending', attempts = c.attempt, url = c.url,"
    "  first_sent_at = coalesce(i.first_sent_at, c.started_at)"
    " FROM unnest($1, $2, $3, $4) AS c(id, attempt, started_at, url)"
    // Whoever holds a row's lock keeps it from being marked, and no more.
    " WHERE i.id = c.id AND i.id IN (" WEE5_OPEN_AND_FREE("$1") ")";

// Those of $1, $2, $3, $4 as above that are there to be claimed.
constexpr const char* kClaim =
    "UPDATE wee5_cron.invocation i SET status = 'sending', attempts = c.attempt, url = c.url,"
    "  first_sent_at = coalesce(i.first_sent_at, c.started_at)"
    " FROM unnest($1, $2, $3, $4) AS c(id, attempt, started_at, url)"
    " WHERE i.id = c.id AND i.id IN (" WEE5_OPEN_AND_FREE("$1") ") RETURNING i.id::pg_catalog.int8";

// $1 id, $2 error, $3 hint
constexpr const char* kSkip =
    "UPDATE wee5_cron.invocation SET status = 'skipped', reason = 'overlap', error = $2, hint = $3,"
    "  finished_at = pg_catalog.clock_timestamp()"
    " WHERE id IN (" WEE5_OPEN_AND_FREE("array[$1]") ")";

// $1 id, $2 error, $3 hint
constexpr const char* kUnreadable =
    "UPDATE wee5_cron.invocation SET status = 'failed', reason = 'config', error = $2, hint = $3,"
    "  next_attempt_at = NULL, finished_at = pg_catalog.clock_timestamp()"
    " WHERE id IN (" WEE5_OPEN_AND_FREE("array[$1]") ")";

constexpr const char* kAsked = "SELECT DISTINCT invocation_id::pg_catalog.int8 FROM wee5_cron.cancellation LIMIT $1";

// $1 id
constexpr const char* kPath = "SELECT endpoint_path FROM wee5_cron.invocation WHERE id = $1";

// $1 id, $2 error
constexpr const char* kCancel =
    "UPDATE wee5_cron.invocation SET status = 'cancelled', reason = 'cancelled', hint = NULL, next_attempt_at = NULL,"
    "  error = $2,"
    "  finished_at = pg_catalog.clock_timestamp(),"
    "  duration = pg_catalog.clock_timestamp() - first_sent_at"
    " WHERE id IN (" WEE5_OPEN_AND_FREE("array[$1]") ")";

// Calls that have ended, however, are not to be given up any more.
constexpr const char* kSettled =
    "DELETE FROM wee5_cron.cancellation c WHERE (SELECT i.finished_at IS NULL FROM wee5_cron.invocation i"
    "                                            WHERE i.id = c.invocation_id) IS NOT TRUE";

// Whose time has come: they take their turn with the others. $1 how many
constexpr const char* kTurnDue =
    "UPDATE wee5_cron.invocation SET next_attempt_at = NULL WHERE id IN ("
    "  SELECT id FROM wee5_cron.invocation"
    "  WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'builtin'"
    "  ORDER BY next_attempt_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id::pg_catalog.int8";

// What harvest() cannot send for the moment is not waited for here.
constexpr const char* kNextAttempt =
    "SELECT next_attempt_at::pg_catalog.timestamptz FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at IS NOT NULL"
    "   AND (transport = 'builtin' OR next_attempt_at > pg_catalog.now())"
    " ORDER BY next_attempt_at LIMIT 1";

constexpr const char* kPgNetDue =
    "SELECT 1 FROM wee5_cron.invocation"
    " WHERE finished_at IS NULL AND next_attempt_at <= pg_catalog.now() AND transport = 'pg_net'"
    " ORDER BY next_attempt_at LIMIT 1";

// $1 id, $2 attempt, $3 error
constexpr const char* kLost =
    "INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, reason, error)"
    " SELECT i.id, $2, CASE WHEN $2 = 1 THEN i.first_sent_at END, pg_catalog.clock_timestamp(), 'lost',"
    "        $3"
    " FROM wee5_cron.invocation i WHERE i.id = $1 ON CONFLICT DO NOTHING";

// One parameter of a statement that takes many rows at once.
struct Column {
  Datum* values;
  bool* nulls;
  int size;
};

Column make_column(int size) {
  Column column;
  column.values = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(size)));
  column.nulls = static_cast<bool*>(palloc(sizeof(bool) * static_cast<Size>(size)));
  column.size = size;
  return column;
}

void set(Column* column, int row, Datum value, bool is_null = false) {
  column->values[row] = value;
  column->nulls[row] = is_null;
}
void set_text(Column* column, int row, const std::string* utf8) {
  bool is_null = utf8->empty();
  set(column, row, is_null ? 0 : CStringGetTextDatum(from_utf8(utf8->c_str())), is_null);
}
void set_ms(Column* column, int row, float ms) { set(column, row, Float4GetDatum(ms), ms < 0); }

Datum array_of(const Column* column, Oid type) {
  int16 length;
  bool by_value;
  char align;
  get_typlenbyvalalign(type, &length, &by_value, &align);
  int dims[1] = {column->size};
  int lower[1] = {1};
  return PointerGetDatum(
      construct_md_array(column->values, column->nulls, 1, dims, lower, type, length, by_value, align));
}

TimestampTz timestamp_of_unix_us(int64 unix_us) {
  return unix_us - static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

void set_result(Column* columns, int row, const delivery::Result* result) {
  const core::Explanation* outcome = &result->outcome;
  const char* reason = core::reason_name(outcome->reason);
  bool begun = result->started_us > 0;
  set(&columns[0], row, Int64GetDatum(result->id));
  set(&columns[1], row, Int32GetDatum(result->attempt));
  bool again = is_made_again(result);
  set(&columns[2], row, CStringGetTextDatum(status_of(result)));
  set(&columns[3], row, reason[0] != '\0' ? CStringGetTextDatum(reason) : 0, reason[0] == '\0');
  set_text(&columns[4], row, &outcome->error);
  set_text(&columns[5], row, &outcome->hint);
  set(&columns[6], row, Int32GetDatum(result->http_status), result->http_status == 0);
  set(&columns[7], row, TimestampTzGetDatum(timestamp_of_unix_us(result->started_us)), !begun);
  set(&columns[8], row, TimestampTzGetDatum(timestamp_of_unix_us(result->finished_us)));
  set_text(&columns[9], row, &result->url);
  set_text(&columns[10], row, &result->response_content_type);
  // An answer without a body has an empty one; without an answer there is none.
  if (result->http_status != 0)
    set(&columns[11], row, CStringGetTextDatum(from_utf8(result->response_body.c_str())));
  else
    set(&columns[11], row, 0, true);
  set(&columns[12], row, BoolGetDatum(result->response_truncated));
  set_ms(&columns[13], row, result->timings.dns_ms);
  set_ms(&columns[14], row, result->timings.connect_ms);
  set_ms(&columns[15], row, result->timings.tls_ms);
  set_ms(&columns[16], row, result->timings.first_byte_ms);
  set_ms(&columns[17], row, result->timings.total_ms);
  set(&columns[18], row, TimestampTzGetDatum(timestamp_of_unix_us(result->retry_at_us)), !again);
  set(&columns[19], row, BoolGetDatum(result->as_before));
}

void execute(SPIPlanPtr plan, Datum* values, int expected) {
  int result = SPI_execute_plan(plan, values, nullptr, false, 0);
  if (result != expected) elog(ERROR, "unexpected result of a ledger statement: %s", SPI_result_code_string(result));
}

// What the row of a call that ended without an answer says.
Datum error_of_call(core::Reason reason, int64 id) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(id)};
  execute(kept_plan(&path_plan, kPath, 1, types), values, SPI_OK_SELECT);
  const char* path = SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : nullptr;
  return CStringGetTextDatum(outcome_error(reason, path != nullptr ? path : "", ""));
}

}  // namespace

void book_lost_attempt(int64 id, int attempt) {
  Oid types[3] = {INT8OID, INT4OID, TEXTOID};
  Datum values[3] = {Int64GetDatum(id), Int32GetDatum(attempt), error_of_call(core::Reason::kLost, id)};
  execute(kept_plan(&lost_plan, kLost, 3, types), values, SPI_OK_INSERT);
}

namespace {

// Rows that are open after their update although nobody holds them: a user's trigger or rule has discarded it. It would
// be tried for ever, without a word. `ids`: of the rows that were not updated.
void refuse_discarded_updates(const int64* ids, int count) {
  Relation table = table_open(get_relname_relid("invocation", get_namespace_oid("wee5_cron", false)), AccessShareLock);
  bool may_discard =
      table->rd_rules != nullptr || (table->trigdesc != nullptr && table->trigdesc->trig_update_before_row);
  table_close(table, NoLock);
  if (!may_discard) return;
  Column column = make_column(count);
  for (int i = 0; i < count; ++i) set(&column, i, Int64GetDatum(ids[i]));
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {array_of(&column, INT8OID)};
  execute(kept_plan(&free_plan, WEE5_OPEN_AND_FREE("$1"), 1, types), values, SPI_OK_SELECT);
  if (SPI_processed == 0) return;
  ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
                  errmsg("a trigger or rule on wee5_cron.invocation discards what the worker records"),
                  errhint("Look at the triggers and rules of the table: \\d wee5_cron.invocation")));
}

int record_by_statement(const delivery::Result* results, const int* chosen, int count, int64* locked) {
  static const Oid types[kRecordColumns] = {
      INT8OID, INT4OID, TEXTOID, TEXTOID,   TEXTOID,   TEXTOID,   INT4OID,   TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
      TEXTOID, TEXTOID, BOOLOID, FLOAT4OID, FLOAT4OID, FLOAT4OID, FLOAT4OID, FLOAT4OID,      TIMESTAMPTZOID, BOOLOID};
  Column columns[kRecordColumns];
  for (Column& column : columns) column = make_column(count);
  for (int row = 0; row < count; ++row) set_result(columns, row, &results[chosen[row]]);
  Oid array_types[kRecordColumns];
  Datum values[kRecordColumns];
  for (int i = 0; i < kRecordColumns; ++i) {
    array_types[i] = get_array_type(types[i]);
    values[i] = array_of(&columns[i], types[i]);
  }
  execute(kept_plan(&record_plan, kRecord, kRecordColumns, array_types), values, SPI_OK_INSERT);
  // What is open still was locked.
  execute(kept_plan(&left_plan, kLeft, 1, array_types), values, SPI_OK_SELECT);
  int left = static_cast<int>(SPI_processed);
  for (int i = 0; i < left; ++i) {
    bool is_null;
    locked[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
  }
  if (left > 0) refuse_discarded_updates(locked, left);
  return left;
}

}  // namespace

int record_results(const delivery::Result* results, int count, bool directly, int64* locked) {
  for (int i = 0; i < count; ++i)
    if (!is_made_again(&results[i])) note_ended_call(results[i].id);
  bool* left = static_cast<bool*>(palloc(sizeof(bool) * static_cast<Size>(count)));
  if (!directly || !write_results(results, count, left)) memset(left, true, sizeof(bool) * static_cast<Size>(count));
  int* chosen = static_cast<int*>(palloc(sizeof(int) * static_cast<Size>(count)));
  int chosen_count = 0;
  for (int i = 0; i < count; ++i)
    if (left[i]) chosen[chosen_count++] = i;
  return chosen_count == 0 ? 0 : record_by_statement(results, chosen, chosen_count, locked);
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
  execute(kept_plan(&pages_plan, "SELECT wee5_cron.note_html_pages($1)", 1, types), values, SPI_OK_SELECT);
}

namespace {

// Runs one of the statements that take $1 ids, $2 attempts, $3 started_at, $4 urls.
void execute_for_calls(SPIPlanPtr* plan, const char* statement, const delivery::OnTheWire* calls, int count,
                       int expected) {
  Column ids = make_column(count);
  Column attempts = make_column(count);
  Column started = make_column(count);
  Column urls = make_column(count);
  for (int row = 0; row < count; ++row) {
    set(&ids, row, Int64GetDatum(calls[row].id));
    set(&attempts, row, Int32GetDatum(calls[row].attempt));
    set(&started, row, TimestampTzGetDatum(timestamp_of_unix_us(calls[row].started_us)));
    set_text(&urls, row, &calls[row].url);
  }
  Oid types[4] = {INT8ARRAYOID, INT4ARRAYOID, get_array_type(TIMESTAMPTZOID), TEXTARRAYOID};
  Datum values[4] = {array_of(&ids, INT8OID), array_of(&attempts, INT4OID), array_of(&started, TIMESTAMPTZOID),
                     array_of(&urls, TEXTOID)};
  execute(kept_plan(plan, statement, 4, types), values, expected);
}

// Of the row that a statement returned, its first column.
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

bool let_due_retries_take_their_turn(Outlook* outlook) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(kRetriesPerRead)};
  execute(kept_plan(&turn_due_plan, kTurnDue, 1, types), values, SPI_OK_UPDATE_RETURNING);
  for (uint64 row = 0; row < SPI_processed; ++row) announce(outlook, {returned_id(row), returned_id(row)});
  // The reads that follow go by the transaction's snapshot: what was just changed is to be seen in it.
  if (SPI_processed > 0) UpdateActiveSnapshotCommandId();
  return SPI_processed == kRetriesPerRead;
}

TimestampTz next_attempt_at() {
  execute(kept_plan(&next_attempt_plan, kNextAttempt, 0, nullptr), nullptr, SPI_OK_SELECT);
  if (SPI_processed == 0) return 0;
  bool is_null;
  Datum at = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  return is_null ? 0 : DatumGetTimestampTz(at);
}

bool skip_for_overlap(int64 id, const char* path, int64 beside) {
  Oid types[3] = {INT8OID, TEXTOID, TEXTOID};
  Datum values[3] = {Int64GetDatum(id), CStringGetTextDatum(overlap_error(path, beside)),
                     CStringGetTextDatum(overlap_hint(path))};
  execute(kept_plan(&skip_plan, kSkip, 3, types), values, SPI_OK_UPDATE);
  note_ended_call(id);
  return SPI_processed > 0;
}

bool end_unreadable(int64 id, const char* error) {
  Oid types[3] = {INT8OID, TEXTOID, TEXTOID};
  Datum values[3] = {Int64GetDatum(id),
                     CStringGetTextDatum(psprintf("The row of this call cannot be read: %s.", error)),
                     CStringGetTextDatum("Look at the row: a value in it is missing, damaged or too long. Then make "
                                         "the call again.")};
  execute(kept_plan(&unreadable_plan, kUnreadable, 3, types), values, SPI_OK_UPDATE);
  if (SPI_processed == 0) return false;
  note_ended_call(id);
  // Alerts go by the path, which may be just what cannot be read.
  Oid id_types[1] = {INT8OID};
  ErrorData* untold;
  in_subtransaction(
      [&id_types, &values] {
        execute(kept_plan(&outcome_plan, "SELECT wee5_cron.note_outcomes(array[$1])", 1, id_types), values,
                SPI_OK_SELECT);
      },
      &untold);
  return true;
}

CancelsLeft give_up_calls(const delivery::Dispatcher* dispatcher, MemoryContext context, int64** held,
                          int* held_count) {
  *held_count = 0;
  Oid types[2] = {INT8OID, TEXTOID};
  Datum values[2] = {Int64GetDatum(kCancelsPerRead), 0};
  execute(kept_plan(&asked_plan, kAsked, 1, types), values, SPI_OK_SELECT);
  int count = static_cast<int>(SPI_processed);
  if (count == 0) return CancelsLeft::kNone;
  SPITupleTable* asked = SPI_tuptable;
  *held = static_cast<int64*>(MemoryContextAlloc(context, sizeof(int64) * static_cast<Size>(count)));
  for (int i = 0; i < count; ++i) {
    bool is_null;
    int64 id = DatumGetInt64(SPI_getbinval(asked->vals[i], asked->tupdesc, 1, &is_null));
    if (dispatcher->holds(id)) {
      (*held)[(*held_count)++] = id;
    } else {
      values[0] = Int64GetDatum(id);
      values[1] = error_of_call(core::Reason::kCancelled, id);
      execute(kept_plan(&cancel_plan, kCancel, 2, types), values, SPI_OK_UPDATE);
      note_ended_call(id);
    }
  }
  execute(kept_plan(&settled_plan, kSettled, 0, nullptr), nullptr, SPI_OK_DELETE);
  uint64 settled = SPI_processed;
  UpdateActiveSnapshotCommandId();
  if (count == kCancelsPerRead && settled > 0) return CancelsLeft::kMore;
  return settled < static_cast<uint64>(count) ? CancelsLeft::kUnsettled : CancelsLeft::kNone;
}

bool pg_net_calls_due() {
  execute(kept_plan(&pg_net_due_plan, kPgNetDue, 0, nullptr), nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

bool pg_net_calls_outstanding() { return calls_open_on("pg_net"); }

void harvest_pg_net() { SPI_execute("SELECT wee5_cron.harvest()", false, 0); }

void bind_cron_runs() { SPI_execute("SELECT wee5_cron.bind_cron_runs()", false, 0); }

int64 watch_jobs() {
  bool is_null = true;
  Datum look_again = 0;
  if (SPI_execute("SELECT wee5_cron.watch_jobs()", false, 0) == SPI_OK_SELECT && SPI_processed == 1)
    look_again = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  return is_null ? 0 : DatumGetTimestampTz(look_again);
}

bool cron_runs_unbound() {
  execute(kept_plan(&unbound_plan,
                    // Not a join: that might begin with the whole ledger, hoping for an early hit.
                    "SELECT 1 FROM wee5_cron.cron_caller c WHERE (SELECT i.finished_at IS NOT NULL"
                    " FROM wee5_cron.invocation i WHERE i.id = c.invocation_id) LIMIT 1",
                    0, nullptr),
          nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

}  // namespace wee5::pg
