// The trigger of wee5_cron.endpoint. It refuses a row that could not work when the row is written, and announces each
// change to all processes. A row that a restore or logical replication writes is stored as it is: it was allowed where
// it comes from. doctor() reports it, and calls ignore what is out of bounds in it.

#include "wee5_cron/core/outcome/retry_policy.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/call/request_checks.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/ledger/table_layout.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

struct NewRow {
  HeapTuple tuple;
  TupleDesc descriptor;
  Relation table;
};

// Raises if the column is not as the extension made it. NULL: an earlier version of the SQL does not have it.
Datum column(const NewRow* row, const char* name, bool* is_null) {
  AttrNumber number = readable_column_named(row->table, &kEndpointLayout, name);
  *is_null = number == InvalidAttrNumber;
  if (*is_null) return 0;
  return heap_getattr(row->tuple, number, row->descriptor, is_null);
}

char* text_column(const NewRow* row, const char* name) {
  bool is_null;
  Datum value = column(row, name, &is_null);
  return is_null ? nullptr : TextDatumGetCString(value);
}

char* interval_text(const Interval* interval) {
  return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)));
}

[[noreturn]] void refuse(const char* name, const char* value, const char* hint) {
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s \"%s\"", name, value), errhint("%s", hint)));
  pg_unreachable();
}

void check_interval(const NewRow* row, const char* name, int64 least_ms, int64 most_ms, const char* hint) {
  bool is_null;
  Datum value = column(row, name, &is_null);
  if (is_null) return;
  int64 ms = interval_milliseconds(DatumGetIntervalP(value));
  if (ms < least_ms || ms > most_ms) refuse(name, interval_text(DatumGetIntervalP(value)), hint);
}

void check_number(const NewRow* row, const char* name, int32 least, int32 most, const char* hint) {
  bool is_null;
  Datum value = column(row, name, &is_null);
  if (!is_null && (DatumGetInt32(value) < least || DatumGetInt32(value) > most))
    refuse(name, psprintf("%d", DatumGetInt32(value)), hint);
}

void check_delays(const NewRow* row) {
  constexpr const char* kHint =
      "Give the delays before the second attempt, the third, and so on: '{10s,1min,5min}'. The last one repeats. NULL: "
      "the default.";
  bool is_null;
  Datum value = column(row, "retry_delays", &is_null);
  if (is_null) return;
  ArrayType* array = DatumGetArrayTypeP(value);
  Datum* values;
  bool* nulls;
  int count;
  deconstruct_array(array, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE, &values, &nulls, &count);
  if (ARR_NDIM(array) != 1) refuse("retry_delays", count == 0 ? "{}" : "{{...}}", kHint);
  for (int i = 0; i < count; ++i) {
    if (nulls[i]) refuse("retry_delays", "NULL", kHint);
    if (interval_milliseconds(DatumGetIntervalP(values[i])) < 0)
      refuse("retry_delays", interval_text(DatumGetIntervalP(values[i])), kHint);
  }
}

void check_word(const NewRow* row, const char* name, const char* const* words, const char* hint) {
  const char* value = text_column(row, name);
  if (value == nullptr) return;
  for (; *words != nullptr; ++words)
    if (strcmp(value, *words) == 0) return;
  refuse(name, value, hint);
}

// Path, method, headers and body, by the same rules as a call's.
void check_request(const NewRow* row) {
  char* path = text_column(row, "endpoint_path");
  if (path == nullptr)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("endpoint_path must not be NULL"),
                    errhint("Give the path that the policy is for, such as '/api/cron/poll-activities'.")));
  const char* utf8_path = to_utf8(path);
  const char* method = text_column(row, "method");
  const char* utf8_method = method != nullptr ? to_utf8(pstrdup(method)) : nullptr;
  bool no_headers;
  Datum stored = column(row, "headers", &no_headers);
  HeaderList headers;
  headers_from_jsonb(no_headers ? nullptr : DatumGetJsonbP(stored), &headers);
  bool takes_body = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::check_endpoint_path(utf8_path);
        takes_body = utf8_method != nullptr && core::takes_body(core::parse_method(utf8_method));
        for (int i = 0; i < headers.count; ++i) core::check_custom_header(headers.names[i], headers.values[i]);
      }))
    raise(&failure);
  bool no_body;
  Datum body = column(row, "body", &no_body);
  if (!no_body && !takes_body)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("%s requests cannot have a body", method != nullptr ? method : "GET"),
                    errhint("Set method to 'POST', or leave body NULL.")));
  if (!no_body) check_body_bytes(body);
}

void check_row(const NewRow* row) {
  static const char* const retry_words[] = {"unprocessed", "transient", "never", nullptr};
  static const char* const overlap_words[] = {"allow", "skip", "queue", nullptr};
  static const char* const earlier_overlap_words[] = {"allow", "skip", nullptr};  // of SQL of 0.1.0
  check_request(row);
  check_interval(row, "timeout", 1, kMostTimeoutMs,
                 "Give an interval from 1 millisecond to 24 days, or NULL to use wee5_cron.request_timeout.");
  check_number(row, "max_attempts", 1, PG_INT32_MAX, "At least 1, which is no retry. NULL: the default, 4.");
  check_word(
      row, "retry_on", retry_words,
      "unprocessed: retries only calls that the app cannot have processed. transient: also retries timeouts, broken "
      "connections, 408, 425 and 5xx. never: sends each call at most once. NULL: unprocessed.");
  check_delays(row);
  check_interval(row, "retry_window", 1, PG_INT64_MAX,
                 "Give a positive interval of at most 100 years. NULL: the default, 1 hour.");
  check_word(
      row, "overlap", sql_is_earlier() ? earlier_overlap_words : overlap_words,
      "allow; skip: a call is skipped while an earlier one has not ended; or queue: one call waits for its end. NULL: "
      "calls by a job skip, calls by hand are allowed.");
  check_number(row, "alert_after", 1, PG_INT32_MAX,
               "At least 1: the number of failures in a row. NULL: the default, 3.");
  check_interval(row, "complete_within", 1, PG_INT64_MAX,
                 "Give a positive interval of at most 100 years. NULL: the default, 1 hour.");
  check_interval(row, "keep_succeeded", 0, PG_INT64_MAX,
                 "Give an interval from 0, which is a minute, to 100 years, or NULL for wee5_cron.keep_succeeded.");
  check_interval(row, "keep_failed", 0, PG_INT64_MAX,
                 "Give an interval from 0, which is a minute, to 100 years, or NULL for wee5_cron.keep_failed.");
  check_number(row, "max_in_flight", 1, PG_INT32_MAX,
               "At least 1: how many calls of the path may be in flight at once. NULL: wee5_cron.max_in_flight.");
  check_number(row, "max_response_bytes", kMaxResponseBytesBounds.least, kMaxResponseBytesBounds.most,
               "Give 0, which keeps nothing of an answer, to 1048576. NULL: wee5_cron.max_response_bytes.");
}

bool set_by_session(const char* setting) {
  config_generic* record = setting_record(setting);
  return record != nullptr && record->source == PGC_S_SESSION;
}

// Every mode of pg_dump and pg_restore sets both in its session.
bool restores_dump() { return set_by_session("row_security") && set_by_session("xmloption"); }

// The method as it goes into a request.
HeapTuple with_upper_method(const NewRow* row) {
  char* method = text_column(row, "method");
  if (method == nullptr) return row->tuple;
  for (char* at = method; *at != '\0'; ++at) *at = static_cast<char>(pg_ascii_toupper(static_cast<unsigned char>(*at)));
  int number = SPI_fnumber(row->descriptor, "method");
  Datum value = CStringGetTextDatum(method);
  bool is_null = false;
  return heap_modify_tuple_by_cols(row->tuple, row->descriptor, 1, &number, &value, &is_null);
}

}  // namespace

// wee5_cron.check_endpoint() -> trigger: BEFORE INSERT OR UPDATE OR DELETE, for each row
WEE5_SQL_FUNCTION(wee5_cron_check_endpoint) {
  if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "wee5_cron.check_endpoint() is a trigger function");
  TriggerData* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
  if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
    elog(ERROR, "wee5_cron.check_endpoint() fires before the change of a row");
  CacheInvalidateRelcache(trigger->tg_relation);
  // A worker at rest would go by the new policy only when it wakes for something else: calls may be kept for a shorter
  // time now, or more of them in flight at once.
  wake_worker_at_commit();
  if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event)) return PointerGetDatum(trigger->tg_trigtuple);
  NewRow row;
  row.tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
  row.descriptor = RelationGetDescr(trigger->tg_relation);
  row.table = trigger->tg_relation;
  if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA && !restores_dump()) check_row(&row);
  return PointerGetDatum(with_upper_method(&row));
}

// wee5_cron.check_policy(policy wee5_cron.endpoint) -> void: raises what the trigger would
WEE5_SQL_FUNCTION(wee5_cron_check_policy) {
  if (PG_ARGISNULL(0)) PG_RETURN_VOID();
  HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
  Oid table = get_typ_typrelid(HeapTupleHeaderGetTypeId(header));
  if (!OidIsValid(table)) elog(ERROR, "wee5_cron.check_policy() takes a row of wee5_cron.endpoint");
  HeapTupleData tuple;
  tuple.t_len = HeapTupleHeaderGetDatumLength(header);
  ItemPointerSetInvalid(&tuple.t_self);
  tuple.t_tableOid = table;
  tuple.t_data = header;
  NewRow row;
  row.tuple = &tuple;
  row.table = table_open(table, AccessShareLock);
  row.descriptor = RelationGetDescr(row.table);
  check_row(&row);
  table_close(row.table, AccessShareLock);
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
