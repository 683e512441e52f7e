#include "wee5_cron/pg/worker_ledger.h"

#include "wee5_cron/core/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary.h"
#include "wee5_cron/pg/kept_plan.h"
#include "wee5_cron/pg/ledger.h"

namespace wee5::pg {

namespace {

// A look at the ledger takes up this many routes at most; the rest has its turn at the next.
constexpr int kRoutesPerRead = 64;

SPIPlanPtr record_plan = nullptr;
SPIPlanPtr mark_plan = nullptr;
SPIPlanPtr route_plan = nullptr;
SPIPlanPtr due_plan = nullptr;
SPIPlanPtr lost_plan = nullptr;
SPIPlanPtr outstanding_plan = nullptr;
SPIPlanPtr unbound_plan = nullptr;

// unnest() of several arrays is syntax: with a schema before it, it would be a function that does not exist.
// $1 id, $2 attempt, $3 status, $4 reason, $5 error, $6 hint, $7 http_status, $8 started_at, $9 finished_at, $10 url,
// $11 content type, $12 body, $13 truncated, $14 dns_ms, $15 connect_ms, $16 tls_ms, $17 first_byte_ms, $18 total_ms:
// all of them arrays. A result without started_at is of an attempt that was not begun.
constexpr const char* kRecord =
    "WITH result AS ("
    "  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
    "    AS r(id, attempt, status, reason, error, hint, http_status, started_at, finished_at, url, content_type, body,"
    "         truncated, dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms)"
    "), booked AS ("
    "  UPDATE wee5_cron.invocation i"
    "  SET status = r.status, reason = r.reason, error = r.error, hint = r.hint, http_status = r.http_status,"
    "      attempts = r.attempt, url = coalesce(r.url, i.url),"
    "      first_sent_at = coalesce(i.first_sent_at, r.started_at), finished_at = r.finished_at,"
    "      duration = r.finished_at - coalesce(i.first_sent_at, r.started_at),"
    "      response_content_type = r.content_type, response_body = r.body, response_truncated = r.truncated"
    "  FROM result r WHERE i.id = r.id AND i.finished_at IS NULL"
    "  RETURNING i.id"
    ") INSERT INTO wee5_cron.attempt"
    "  (invocation_id, attempt, started_at, finished_at, http_status, reason, error, dns_ms, connect_ms, tls_ms,"
    "   first_byte_ms, total_ms)"
    "  SELECT r.id, r.attempt, r.started_at, r.finished_at, r.http_status, r.reason, r.error, r.dns_ms, r.connect_ms,"
    "         r.tls_ms, r.first_byte_ms, r.total_ms"
    "  FROM result r JOIN booked b ON b.id = r.id WHERE r.started_at IS NOT NULL"
    "  ON CONFLICT DO NOTHING";
constexpr int kRecordColumns = 18;

// $1 ids, $2 attempts, $3 started_at, $4 urls
constexpr const char* kMark =
    "UPDATE wee5_cron.invocation i SET status = 'sending', attempts = c.attempt, url = c.url,"
    "  first_sent_at = coalesce(i.first_sent_at, c.started_at)"
    " FROM unnest($1, $2, $3, $4) AS c(id, attempt, started_at, url)"
    " WHERE i.id = c.id AND i.finished_at IS NULL";

// $1 the route before
constexpr const char* kNextRoute =
    "SELECT pg_catalog.split_part(endpoint_path, '?', 1) FROM wee5_cron.invocation"
    " WHERE transport = 'builtin' AND finished_at IS NULL"
    "   AND pg_catalog.split_part(endpoint_path, '?', 1) COLLATE \"C\" > $1"
    " ORDER BY pg_catalog.split_part(endpoint_path, '?', 1) COLLATE \"C\" LIMIT 1";

// $1 route, $2 ids to leave out, $3 how many
constexpr const char* kDue =
    "SELECT id, xmin, status, attempts, endpoint_path, method, body::text, headers, timeout, requested_by, job_name,"
    "       scheduled_at, idempotency_key::text"
    " FROM wee5_cron.invocation"
    " WHERE transport = 'builtin' AND finished_at IS NULL"
    "   AND pg_catalog.split_part(endpoint_path, '?', 1) COLLATE \"C\" = $1"
    "   AND id <> ALL ($2) AND (next_attempt_at IS NULL OR next_attempt_at <= pg_catalog.now())"
    " ORDER BY id LIMIT $3";

// $1 id, $2 attempt
constexpr const char* kLost =
    "INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, reason, error)"
    " SELECT i.id, $2, i.first_sent_at, pg_catalog.clock_timestamp(), 'lost',"
    "        'The server or the worker stopped while the request was on the wire.'"
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
  set(&columns[2], row, CStringGetTextDatum(outcome->succeeded ? "succeeded" : "failed"));
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
}

void execute(SPIPlanPtr plan, Datum* values, int expected) {
  int result = SPI_execute_plan(plan, values, nullptr, false, 0);
  if (result != expected) elog(ERROR, "unexpected result of a ledger statement: %s", SPI_result_code_string(result));
}

char* text_at(HeapTuple tuple, TupleDesc descriptor, int column) {
  return to_utf8_lossy(SPI_getvalue(tuple, descriptor, column));
}

int64 milliseconds_of(const Interval* interval) {
  return interval->time / 1000 +
         (static_cast<int64>(interval->month) * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY * 1000;
}

// The newest log position by which the transaction's commit is written. Never the insert pointer.
void need_commit_of(TransactionId xid, XLogRecPtr* committed_at) {
  if (!TransactionIdIsNormal(xid)) return;
  XLogRecPtr position = InvalidXLogRecPtr;
  LWLockAcquire(XactTruncationLock, LW_SHARED);
  // Of an older one nothing is left to look up, and it was flushed long ago.
  if (!TransactionIdPrecedes(xid, oldest_clog_xid())) position = TransactionIdGetCommitLSN(xid);
  LWLockRelease(XactTruncationLock);
  if (position > *committed_at) *committed_at = position;
}

void book_lost_attempt(int64 id, int attempt) {
  Oid types[2] = {INT8OID, INT4OID};
  Datum values[2] = {Int64GetDatum(id), Int32GetDatum(attempt)};
  execute(kept_plan(&lost_plan, kLost, 2, types), values, SPI_OK_INSERT);
}

void copy_due_row(HeapTuple tuple, TupleDesc descriptor, DueRow* row) {
  bool is_null;
  row->endpoint_path = text_at(tuple, descriptor, 5);
  row->method = text_at(tuple, descriptor, 6);
  row->body = text_at(tuple, descriptor, 7);
  Datum headers = SPI_getbinval(tuple, descriptor, 8, &is_null);
  row->headers_unreadable = !headers_from_stored_jsonb(is_null ? nullptr : DatumGetJsonbP(headers), &row->headers);
  Datum timeout = SPI_getbinval(tuple, descriptor, 9, &is_null);
  row->timeout_ms = is_null ? 0 : milliseconds_of(DatumGetIntervalP(timeout));
  row->requested_by = SPI_getvalue(tuple, descriptor, 10);
  row->job_name = text_at(tuple, descriptor, 11);
  Datum scheduled_at = SPI_getbinval(tuple, descriptor, 12, &is_null);
  row->scheduled_at = is_null ? nullptr : rfc3339(DatumGetTimestampTz(scheduled_at));
  row->idempotency_key = SPI_getvalue(tuple, descriptor, 13);
}

DueRow* next_due_row(DueRows* due) {
  if (due->count == due->capacity) {
    due->capacity = due->capacity == 0 ? 64 : due->capacity * 2;
    Size bytes = sizeof(DueRow) * static_cast<Size>(due->capacity);
    due->rows = static_cast<DueRow*>(due->rows == nullptr ? palloc(bytes) : repalloc(due->rows, bytes));
  }
  DueRow* row = &due->rows[due->count++];
  memset(row, 0, sizeof(*row));
  return row;
}

// Reads a route's due calls; true where as many as asked for were there.
bool read_route(const char* route, Datum known, int64 room, MemoryContext context, DueRows* due) {
  Oid types[3] = {TEXTOID, INT8ARRAYOID, INT8OID};
  Datum values[3] = {CStringGetTextDatum(route), known, Int64GetDatum(room)};
  execute(kept_plan(&due_plan, kDue, 3, types), values, SPI_OK_SELECT);
  SPITupleTable* table = SPI_tuptable;
  int found = static_cast<int>(SPI_processed);
  for (int i = 0; i < found; ++i) {
    HeapTuple tuple = table->vals[i];
    bool is_null;
    MemoryContext old = MemoryContextSwitchTo(context);
    DueRow* row = next_due_row(due);
    copy_due_row(tuple, table->tupdesc, row);
    MemoryContextSwitchTo(old);
    row->id = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 1, &is_null));
    need_commit_of(DatumGetTransactionId(SPI_getbinval(tuple, table->tupdesc, 2, &is_null)), &due->committed_at);
    bool cut_off = strcmp(SPI_getvalue(tuple, table->tupdesc, 3), "sending") == 0;
    int begun = DatumGetInt32(SPI_getbinval(tuple, table->tupdesc, 4, &is_null));
    row->attempt = begun + 1;
    if (cut_off) book_lost_attempt(row->id, begun);
  }
  SPI_freetuptable(table);
  return found == room;
}

// The route after this one in the order of the index; NULL: none.
char* next_route(const char* after) {
  Oid types[1] = {TEXTOID};
  Datum values[1] = {CStringGetTextDatum(after)};
  execute(kept_plan(&route_plan, kNextRoute, 1, types), values, SPI_OK_SELECT);
  return SPI_processed == 0 ? nullptr : SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

// Once around all routes that have something open, in as many reads as it takes, from where the last one ended: so a
// route far back has its turn however many there are, and what lies still is looked at once and not for ever.
struct Sweep {
  char at[core::kMaxEndpointPathBytes * 4 + 1];   // the route read last
  char end[core::kMaxEndpointPathBytes * 4 + 1];  // where it began
  bool wrapped;
  bool under_way;
};

void begin_sweep(Sweep* sweep) {
  strlcpy(sweep->end, sweep->at, sizeof(sweep->end));
  sweep->wrapped = sweep->at[0] == '\0';
  sweep->under_way = true;
}

// The next route of the sweep; NULL when it is complete.
const char* advance_sweep(Sweep* sweep) {
  char* route = next_route(sweep->at);
  if (route == nullptr && !sweep->wrapped) {
    sweep->wrapped = true;
    route = next_route("");
  }
  if (route == nullptr || (sweep->wrapped && sweep->end[0] != '\0' && strcmp(route, sweep->end) > 0)) {
    sweep->under_way = false;
    if (route == nullptr) sweep->at[0] = '\0';
    return nullptr;
  }
  strlcpy(sweep->at, route, sizeof(sweep->at));
  return route;
}

void note_route(DueRows* due, const char* route, bool more, MemoryContext context) {
  due->routes[due->route_count] = MemoryContextStrdup(context, route);
  due->routes_have_more[due->route_count] = more;
  ++due->route_count;
}

int64 room_for(const delivery::Dispatcher* dispatcher, const char* route, int already_read) {
  int64 room = 0;
  CppFailure failure;
  if (!run_cpp(&failure,
               [&] { room = static_cast<int64>(dispatcher->room_for(route, static_cast<std::size_t>(already_read))); }))
    raise(&failure);
  return room;
}

Datum known_ids_array(delivery::Dispatcher* dispatcher) {
  const int64* ids = nullptr;
  int count = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::vector<std::int64_t>& known = dispatcher->known_ids();
        static_assert(sizeof(std::int64_t) == sizeof(int64));
        ids = reinterpret_cast<const int64*>(known.data());
        count = static_cast<int>(known.size());
      }))
    raise(&failure);
  Column column = make_column(Max(count, 1));
  column.size = count;
  for (int i = 0; i < count; ++i) set(&column, i, Int64GetDatum(ids[i]));
  return count == 0 ? PointerGetDatum(construct_empty_array(INT8OID)) : array_of(&column, INT8OID);
}

}  // namespace

void record_results(const delivery::Result* results, int count) {
  static const Oid types[kRecordColumns] = {INT8OID, INT4OID,        TEXTOID,        TEXTOID,   TEXTOID,   TEXTOID,
                                            INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,   TEXTOID,   TEXTOID,
                                            BOOLOID, FLOAT4OID,      FLOAT4OID,      FLOAT4OID, FLOAT4OID, FLOAT4OID};
  Column columns[kRecordColumns];
  for (Column& column : columns) column = make_column(count);
  for (int row = 0; row < count; ++row) set_result(columns, row, &results[row]);
  Oid array_types[kRecordColumns];
  Datum values[kRecordColumns];
  for (int i = 0; i < kRecordColumns; ++i) {
    array_types[i] = get_array_type(types[i]);
    values[i] = array_of(&columns[i], types[i]);
  }
  execute(kept_plan(&record_plan, kRecord, kRecordColumns, array_types), values, SPI_OK_INSERT);
}

void mark_sending(const delivery::OnTheWire* calls, int count) {
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
  execute(kept_plan(&mark_plan, kMark, 4, types), values, SPI_OK_UPDATE);
}

void read_due(delivery::Dispatcher* dispatcher, bool from_now, MemoryContext context, DueRows* due) {
  static Sweep sweep = {"", "", true, false};
  memset(due, 0, sizeof(*due));
  due->from_now = from_now || !sweep.under_way;
  if (due->from_now) begin_sweep(&sweep);
  due->routes = static_cast<char**>(MemoryContextAlloc(context, sizeof(char*) * kRoutesPerRead));
  due->routes_have_more = static_cast<bool*>(MemoryContextAlloc(context, sizeof(bool) * kRoutesPerRead));
  Datum known = known_ids_array(dispatcher);
  while (due->route_count < kRoutesPerRead) {
    const char* route = advance_sweep(&sweep);
    if (route == nullptr) break;
    const char* utf8_route = to_utf8_lossy(pstrdup(route));
    int64 room = room_for(dispatcher, utf8_route, due->count);
    note_route(due, utf8_route, room == 0 || read_route(route, known, room, context, due), context);
  }
  due->routes_left = sweep.under_way;
}

bool pg_net_calls_outstanding() {
  execute(kept_plan(&outstanding_plan,
                    "SELECT 1 FROM wee5_cron.invocation WHERE transport = 'pg_net' AND finished_at IS NULL LIMIT 1", 0,
                    nullptr),
          nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

void harvest_pg_net() { SPI_execute("SELECT wee5_cron.harvest()", false, 0); }

void bind_cron_runs() { SPI_execute("SELECT wee5_cron.bind_cron_runs()", false, 0); }

bool cron_runs_unbound() {
  execute(kept_plan(&unbound_plan,
                    "SELECT 1 FROM wee5_cron.cron_caller c JOIN wee5_cron.invocation i ON i.id = c.invocation_id"
                    " WHERE i.finished_at IS NOT NULL LIMIT 1",
                    0, nullptr),
          nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

}  // namespace wee5::pg
