// Handing an attempt to pg_net: when the call is made, and for each retry.

#include "wee5_cron/pg/call/pg_net_handover.h"

#include <string>
#include <vector>

#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/request/targets.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/call/call_address.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/ledger/stored_call.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/role_secrets.h"
#include "wee5_cron/pg/settings/transport.h"

namespace wee5::pg {

namespace {

constexpr const char* kBind =
    "INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id, secret_digests, previous_until)"
    " VALUES ($1, $2, $3, $4)";
constexpr const char* kBindIn010 = "INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id) VALUES ($1, $2)";
constexpr int kOwnHeaders = 16;  // the most headers that wee5_cron adds, besides those of a target

void write_headers(const PgNetCall* call, HeaderList* out, TextBuffer* texts) {
  core::RequestIdentity identity;
  identity.invocation_id = call->id;
  identity.attempt = call->attempt;
  identity.idempotency_key = call->idempotency_key;
  identity.job_name = view_or_empty(call->job_name);
  identity.scheduled_at = view_or_empty(call->scheduled_at);
  identity.has_body = call->body != 0;
  identity.timeout_ms = call->timeout_ms;
  identity.trace = static_cast<core::Trace>(guc_trace);
  std::vector<core::Header> custom;
  custom.reserve(static_cast<std::size_t>(call->custom->count));
  for (int i = 0; i < call->custom->count; ++i) custom.push_back({call->custom->names[i], call->custom->values[i]});
  const core::SecretHeaders secret_headers{call->headers.header, call->headers.prefix,
                                           core::headers_of_lines(call->headers.further)};
  out->count = 0;
  for (const core::Header& header : core::request_headers(call->secret, identity, custom, secret_headers)) {
    out->names[out->count] = texts->put(header.name);
    out->values[out->count] = texts->put(header.value);
    ++out->count;
  }
}

// int[], palloc'd: the digest of each secret that the request carries.
Datum secret_digests(const PgNetCall* call) {
  // A line has three bytes at least.
  auto* digests = static_cast<Datum*>(palloc(sizeof(Datum) * (strlen(call->headers.further) / 3 + 1)));
  int count = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::vector<core::Header> further = core::headers_of_lines(call->headers.further);
        for (const std::string& secret : core::secrets_of_request(call->secret, further))
          digests[count++] = Int32GetDatum(digest_of(secret));
      }))
    raise(&failure);
  return PointerGetDatum(construct_array(digests, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

// The SQL of 0.1.0 has no previous secret, and knows a request by its id alone.
void bind_request(const PgNetCall* call, int64 request_id) {
  bool in_0_1_0 = sql_is_earlier();
  Oid types[4] = {INT8OID, INT8OID, INT4ARRAYOID, TIMESTAMPTZOID};
  Datum values[4] = {Int64GetDatum(call->id), Int64GetDatum(request_id), 0,
                     TimestampTzGetDatum(timestamp_of_unix_us(call->previous_until_us))};
  char nulls[] = {' ', ' ', ' ', call->previous_until_us != 0 ? ' ' : 'n'};
  if (!in_0_1_0) values[2] = secret_digests(call);
  SPI_connect();
  int result = SPI_execute_with_args(in_0_1_0 ? kBindIn010 : kBind, in_0_1_0 ? 2 : 4, types, values, nulls, false, 0);
  if (result != SPI_OK_INSERT)
    elog(ERROR, "could not insert into wee5_cron.pg_net_request: %s", SPI_result_code_string(result));
  SPI_finish();
}

}  // namespace

void hand_to_pg_net(const PgNetCall* call) {
  Size further_bytes = strlen(call->headers.further);
  Size text_size =
      strlen(call->secret) + strlen(call->headers.header) + strlen(call->headers.prefix) + further_bytes + 4096;
  for (int i = 0; i < call->custom->count; ++i)
    text_size += strlen(call->custom->names[i]) + strlen(call->custom->values[i]) + 2;
  if (call->job_name != nullptr) text_size += 3 * strlen(call->job_name);
  TextBuffer texts = make_text_buffer(text_size);
  PgNetRequest request;
  memset(&request, 0, sizeof(request));
  // A line has three bytes at least.
  Size room = sizeof(char*) * (static_cast<Size>(call->custom->count + kOwnHeaders) + further_bytes / 3);
  request.headers.names = static_cast<char**>(palloc(room));
  request.headers.values = static_cast<char**>(palloc(room));
  CppFailure failure;
  if (!run_cpp(&failure, [&] { write_headers(call, &request.headers, &texts); })) raise(&failure);
  request.method = call->method;
  request.url = call->url;
  request.body = call->body;
  request.timeout_ms = call->timeout_ms;
  bind_request(call, enqueue_with_pg_net(&request));
}

namespace {

bool session_may_record() { return !registry_exists() && !XactReadOnly && !IsolationUsesXactSnapshot(); }

// Runs a query of one row about a call, and returns its first column.
int64 run_about_call(const char* query, int64 id) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(id)};
  bool is_null = true;
  SPI_connect();
  if (SPI_execute_with_args(query, 1, types, values, nullptr, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
    elog(ERROR, "unexpected result of a query about call " INT64_FORMAT, id);
  int64 result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
  SPI_finish();
  CommandCounterIncrement();
  return is_null ? 0 : result;
}

}  // namespace

bool record_pg_net_answer(int64 invocation_id) {
  if (!session_may_record()) return false;
  run_about_call("SELECT wee5_cron.book_pg_net_answers($1), wee5_cron.send_due_by_pg_net($1)", invocation_id);
  return true;
}

bool record_end_on_pg_net(int64 invocation_id) {
  if (!session_may_record()) return true;
  bool wrote = false;
  ErrorData* error;
  bool ended = in_subtransaction(
      [invocation_id, &wrote]() -> bool {
        if (run_about_call("SELECT wee5_cron.book_pg_net_answers($1)", invocation_id) > 0) return true;
        // Only what writes, or locks a row, has a transaction id.
        wrote = TransactionIdIsValid(GetCurrentTransactionIdIfAny());
        return false;
      },
      &error);
  if (error != nullptr) ReThrowError(error);
  return ended || !wrote;
}

namespace {

SPIPlanPtr may_hand_over_plan = nullptr;

}  // namespace

bool may_hand_over(const char* path) {
  Oid types[1] = {TEXTOID};
  Datum values[1] = {CStringGetTextDatum(path)};
  bool is_null = true;
  SPI_connect();
  const char* statement = "SELECT wee5_cron.may_hand_over($1, wee5_cron.policy_of($1))";
  if (SPI_execute_plan(kept_plan(&may_hand_over_plan, statement, 1, types), values, nullptr, false, 1) !=
          SPI_OK_SELECT ||
      SPI_processed != 1)
    elog(ERROR, "wee5_cron.may_hand_over() returned no row");
  Datum may = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  bool result = !is_null && DatumGetBool(may);
  SPI_finish();
  return result;
}

namespace {

SPIPlanPtr handed_over_plan = nullptr;

// $1 id, $2 url
constexpr const char* kHandedOver = "UPDATE wee5_cron.invocation SET next_attempt_at = NULL, url = $2 WHERE id = $1";

// Prepares the next attempt of a call, with the address and the secret that its role has now. False: the attempt should
// carry the previous secret, and there is none that it may use.
bool prepare_attempt(int64 id, const StoredCall* stored, bool with_previous, HeaderList* custom, PgNetCall* call) {
  if (stored->idempotency_key == nullptr)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("column \"idempotency_key\" of wee5_cron.invocation is NULL")));
  headers_from_jsonb(stored->headers, custom);
  call->id = id;
  call->attempt = stored->attempts + 1;
  call->idempotency_key = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(stored->idempotency_key)));
  call->job_name = stored->job_name != nullptr ? to_utf8_lossy(pstrdup(stored->job_name)) : nullptr;
  call->scheduled_at = stored->has_scheduled_at ? rfc3339(stored->scheduled_at) : nullptr;
  call->method = stored->method;
  call->body = stored->body;
  call->custom = custom;
  int64 ms = stored->timeout != nullptr ? interval_milliseconds(stored->timeout) : -1;
  call->timeout_ms = ms > 0 ? static_cast<int>(Min(ms, PG_INT32_MAX)) : guc_request_timeout;
  CallAddress address;
  find_stored_address(get_role_oid(stored->requested_by, true), to_utf8_lossy(pstrdup(stored->endpoint_path)),
                      &address);
  call->url = address.url;
  call->secret = with_previous ? address.previous_secret : address.secret;
  call->headers = address.headers;
  call->previous_until_us = with_previous ? address.previous_until_us : 0;
  return call->secret != nullptr;
}

// Returns the URL that the call goes to. NULL: there is no such open call, or no secret that it may carry.
const char* hand_over_again(int64 id, bool with_previous) {
  StoredCall stored;
  if (!read_stored_call(id, &stored) || stored.finished || !stored.on_pg_net) return nullptr;
  HeaderList custom;
  PgNetCall call;
  memset(&call, 0, sizeof(call));
  if (!prepare_attempt(id, &stored, with_previous, &custom, &call)) return nullptr;
  hand_to_pg_net(&call);
  return call.url;
}

}  // namespace

// wee5_cron.send_by_pg_net(call_id bigint) -> boolean: false if there is no such open call
WEE5_SQL_FUNCTION(wee5_cron_send_by_pg_net) {
  if (PG_ARGISNULL(0)) PG_RETURN_BOOL(false);
  int64 id = PG_GETARG_INT64(0);
  const char* url = hand_over_again(id, false);
  if (url == nullptr) PG_RETURN_BOOL(false);
  Oid types[2] = {INT8OID, TEXTOID};
  Datum values[2] = {Int64GetDatum(id), CStringGetTextDatum(from_utf8(url))};
  SPI_connect();
  SPI_execute_plan(kept_plan(&handed_over_plan, kHandedOver, 2, types), values, nullptr, false, 0);
  SPI_finish();
  // A harvest() by hand may send the call before the time for which the worker set its timer.
  wake_worker_at_commit();
  PG_RETURN_BOOL(true);
}

// wee5_cron.send_with_previous_secret(call_id bigint) -> boolean: false if the call may use no previous
// secret
WEE5_SQL_FUNCTION(wee5_cron_send_with_previous_secret) {
  PG_RETURN_BOOL(!PG_ARGISNULL(0) && hand_over_again(PG_GETARG_INT64(0), true) != nullptr);
}

// wee5_cron.previous_secret_hint(previous_until timestamptz) -> text
WEE5_SQL_FUNCTION(wee5_cron_previous_secret_hint) {
  int64 until_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(0));
  TextBuffer texts = make_text_buffer(1024);
  const char* hint = "";
  CppFailure failure;
  if (!run_cpp(&failure, [&] { hint = texts.put(core::previous_secret_hint(until_us)); })) raise(&failure);
  PG_RETURN_TEXT_P(cstring_to_text(hint));
}

// wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_may_still_begin) {
  for (int i = 0; i < 3; ++i)
    if (PG_ARGISNULL(i)) PG_RETURN_NULL();
  EndpointRow policy;
  find_endpoint(text_to_cstring(PG_GETARG_TEXT_PP(0)), &policy);
  core::DueAttempt due;
  due.attempt = PG_GETARG_INT32(1);
  due.first_begun_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(2));
  int64 now_us = unix_us_of(GetCurrentTimestamp());
  core::Begin begin = core::Begin::kNow;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { begin = core::may_begin(due, retry_policy_of(&policy), now_us); })) raise(&failure);
  PG_RETURN_BOOL(begin == core::Begin::kNow);
}

}  // namespace wee5::pg
