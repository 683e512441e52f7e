// The statements by which callers write the ledger. The worker's are in worker_ledger.cpp.

#include "wee5_cron/pg/ledger.h"

#include "wee5_cron/pg/kept_plan.h"

namespace wee5::pg {

namespace {

SPIPlanPtr insert_plan = nullptr;

constexpr int kInsertColumns = 14;
// $1 job_name, $2 endpoint_path, $3 method, $4 body, $5 headers, $6 url, $7 transport, $8 status, $9 reason, $10 error,
// $11 hint, $12 scheduled_at, $13 finished_at, $14 timeout
constexpr const char* kInsert =
    "INSERT INTO wee5_cron.invocation"
    " (job_name, endpoint_path, method, body, headers, url, transport, status, reason, error, hint, scheduled_at,"
    "  finished_at, timeout)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    " RETURNING id, idempotency_key";

void set_text(Datum* values, char* nulls, int index, const char* text) {
  nulls[index] = text != nullptr ? ' ' : 'n';
  values[index] = text != nullptr ? CStringGetTextDatum(text) : 0;
}

void set_datum(Datum* values, char* nulls, int index, Datum value, bool present) {
  nulls[index] = present ? ' ' : 'n';
  values[index] = present ? value : 0;
}

void bind_row(const NewInvocation* row, Datum* values, char* nulls) {
  set_text(values, nulls, 0, row->job_name);
  set_text(values, nulls, 1, row->endpoint_path);
  set_text(values, nulls, 2, row->method);
  set_datum(values, nulls, 3, row->body, row->body != 0);
  set_datum(values, nulls, 4, row->headers, true);
  set_text(values, nulls, 5, row->url);
  set_text(values, nulls, 6, row->transport);
  set_text(values, nulls, 7, row->status);
  set_text(values, nulls, 8, row->reason);
  set_text(values, nulls, 9, row->error);
  set_text(values, nulls, 10, row->hint);
  set_datum(values, nulls, 11, TimestampTzGetDatum(row->scheduled_at), row->has_scheduled_at);
  bool finished = strcmp(row->status, "queued") != 0;
  set_datum(values, nulls, 12, TimestampTzGetDatum(GetCurrentTimestamp()), finished);
  set_datum(values, nulls, 13, IntervalPGetDatum(row->timeout), row->timeout != nullptr);
}

void execute_pair(const char* statement, Oid second_type, int64 first, Datum second) {
  Oid types[2] = {INT8OID, second_type};
  Datum values[2] = {Int64GetDatum(first), second};
  SPI_connect();
  int result = SPI_execute_with_args(statement, 2, types, values, nullptr, false, 0);
  if (result != SPI_OK_INSERT) elog(ERROR, "could not insert: %s", SPI_result_code_string(result));
  SPI_finish();
}

}  // namespace

int64 insert_invocation(const NewInvocation* row, char* idempotency_key) {
  Oid types[kInsertColumns] = {TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID,       TEXTOID,        TEXTOID,
                               TEXTOID, TEXTOID, TEXTOID, TEXTOID,  TIMESTAMPTZOID, TIMESTAMPTZOID, INTERVALOID};
  Datum values[kInsertColumns];
  char nulls[kInsertColumns];
  bind_row(row, values, nulls);
  SPI_connect();
  int result = SPI_execute_plan(kept_plan(&insert_plan, kInsert, kInsertColumns, types), values, nulls, false, 1);
  if (result != SPI_OK_INSERT_RETURNING || SPI_processed != 1)
    elog(ERROR, "could not insert into wee5_cron.invocation: %s", SPI_result_code_string(result));
  bool is_null;
  HeapTuple tuple = SPI_tuptable->vals[0];
  int64 id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &is_null));
  if (idempotency_key != nullptr)
    strlcpy(idempotency_key, SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2), kUuidTextBytes);
  SPI_finish();
  return id;
}

void insert_pg_net_request(int64 invocation_id, int64 request_id) {
  execute_pair("INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id) VALUES ($1, $2)", INT8OID,
               invocation_id, Int64GetDatum(request_id));
}

void insert_cron_caller(int64 invocation_id, int pid) {
  execute_pair("INSERT INTO wee5_cron.cron_caller (invocation_id, pid) VALUES ($1, $2)", INT4OID, invocation_id,
               Int32GetDatum(pid));
}

char* rfc3339(TimestampTz time) {
  pg_time_t seconds = timestamptz_to_time_t(time);
  const pg_tm* utc = pg_gmtime(&seconds);
  char* text = static_cast<char*>(palloc(32));
  if (pg_strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", utc) == 0) text[0] = '\0';
  return text;
}

}  // namespace wee5::pg
