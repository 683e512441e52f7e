// Records the results of the worker: directly if the tables are as the extension made them, else by a statement.

#include "wee5_cron/pg/ledger/record_results.h"

#include <string>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/array_parameter.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/ledger/end_call.h"
#include "wee5_cron/pg/registry/ended_calls.h"

namespace wee5::pg {

namespace {

SPIPlanPtr record_plan = nullptr;
SPIPlanPtr left_plan = nullptr;
SPIPlanPtr free_plan = nullptr;

// unnest() of several arrays is syntax: with a schema before it, it would be a function that does not exist.
// $1 ... $20: arrays of the values in the order of ResultValue
constexpr const char* kRecord =
    "WITH result AS ("
    "  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
    "    AS r(id, attempt, status, reason, error, hint, http_status, started_at, finished_at, url, content_type, body,"
    "         truncated, dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms, next_attempt_at, keep_last_outcome)"
    "), free AS MATERIALIZED (" WEE5_OPEN_AND_FREE("$1") "), recorded AS ("
    "  UPDATE wee5_cron.invocation i"
    "  SET status = r.status, reason = CASE WHEN r.keep_last_outcome THEN i.reason ELSE r.reason END,"
    "      error = CASE WHEN r.keep_last_outcome THEN i.error ELSE r.error END,"
    "      hint = CASE WHEN r.keep_last_outcome THEN i.hint ELSE r.hint END,"
    "      http_status = CASE WHEN r.keep_last_outcome THEN i.http_status ELSE r.http_status END,"
    "      attempts = r.attempt, url = coalesce(r.url, i.url),"
    "      first_sent_at = coalesce(i.first_sent_at, r.started_at), next_attempt_at = r.next_attempt_at,"
    "      finished_at = CASE WHEN r.next_attempt_at IS NULL THEN r.finished_at END,"
    "      duration = CASE WHEN r.next_attempt_at IS NULL"
    "                      THEN r.finished_at - coalesce(i.first_sent_at, r.started_at) END,"
    "      response_content_type = CASE WHEN r.keep_last_outcome THEN i.response_content_type ELSE r.content_type END,"
    "      response_body = CASE WHEN r.keep_last_outcome THEN i.response_body ELSE r.body END,"
    "      response_truncated = CASE WHEN r.keep_last_outcome THEN i.response_truncated ELSE r.truncated END"
    "  FROM result r WHERE i.id = r.id AND i.id IN (SELECT id FROM free)"
    "  RETURNING r.*"
    ") INSERT INTO wee5_cron.attempt"
    "  (invocation_id, attempt, started_at, finished_at, http_status, reason, error, dns_ms, connect_ms, tls_ms,"
    "   first_byte_ms, total_ms)"
    "  SELECT id, attempt, started_at, finished_at, http_status, reason, error, dns_ms, connect_ms, tls_ms,"
    "         first_byte_ms, total_ms"
    "  FROM recorded WHERE started_at IS NOT NULL"
    "  ON CONFLICT DO NOTHING";

// The calls of $1 that are still open, by the primary key.
constexpr const char* kLeft =
    "SELECT i.id::pg_catalog.int8 FROM (SELECT f.id, f.finished_at, f.next_attempt_at FROM wee5_cron.invocation f "
    "WHERE f.id = ANY ($1)"
    "                  OFFSET 0) i"
    " WHERE i.finished_at IS NULL AND i.next_attempt_at IS NULL";

constexpr Oid kTypes[kResultValues] = {
    INT8OID, INT4OID, TEXTOID, TEXTOID,   TEXTOID,   TEXTOID,   INT4OID,   TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
    TEXTOID, TEXTOID, BOOLOID, FLOAT4OID, FLOAT4OID, FLOAT4OID, FLOAT4OID, FLOAT4OID,      TIMESTAMPTZOID, BOOLOID};

void put(BoundResult* bound, ResultValue value, Datum datum, bool present = true) {
  bound->values[value] = datum;
  bound->nulls[value] = !present;
}
void put_text(BoundResult* bound, ResultValue value, const std::string* utf8) {
  bool present = !utf8->empty();
  put(bound, value, present ? CStringGetTextDatum(from_utf8(utf8->c_str())) : 0, present);
}
void put_time(BoundResult* bound, ResultValue value, int64 unix_us) {
  put(bound, value, TimestampTzGetDatum(timestamp_of_unix_us(unix_us)), unix_us > 0);
}
void put_ms(BoundResult* bound, ResultValue value, float ms) { put(bound, value, Float4GetDatum(ms), ms >= 0); }

int record_by_statement(const delivery::Result* results, const int* chosen, int count, int64* locked) {
  ArrayParameter parameters[kResultValues];
  for (ArrayParameter& parameter : parameters) parameter = make_array_parameter(count);
  for (int row = 0; row < count; ++row) {
    BoundResult bound;
    bind_result(&results[chosen[row]], &bound);
    for (int i = 0; i < kResultValues; ++i) set(&parameters[i], row, bound.values[i], bound.nulls[i]);
  }
  Oid array_types[kResultValues];
  Datum values[kResultValues];
  for (int i = 0; i < kResultValues; ++i) {
    array_types[i] = get_array_type(kTypes[i]);
    values[i] = array_of(&parameters[i], kTypes[i]);
  }
  execute_plan(kept_plan(&record_plan, kRecord, kResultValues, array_types), values, nullptr, SPI_OK_INSERT);
  // Calls that are still open were locked by somebody.
  execute_plan(kept_plan(&left_plan, kLeft, 1, array_types), values, nullptr, SPI_OK_SELECT);
  int left = static_cast<int>(SPI_processed);
  for (int i = 0; i < left; ++i) {
    bool is_null;
    locked[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
  }
  if (left > 0) refuse_discarded_updates(locked, left);
  return left;
}

}  // namespace

void bind_result(const delivery::Result* result, BoundResult* bound) {
  const core::Explanation* outcome = &result->outcome;
  const char* reason = core::reason_name(outcome->reason);
  bool has_reason = reason[0] != '\0';
  bool answered = result->http_status != 0;
  put(bound, kResultId, Int64GetDatum(result->id));
  put(bound, kResultAttempt, Int32GetDatum(result->attempt));
  put(bound, kResultStatus, CStringGetTextDatum(core::status_name(result->status)));
  put(bound, kResultReason, has_reason ? CStringGetTextDatum(reason) : 0, has_reason);
  put_text(bound, kResultError, &outcome->error);
  put_text(bound, kResultHint, &outcome->hint);
  put(bound, kResultHttpStatus, Int32GetDatum(result->http_status), answered);
  put_time(bound, kResultStartedAt, result->started_us);
  put_time(bound, kResultFinishedAt, result->finished_us);
  put_text(bound, kResultUrl, &result->url);
  put_text(bound, kResultContentType, &result->response_content_type);
  // An answer without a body has an empty one. Without an answer there is none.
  put(bound, kResultBody, answered ? CStringGetTextDatum(from_utf8(result->response_body.c_str())) : 0, answered);
  put(bound, kResultTruncated, BoolGetDatum(result->response_truncated));
  put_ms(bound, kResultDnsMs, result->timings.dns_ms);
  put_ms(bound, kResultConnectMs, result->timings.connect_ms);
  put_ms(bound, kResultTlsMs, result->timings.tls_ms);
  put_ms(bound, kResultFirstByteMs, result->timings.first_byte_ms);
  put_ms(bound, kResultTotalMs, result->timings.total_ms);
  put_time(bound, kResultNextAttemptAt, result->retry_at_us);
  put(bound, kResultKeepLastOutcome, BoolGetDatum(result->keep_last_outcome));
}

void refuse_discarded_updates(const int64* ids, int count) {
  Relation table = table_open(get_relname_relid("invocation", get_namespace_oid("wee5_cron", false)), AccessShareLock);
  bool may_discard =
      table->rd_rules != nullptr || (table->trigdesc != nullptr && table->trigdesc->trig_update_before_row);
  table_close(table, NoLock);
  if (!may_discard) return;
  ArrayParameter parameter = make_array_parameter(count);
  for (int i = 0; i < count; ++i) set(&parameter, i, Int64GetDatum(ids[i]));
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {array_of(&parameter, INT8OID)};
  execute_plan(kept_plan(&free_plan, WEE5_OPEN_AND_FREE("$1"), 1, types), values, nullptr, SPI_OK_SELECT);
  if (SPI_processed == 0) return;
  ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
                  errmsg("a trigger or rule on wee5_cron.invocation discards what the worker records"),
                  errhint("Look at the triggers and rules of the table: \\d wee5_cron.invocation")));
}

int record_results(const delivery::Result* results, int count, bool directly, int64* locked) {
  for (int i = 0; i < count; ++i)
    if (results[i].retry_at_us == 0) note_ended_call(results[i].id);
  bool* left = static_cast<bool*>(palloc(sizeof(bool) * static_cast<Size>(count)));
  if (!directly || !record_directly(results, count, left)) memset(left, true, sizeof(bool) * static_cast<Size>(count));
  int* chosen = static_cast<int*>(palloc(sizeof(int) * static_cast<Size>(count)));
  int chosen_count = 0;
  for (int i = 0; i < count; ++i)
    if (left[i]) chosen[chosen_count++] = i;
  return chosen_count == 0 ? 0 : record_by_statement(results, chosen, chosen_count, locked);
}

}  // namespace wee5::pg
