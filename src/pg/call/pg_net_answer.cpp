// Decides what an answer of pg_net means for the ledger, and what becomes of an accepted call that was not completed.
// The SQL asks once for each call, and only moves the rows.

#include "wee5_cron/core/outcome/pg_net_answer.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/text/text.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/role_secrets.h"

namespace wee5::pg {

namespace {

// In the order of the SQL function's parameters.
enum Argument {
  kEndpointPath,
  kMethod,
  kUrl,
  kTimeout,
  kRequestedBy,
  kRequestedAt,
  kAttempts,
  kLost,
  kStatusCode,
  kContentType,
  kContent,
  kTimedOut,
  kErrorMsg,
  kAnswerHeaders,
  kMayRetry,
  kRandom,
  kSecretsOfPortable,
  kTimeoutOfPortable,
  kMaxResponseBytesOfPortable,
  kSecretDigests
};

// In the order of its OUT parameters.
enum Field {
  kStatus,
  kReason,
  kError,
  kHint,
  kNextAttemptAt,
  kEndedAt,
  kFinishedAt,
  kResponseContentType,
  kResponseBody,
  kResponseTruncated,
  kFields
};

// The arguments as C++ reads them. Texts UTF-8, palloc'd; NULL: none.
struct AnsweredCall {
  const char* endpoint_path;
  const char* method;
  const char* url;
  int timeout_ms;
  RoleSecrets secrets;
  Datum* secret_digests;  // of those that the request carried
  int secret_digest_count;
  int64 first_begun_us;
  int attempt;
  bool lost;
  int http_status;
  const char* content_type;
  const char* content;
  Size content_bytes;
  bool timed_out;
  const char* error_msg;
  HeaderList headers;
  bool may_retry;
  EndpointRow policy;
  int64 now_us;
  double random;
};

const char* optional_text(FunctionCallInfo fcinfo, Argument argument) {
  return PG_ARGISNULL(argument) ? nullptr : to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(argument)));
}

bool flag(FunctionCallInfo fcinfo, Argument argument) { return !PG_ARGISNULL(argument) && PG_GETARG_BOOL(argument); }

int max_response_bytes(const AnsweredCall* call) {
  return call->policy.max_response_bytes >= 0 ? call->policy.max_response_bytes : guc_max_response_bytes;
}

// The beginning of the body. pg_net keeps a body whole, and it may be large: no more than that is read.
void read_content(FunctionCallInfo fcinfo, AnsweredCall* call) {
  if (PG_ARGISNULL(kContent)) return;
  call->content_bytes = toast_raw_datum_size(PG_GETARG_DATUM(kContent)) - VARHDRSZ;
  int32 most = static_cast<int32>(max_response_bytes(call) + core::kSecretMargin);
  call->content = to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_P_SLICE(kContent, 0, most)));
}

int timeout_of_call(FunctionCallInfo fcinfo) {
  int64 ms = PG_ARGISNULL(kTimeout) ? -1 : interval_milliseconds(PG_GETARG_INTERVAL_P(kTimeout));
  return ms > 0 ? static_cast<int>(Min(ms, PG_INT32_MAX)) : guc_request_timeout;
}

const char* text_of_scalar(const JsonbValue* value) {
  if (value->type == jbvString)
    return to_utf8_lossy(pnstrdup(value->val.string.val, static_cast<Size>(value->val.string.len)));
  if (value->type == jbvNumeric)
    return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
  return nullptr;
}

// Names and values of an object, whatever else its values are: any role may write to pg_net's tables.
void read_headers(Jsonb* jsonb, HeaderList* headers) {
  if (!JB_ROOT_IS_OBJECT(jsonb)) return;
  Size bytes = sizeof(char*) * (static_cast<Size>(JB_ROOT_COUNT(jsonb)) + 1);
  headers->names = static_cast<char**>(palloc(bytes));
  headers->values = static_cast<char**>(palloc(bytes));
  JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
  JsonbValue value;
  const char* name = nullptr;
  for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true); token != WJB_DONE;
       token = JsonbIteratorNext(&iterator, &value, true)) {
    if (token == WJB_KEY) name = text_of_scalar(&value);
    const char* text = token == WJB_VALUE ? text_of_scalar(&value) : nullptr;
    if (text == nullptr) continue;
    headers->names[headers->count] = const_cast<char*>(name);
    headers->values[headers->count++] = const_cast<char*>(text);
  }
}

// The SQL of 0.1.0 has no such argument.
void read_secret_digests(FunctionCallInfo fcinfo, AnsweredCall* call) {
  if (PG_NARGS() <= kSecretDigests || PG_ARGISNULL(kSecretDigests)) return;
  bool* nulls;
  deconstruct_array(PG_GETARG_ARRAYTYPE_P(kSecretDigests), INT4OID, sizeof(int32), true, TYPALIGN_INT,
                    &call->secret_digests, &nulls, &call->secret_digest_count);
}

void read_arguments(FunctionCallInfo fcinfo, AnsweredCall* call) {
  *call = AnsweredCall{};
  find_endpoint(text_to_cstring(PG_GETARG_TEXT_PP(kEndpointPath)), &call->policy);
  call->endpoint_path = optional_text(fcinfo, kEndpointPath);
  call->method = optional_text(fcinfo, kMethod);
  call->url = optional_text(fcinfo, kUrl);
  call->timeout_ms = timeout_of_call(fcinfo);
  collect_role_secrets(PG_ARGISNULL(kRequestedBy) ? "" : NameStr(*PG_GETARG_NAME(kRequestedBy)), &call->secrets);
  read_secret_digests(fcinfo, call);
  call->first_begun_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(kRequestedAt));
  call->attempt = PG_GETARG_INT32(kAttempts) + 1;
  call->lost = flag(fcinfo, kLost);
  call->http_status = PG_ARGISNULL(kStatusCode) ? 0 : PG_GETARG_INT32(kStatusCode);
  call->content_type = optional_text(fcinfo, kContentType);
  read_content(fcinfo, call);
  call->timed_out = flag(fcinfo, kTimedOut);
  call->error_msg = optional_text(fcinfo, kErrorMsg);
  if (!PG_ARGISNULL(kAnswerHeaders)) read_headers(PG_GETARG_JSONB_P(kAnswerHeaders), &call->headers);
  call->may_retry = flag(fcinfo, kMayRetry);
  call->now_us = unix_us_of(GetCurrentTimestamp());
  call->random = PG_ARGISNULL(kRandom) ? 0.5 : PG_GETARG_FLOAT8(kRandom);
}

// Whether the request carried a secret that is not stored any more. The app may repeat it, and nobody could find it.
bool carried_forgotten_secret(const AnsweredCall* call, const std::vector<std::string>& secrets) {
  for (int i = 0; i < call->secret_digest_count; ++i) {
    const int32 carried = DatumGetInt32(call->secret_digests[i]);
    if (std::none_of(secrets.begin(), secrets.end(), [carried](const auto& one) { return digest_of(one) == carried; }))
      return true;
  }
  return false;
}

void decide_in_cpp(const AnsweredCall* call, core::PgNetOutcome* outcome) {
  core::PgNetAnswer answer;
  answer.lost = call->lost;
  answer.http_status = call->http_status;
  answer.timed_out = call->timed_out;
  answer.failed = call->error_msg != nullptr;
  answer.error_msg = view_or_empty(call->error_msg);
  answer.content_type = view_or_empty(call->content_type);
  answer.content = view_or_empty(call->content);
  answer.content_bytes = call->content_bytes;
  for (int i = 0; i < call->headers.count; ++i)
    answer.headers.emplace_back(call->headers.names[i], call->headers.values[i]);
  core::PgNetCall made;
  made.endpoint_path = view_or_empty(call->endpoint_path);
  made.method = view_or_empty(call->method);
  made.url = view_or_empty(call->url);
  made.timeout_ms = call->timeout_ms;
  made.attempt = call->attempt;
  made.first_begun_us = call->first_begun_us;
  made.may_retry = call->may_retry;
  made.secrets = texts_of(call->secrets);
  if (carried_forgotten_secret(call, made.secrets)) {
    answer.content_type = {};
    if (!answer.content.empty()) answer.content = kForgotten;
    answer.content_bytes = answer.content.size();
  }
  const bool target_in_vault =
      call->secrets.vault.trouble != nullptr && !core::split_target(view_or_empty(call->endpoint_path)).target.empty();
  if (call->secrets.unknown || target_in_vault) made.withheld = kWithheld;
  made.max_response_bytes = static_cast<std::size_t>(max_response_bytes(call));
  *outcome = core::decide(answer, made, retry_policy_of(&call->policy), call->now_us, call->random);
}

Datum text_or_null(const std::string* utf8, bool* is_null) {
  *is_null = utf8->empty();
  return *is_null ? 0 : CStringGetTextDatum(from_utf8(utf8->c_str()));
}

Datum time_or_null(int64 unix_us, bool* is_null) {
  *is_null = unix_us == 0;
  return TimestampTzGetDatum(timestamp_of_unix_us(unix_us));
}

Datum row_of(FunctionCallInfo fcinfo, const AnsweredCall* call, const core::PgNetOutcome* outcome) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.decide_pg_net_answer must return a row");
  Datum values[kFields] = {};
  bool nulls[kFields] = {};
  const char* reason = core::reason_name(outcome->explanation.reason);
  values[kStatus] = CStringGetTextDatum(core::status_name(outcome->decision.status));
  nulls[kReason] = reason[0] == '\0';
  values[kReason] = CStringGetTextDatum(reason);
  values[kError] = text_or_null(&outcome->explanation.error, &nulls[kError]);
  values[kHint] = text_or_null(&outcome->explanation.hint, &nulls[kHint]);
  values[kNextAttemptAt] = time_or_null(outcome->decision.next_attempt_us, &nulls[kNextAttemptAt]);
  values[kEndedAt] = time_or_null(call->now_us, &nulls[kEndedAt]);
  values[kFinishedAt] = time_or_null(outcome->decision.finished_us, &nulls[kFinishedAt]);
  values[kResponseContentType] = text_or_null(&outcome->content_type, &nulls[kResponseContentType]);
  nulls[kResponseBody] = call->content == nullptr;
  values[kResponseBody] = CStringGetTextDatum(from_utf8(outcome->body.c_str()));
  values[kResponseTruncated] = BoolGetDatum(outcome->truncated);
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

// In the order of the OUT parameters.
enum IncompleteField {
  kIncompleteStatus,
  kIncompleteReason,
  kIncompleteError,
  kIncompleteHint,
  kIncompleteNextAttemptAt,
  kIncompleteFinishedAt,
  kIncompleteFields
};

// What the ledger says of a call that the app accepted and did not complete. `path` is UTF-8, as the texts are.
struct Incomplete {
  core::Decision decision;
  const char* error;
  const char* hint;
};

void decide_incomplete(const char* path, const core::EndedAttempt* ended, const EndpointRow* policy, double random,
                       TextBuffer* texts, Incomplete* incomplete) {
  core::Observation seen;
  seen.reason = core::Reason::kIncomplete;
  seen.endpoint_path = path;
  const core::Explanation explanation = core::explain(seen);
  incomplete->decision = core::decide(explanation, *ended, retry_policy_of(policy), random);
  incomplete->error = texts->put(core::shorten(explanation.error, 4096));
  incomplete->hint = texts->put(core::shorten(explanation.hint, 4096));
}

}  // namespace

// wee5_cron.decide_incomplete(endpoint_path text, attempts int, first_begun timestamptz, random float8)
//   -> the row of an accepted call that was not completed in time
WEE5_SQL_FUNCTION(wee5_cron_decide_incomplete) {
  for (int i = 0; i < 4; ++i)
    if (PG_ARGISNULL(i)) PG_RETURN_NULL();
  EndpointRow policy;
  find_endpoint(text_to_cstring(PG_GETARG_TEXT_PP(0)), &policy);
  const char* path = to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  core::EndedAttempt ended;
  ended.attempt = PG_GETARG_INT32(1);
  ended.first_begun_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(2));
  ended.ended_us = unix_us_of(GetCurrentTimestamp());
  double random = PG_GETARG_FLOAT8(3);
  TextBuffer texts = make_text_buffer(Size{2} * (4096 + 1));
  Incomplete incomplete = {};
  CppFailure failure;
  if (!run_cpp(&failure, [&] { decide_incomplete(path, &ended, &policy, random, &texts, &incomplete); }))
    raise(&failure);
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.decide_incomplete must return a row");
  Datum values[kIncompleteFields] = {};
  bool nulls[kIncompleteFields] = {};
  values[kIncompleteStatus] = CStringGetTextDatum(core::status_name(incomplete.decision.status));
  values[kIncompleteReason] = CStringGetTextDatum(core::reason_name(core::Reason::kIncomplete));
  values[kIncompleteError] = CStringGetTextDatum(from_utf8(incomplete.error));
  values[kIncompleteHint] = CStringGetTextDatum(from_utf8(incomplete.hint));
  values[kIncompleteNextAttemptAt] =
      time_or_null(incomplete.decision.next_attempt_us, &nulls[kIncompleteNextAttemptAt]);
  values[kIncompleteFinishedAt] = time_or_null(incomplete.decision.finished_us, &nulls[kIncompleteFinishedAt]);
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

// wee5_cron.decide_pg_net_answer(...) -> the call's row after that answer
WEE5_SQL_FUNCTION(wee5_cron_decide_pg_net_answer) {
  for (Argument required : {kEndpointPath, kRequestedAt, kAttempts})
    if (PG_ARGISNULL(required)) PG_RETURN_NULL();
  AnsweredCall call;
  read_arguments(fcinfo, &call);
  // For the life of the session; never destroyed: a FATAL would run its destructor at any point.
  static core::PgNetOutcome* outcome = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        if (outcome == nullptr) outcome = new core::PgNetOutcome;
        decide_in_cpp(&call, outcome);
      }))
    raise(&failure);
  PG_RETURN_DATUM(row_of(fcinfo, &call, outcome));
}

}  // namespace wee5::pg
