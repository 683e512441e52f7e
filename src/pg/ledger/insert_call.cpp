// Writes the row of a call: directly if the table is as the extension made it, else by a statement.

#include "wee5_cron/pg/ledger/insert_call.h"

#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/ledger/insert_call_directly.h"
#include "wee5_cron/pg/ledger/sql_version.h"

namespace wee5::pg {

namespace {

int64 last_inserted = 0;

// $1 ... $18: the columns in the order of GivenColumn; $19 idempotency_key
#define WEE5_INSERT(more_columns, more_values)                                                                   \
  "INSERT INTO wee5_cron.invocation"                                                                             \
  " (job_name, endpoint_path, method, body, headers, url, transport, status, reason, error, hint, scheduled_at," \
  "  finished_at, timeout, exclusive, next_attempt_at, idempotency_key" more_columns                             \
  ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"                             \
  "  coalesce($19, pg_catalog.gen_random_uuid())" more_values                                                    \
  ") RETURNING id::pg_catalog.int8, idempotency_key::pg_catalog.uuid"
VersionedStatement insert_statement = {WEE5_INSERT(", due_at, key", ", $17, $18"), nullptr};
VersionedStatement insert_statement_of_0_1_0 = {WEE5_INSERT("", ""), nullptr};

// The values of the columns that a caller gives.
struct RowValues {
  Datum values[kGivenColumns];
  bool nulls[kGivenColumns];
};

void set_datum(RowValues* row, GivenColumn column, Datum value, bool present) {
  row->nulls[column] = !present;
  row->values[column] = present ? value : 0;
}

void set_text(RowValues* row, GivenColumn column, const char* text) {
  set_datum(row, column, text != nullptr ? CStringGetTextDatum(text) : 0, text != nullptr);
}

void bind_row(const NewInvocation* row, RowValues* bound) {
  set_text(bound, kGivenJobName, row->job_name);
  set_text(bound, kGivenEndpointPath, row->endpoint_path);
  set_text(bound, kGivenMethod, row->method);
  set_datum(bound, kGivenBody, row->body, row->body != 0);
  set_datum(bound, kGivenHeaders, row->headers, true);
  set_text(bound, kGivenUrl, row->url);
  set_text(bound, kGivenTransport, row->transport);
  set_text(bound, kGivenStatus, row->status);
  set_text(bound, kGivenReason, row->reason);
  set_text(bound, kGivenError, row->error);
  set_text(bound, kGivenHint, row->hint);
  set_datum(bound, kGivenScheduledAt, TimestampTzGetDatum(row->scheduled_at), row->has_scheduled_at);
  bool finished = strcmp(row->status, "queued") != 0;
  set_datum(bound, kGivenFinishedAt, finished ? TimestampTzGetDatum(GetCurrentTimestamp()) : 0, finished);
  set_datum(bound, kGivenTimeout, IntervalPGetDatum(row->timeout), row->timeout != nullptr);
  set_text(bound, kGivenExclusive, row->exclusive);
  set_datum(bound, kGivenNextAttemptAt, TimestampTzGetDatum(row->next_attempt_at), row->has_next_attempt_at);
  set_datum(bound, kGivenDueAt, TimestampTzGetDatum(row->due_at), row->has_due_at);
  set_text(bound, kGivenKey, row->key);
}

void insert_by_statement(RowValues* row, const pg_uuid_t* given_key, int64* id, pg_uuid_t* idempotency_key) {
  constexpr int kParameters = kGivenColumns + 1;
  Oid types[kParameters];
  Datum values[kParameters];
  char nulls[kParameters];
  for (int i = 0; i < kGivenColumns; ++i) {
    types[i] = kGivenLayout[i].type;
    values[i] = row->values[i];
    nulls[i] = row->nulls[i] ? 'n' : ' ';
  }
  types[kGivenColumns] = UUIDOID;
  values[kGivenColumns] = PointerGetDatum(given_key);
  nulls[kGivenColumns] = given_key == nullptr ? 'n' : ' ';
  VersionedStatement* insert = sql_is_earlier() ? &insert_statement_of_0_1_0 : &insert_statement;
  SPI_connect();
  int result = SPI_execute_plan(kept_plan(&insert->plan, insert->text, kParameters, types), values, nulls, false, 1);
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

}  // namespace

int64 insert_invocation(const NewInvocation* row, char* idempotency_key) {
  // Before an id is drawn: path_floor.h says why.
  if (!XactReadOnly) (void)GetCurrentTransactionId();
  RowValues bound;
  bind_row(row, &bound);
  int64 id = 0;
  pg_uuid_t key;
  memset(&key, 0, sizeof(key));
  if (!insert_invocation_directly(bound.values, bound.nulls, row->idempotency_key, &id, &key))
    insert_by_statement(&bound, row->idempotency_key, &id, &key);
  // The worker would not find it: 0 stands for no call.
  if (id <= 0)
    ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
                    errmsg("the id of a call must be positive, but the call got " INT64_FORMAT, id),
                    errhint("Ids come from the sequence wee5_cron.invocation_id_seq. Let it count up from the highest "
                            "id in wee5_cron.invocation.")));
  last_inserted = id;
  if (idempotency_key != nullptr)
    strlcpy(idempotency_key, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&key))), kUuidTextBytes);
  return id;
}

int64 last_inserted_call() { return last_inserted; }

void insert_cron_caller(int64 invocation_id, int pid) {
  Oid types[2] = {INT8OID, INT4OID};
  Datum values[2] = {Int64GetDatum(invocation_id), Int32GetDatum(pid)};
  SPI_connect();
  int result = SPI_execute_with_args("INSERT INTO wee5_cron.cron_caller (invocation_id, pid) VALUES ($1, $2)", 2, types,
                                     values, nullptr, false, 0);
  if (result != SPI_OK_INSERT)
    elog(ERROR, "could not insert into wee5_cron.cron_caller: %s", SPI_result_code_string(result));
  SPI_finish();
}

}  // namespace wee5::pg
