#include "wee5_cron/pg/ledger/stored_call.h"

#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/ledger/invocation_table.h"

namespace wee5::pg {

namespace {

SPIPlanPtr read_plan = nullptr;

// $1 id
constexpr const char* kRead =
    "SELECT endpoint_path, method, body, headers, timeout, requested_by, job_name, scheduled_at, idempotency_key,"
    "       attempts, finished_at IS NOT NULL, transport = 'pg_net'"
    " FROM wee5_cron.invocation WHERE id = $1";

// The columns of kRead.
enum Column {
  kEndpointPath = 1,
  kMethod,
  kBody,
  kHeaders,
  kTimeout,
  kRequestedBy,
  kJobName,
  kScheduledAt,
  kIdempotencyKey,
  kAttempts,
  kFinished,
  kOnPgNet
};

struct Row {
  HeapTuple tuple;
  TupleDesc descriptor;
};

char* text_of(const Row* row, Column column) { return SPI_getvalue(row->tuple, row->descriptor, column); }

// Of a column that is NOT NULL as the extension made it. A user may have changed that.
char* required_text(const Row* row, Column column, InvocationColumn name) {
  char* text = text_of(row, column);
  if (text == nullptr)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("column \"%s\" of wee5_cron.invocation is NULL", kInvocationLayout.columns[name].name)));
  return text;
}

Datum value_of(const Row* row, Column column, bool* is_null) {
  return SPI_getbinval(row->tuple, row->descriptor, column, is_null);
}

bool flag_of(const Row* row, Column column) {
  bool is_null;
  Datum value = value_of(row, column, &is_null);
  return !is_null && DatumGetBool(value);
}

// Of a type of fixed length; NULL: NULL.
void* copy_of(const Row* row, Column column, Size bytes) {
  bool is_null;
  Datum value = value_of(row, column, &is_null);
  return is_null ? nullptr : memcpy(palloc(bytes), DatumGetPointer(value), bytes);
}

Jsonb* jsonb_of(const Row* row, Column column) {
  bool is_null;
  Datum value = value_of(row, column, &is_null);
  return is_null ? nullptr : DatumGetJsonbPCopy(value);
}

void copy_row(const Row* row, StoredCall* call) {
  bool is_null;
  call->endpoint_path = required_text(row, kEndpointPath, kInvocationEndpointPath);
  call->method = required_text(row, kMethod, kInvocationMethod);
  Jsonb* body = jsonb_of(row, kBody);
  call->body = body != nullptr ? JsonbPGetDatum(body) : 0;
  call->headers = jsonb_of(row, kHeaders);
  call->timeout = static_cast<Interval*>(copy_of(row, kTimeout, sizeof(Interval)));
  call->requested_by = required_text(row, kRequestedBy, kInvocationRequestedBy);
  call->job_name = text_of(row, kJobName);
  Datum scheduled_at = value_of(row, kScheduledAt, &is_null);
  call->has_scheduled_at = !is_null;
  call->scheduled_at = is_null ? 0 : DatumGetTimestampTz(scheduled_at);
  call->idempotency_key = static_cast<pg_uuid_t*>(copy_of(row, kIdempotencyKey, sizeof(pg_uuid_t)));
  call->attempts = DatumGetInt32(value_of(row, kAttempts, &is_null));
  call->finished = flag_of(row, kFinished);
  call->on_pg_net = flag_of(row, kOnPgNet);
}

}  // namespace

bool read_stored_call(int64 id, StoredCall* call) {
  memset(call, 0, sizeof(*call));
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(id)};
  MemoryContext context = CurrentMemoryContext;
  require_ledger_columns();
  SPI_connect();
  int result = SPI_execute_plan(kept_plan(&read_plan, kRead, 1, types), values, nullptr, false, 1);
  bool found = result == SPI_OK_SELECT && SPI_processed == 1;
  if (found) {
    Row row = {SPI_tuptable->vals[0], SPI_tuptable->tupdesc};
    MemoryContext old = MemoryContextSwitchTo(context);
    copy_row(&row, call);
    MemoryContextSwitchTo(old);
  }
  SPI_finish();
  return found;
}

}  // namespace wee5::pg
