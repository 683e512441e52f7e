#include "wee5_cron/pg/worker/due_row.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"

namespace wee5::pg {

namespace {

char* text_of(InvocationRow row, int column) {
  bool is_null;
  Datum value = value_of(row, column, &is_null);
  return is_null ? nullptr : to_utf8_lossy(TextDatumGetCString(value));
}

char* required_text(InvocationRow row, int column) {
  return to_utf8_lossy(TextDatumGetCString(required_value(row, column)));
}

}  // namespace

Datum value_of(InvocationRow row, int column, bool* is_null) {
  AttrNumber number = row.table->invocation[column];
  *is_null = number == InvalidAttrNumber;
  return *is_null ? 0 : slot_getattr(row.tuple, number, is_null);
}

Datum required_value(InvocationRow row, int column) {
  bool is_null;
  Datum value = value_of(row, column, &is_null);
  if (is_null)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("column \"%s\" of wee5_cron.invocation is NULL", kInvocationLayout.columns[column].name)));
  return value;
}

char* path_of(InvocationRow row) { return TextDatumGetCString(required_value(row, kInvocationEndpointPath)); }

char* route_of(InvocationRow row) {
  char* path = path_of(row);
  path[strcspn(path, "?")] = '\0';
  return path;
}

const char* role_of(InvocationRow row) { return NameStr(*DatumGetName(required_value(row, kInvocationRequestedBy))); }

TransactionId inserting_transaction(InvocationRow row) {
  bool should_free;
  HeapTuple tuple = ExecFetchSlotHeapTuple(row.tuple, false, &should_free);
  TransactionId xmin =
      HeapTupleHeaderXminFrozen(tuple->t_data) ? InvalidTransactionId : HeapTupleHeaderGetRawXmin(tuple->t_data);
  if (should_free) heap_freetuple(tuple);
  return xmin;
}

void copy_due_row(InvocationRow row, DueRow* due) {
  bool is_null;
  due->endpoint_path = required_text(row, kInvocationEndpointPath);
  due->method = required_text(row, kInvocationMethod);
  Datum body = value_of(row, kInvocationBody, &is_null);
  if (!is_null) {
    Jsonb* json = DatumGetJsonbP(body);
    due->body = to_utf8_lossy(JsonbToCString(nullptr, &json->root, static_cast<int>(VARSIZE(json))));
  }
  Datum headers = value_of(row, kInvocationHeaders, &is_null);
  due->headers_unreadable = !headers_from_stored_jsonb(is_null ? nullptr : DatumGetJsonbP(headers), &due->headers);
  Datum timeout = value_of(row, kInvocationTimeout, &is_null);
  due->timeout_ms = is_null ? 0 : static_cast<int64>(microseconds_of(DatumGetIntervalP(timeout)) / 1000.0);
  due->requested_by = pstrdup(NameStr(*DatumGetName(required_value(row, kInvocationRequestedBy))));
  due->job_name = text_of(row, kInvocationJobName);
  Datum scheduled_at = value_of(row, kInvocationScheduledAt, &is_null);
  due->scheduled_at = is_null ? nullptr : rfc3339(DatumGetTimestampTz(scheduled_at));
  Datum first_sent_at = value_of(row, kInvocationFirstSentAt, &is_null);
  due->first_begun_us = is_null ? 0 : unix_us_of(DatumGetTimestampTz(first_sent_at));
  due->idempotency_key = DatumGetCString(DirectFunctionCall1(uuid_out, required_value(row, kInvocationIdempotencyKey)));
  char* status = TextDatumGetCString(required_value(row, kInvocationStatus));
  due->attempt = DatumGetInt32(required_value(row, kInvocationAttempts)) + 1;
  due->cut_off = strcmp(status, "sending") == 0;
  pfree(status);
}

Size bytes_of(const DueRow* due) {
  Size bytes = sizeof(*due) + strlen(due->endpoint_path);
  if (due->body != nullptr) bytes += strlen(due->body);
  for (int i = 0; i < due->headers.count; ++i) bytes += strlen(due->headers.names[i]) + strlen(due->headers.values[i]);
  return bytes;
}

bool is_about_the_row(const ErrorData* error) {
  int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  return category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR) ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED);
}

}  // namespace wee5::pg
