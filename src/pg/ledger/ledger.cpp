// The statements by which callers write the ledger. The worker's are in worker_ledger.cpp.

#include "wee5_cron/pg/ledger/ledger.h"

#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/ledger/direct_insert.h"
#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

namespace {

SPIPlanPtr insert_plan = nullptr;
int64 last_inserted = 0;

// $1 ... $16: kGivenColumn, in that order; $17 idempotency_key
constexpr const char* kInsert =
    "INSERT INTO wee5_cron.invocation"
    " (job_name, endpoint_path, method, body, headers, url, transport, status, reason, error, hint, scheduled_at,"
    "  finished_at, timeout, exclusive, next_attempt_at, idempotency_key)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
    "  coalesce($17, pg_catalog.gen_random_uuid()))"
    " RETURNING id::pg_catalog.int8, idempotency_key::pg_catalog.uuid";

// The values of a row, in the order of kGivenColumn.
struct RowValues {
  Datum values[kGivenColumns];
  bool nulls[kGivenColumns];
};

void set_datum(RowValues* row, int index, Datum value, bool present) {
  row->nulls[index] = !present;
  row->values[index] = present ? value : 0;
}

void set_text(RowValues* row, int index, const char* text) {
  set_datum(row, index, text != nullptr ? CStringGetTextDatum(text) : 0, text != nullptr);
}

void bind_row(const NewInvocation* row, RowValues* bound) {
  set_text(bound, 0, row->job_name);
  set_text(bound, 1, row->endpoint_path);
  set_text(bound, 2, row->method);
  set_datum(bound, 3, row->body, row->body != 0);
  set_datum(bound, 4, row->headers, true);
  set_text(bound, 5, row->url);
  set_text(bound, 6, row->transport);
  set_text(bound, 7, row->status);
  set_text(bound, 8, row->reason);
  set_text(bound, 9, row->error);
  set_text(bound, 10, row->hint);
  set_datum(bound, 11, TimestampTzGetDatum(row->scheduled_at), row->has_scheduled_at);
  bool finished = strcmp(row->status, "queued") != 0;
  set_datum(bound, 12, finished ? TimestampTzGetDatum(GetCurrentTimestamp()) : 0, finished);
  set_datum(bound, 13, IntervalPGetDatum(row->timeout), row->timeout != nullptr);
  set_text(bound, 14, row->exclusive);
  set_datum(bound, 15, TimestampTzGetDatum(row->next_attempt_at), row->has_next_attempt_at);
}

void insert_by_statement(RowValues* row, const pg_uuid_t* given_key, int64* id, pg_uuid_t* idempotency_key) {
  constexpr int kParameters = kGivenColumns + 1;
  Oid types[kParameters];
  Datum values[kParameters];
  char nulls[kParameters];
  for (int i = 0; i < kGivenColumns; ++i) {
    types[i] = kGivenColumn[i].type;
    values[i] = row->values[i];
    nulls[i] = row->nulls[i] ? 'n' : ' ';
  }
  types[kGivenColumns] = UUIDOID;
  values[kGivenColumns] = PointerGetDatum(given_key);
  nulls[kGivenColumns] = given_key == nullptr ? 'n' : ' ';
  SPI_connect();
  int result = SPI_execute_plan(kept_plan(&insert_plan, kInsert, kParameters, types), values, nulls, false, 1);
  if (result != SPI_OK_INSERT_RETURNING)
    elog(ERROR, "could not insert into wee5_cron.invocation: %s", SPI_result_code_string(result));
  if (SPI_processed != 1)
    ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
                    errmsg("the call was not queued: a trigger or rule on wee5_cron.invocation discards its row"),
                    errhint("Look at the triggers and rules of the table: \\d wee5_cron.invocation")));
  bool is_null;
  HeapTuple tuple = SPI_tuptable->vals[0];
  *id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &is_null));
  Datum key = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &is_null);
  if (!is_null) *idempotency_key = *DatumGetUUIDP(key);
  SPI_finish();
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
  // Before an id is drawn: see path_floor.h.
  if (!XactReadOnly) (void)GetCurrentTransactionId();
  RowValues bound;
  bind_row(row, &bound);
  int64 id = 0;
  pg_uuid_t key;
  memset(&key, 0, sizeof(key));
  if (!insert_invocation_directly(bound.values, bound.nulls, row->idempotency_key, &id, &key))
    insert_by_statement(&bound, row->idempotency_key, &id, &key);
  last_inserted = id;
  if (idempotency_key != nullptr)
    strlcpy(idempotency_key, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&key))), kUuidTextBytes);
  return id;
}

int64 last_inserted_call() { return last_inserted; }

void insert_pg_net_request(int64 invocation_id, int64 request_id) {
  execute_pair("INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id) VALUES ($1, $2)", INT8OID,
               invocation_id, Int64GetDatum(request_id));
}

bool book_on_pg_net(int64 invocation_id) {
  if (registry_exists() || XactReadOnly || IsolationUsesXactSnapshot()) return false;
  SPI_connect();
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(invocation_id)};
  SPI_execute_with_args("SELECT wee5_cron.book_pg_net_answers($1), wee5_cron.send_due_by_pg_net($1)", 1, types, values,
                        nullptr, false, 0);
  SPI_finish();
  CommandCounterIncrement();
  return true;
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
