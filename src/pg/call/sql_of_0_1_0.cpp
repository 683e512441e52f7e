// What only the SQL of version 0.1.0 calls. A server can run with this library before ALTER EXTENSION ... UPDATE.

#include <string_view>

#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/outcome/pg_net_answer.hpp"
#include "wee5_cron/core/text/text.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/quiet_statements.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

const char* optional_text(FunctionCallInfo fcinfo, int number) {
  return PG_ARGISNULL(number) ? nullptr : to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

Datum text_or_null(const char* utf8, bool* is_null) {
  *is_null = utf8 == nullptr || utf8[0] == '\0';
  return *is_null ? 0 : CStringGetTextDatum(from_utf8(utf8));
}

void read_cache_signs(std::string_view header_lines, core::CacheSigns* signs) {
  while (!header_lines.empty()) {
    const std::size_t end = header_lines.find('\n');
    signs->read_line(header_lines.substr(0, end));
    header_lines = end == std::string_view::npos ? std::string_view() : header_lines.substr(end + 1);
  }
}

struct Said {
  bool succeeded;
  const char* reason;
  const char* error;
  const char* hint;
};

Datum row_of(FunctionCallInfo fcinfo, const Said* said) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.explain_pg_net must return a row");
  Datum values[4] = {BoolGetDatum(said->succeeded)};
  bool nulls[4] = {};
  values[1] = text_or_null(said->reason, &nulls[1]);
  values[2] = text_or_null(said->error, &nulls[2]);
  values[3] = text_or_null(said->hint, &nulls[3]);
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

}  // namespace

// wee5_cron.explain_pg_net(endpoint_path, url, http_status, content_type, error_msg, timed_out, lost, timeout,
//                          header_lines, OUT succeeded, OUT reason, OUT error, OUT hint)
WEE5_SQL_FUNCTION(wee5_cron_explain_pg_net) {
  const char* path = optional_text(fcinfo, 0);
  const char* url = optional_text(fcinfo, 1);
  int http_status = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
  const char* content_type = optional_text(fcinfo, 3);
  const char* error_msg = optional_text(fcinfo, 4);
  bool timed_out = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
  bool lost = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);
  int64 timeout_ms = PG_ARGISNULL(7) ? guc_request_timeout : interval_milliseconds(PG_GETARG_INTERVAL_P(7));
  const char* header_lines = optional_text(fcinfo, 8);
  Said said = {};
  TextBuffer texts = make_text_buffer(16'384);
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Observation seen;
        seen.http_status = http_status;
        seen.endpoint_path = view_or_empty(path);
        seen.url = view_or_empty(url);
        seen.content_type = view_or_empty(content_type);
        seen.detail = core::shorten(view_or_empty(error_msg), 512);
        seen.timeout_ms = timeout_ms;
        read_cache_signs(view_or_empty(header_lines), &seen.cache_signs);
        if (lost)
          seen.reason = core::Reason::kLost;
        else if (http_status == 0 || error_msg != nullptr)
          seen.reason = core::reason_of_pg_net(view_or_empty(error_msg), timed_out);
        const core::Explanation explanation = core::explain(seen);
        said.succeeded = explanation.succeeded;
        said.reason = core::reason_name(explanation.reason);
        said.error = texts.put(core::shorten(explanation.error, 4096));
        said.hint = texts.put(core::shorten(explanation.hint, 4096));
      }))
    raise(&failure);
  PG_RETURN_DATUM(row_of(fcinfo, &said));
}

// wee5_cron.next_attempt(endpoint_path text, attempt int, reason text, http_status int, retry_after text,
//                        first_begun timestamptz, ended timestamptz, random float8) -> timestamptz
WEE5_SQL_FUNCTION(wee5_cron_next_attempt) {
  for (int required : {0, 1, 2, 5, 6, 7})
    if (PG_ARGISNULL(required)) PG_RETURN_NULL();
  EndpointRow policy;
  find_endpoint(text_to_cstring(PG_GETARG_TEXT_PP(0)), &policy);
  const char* reason = text_to_cstring(PG_GETARG_TEXT_PP(2));
  const char* retry_after = optional_text(fcinfo, 4);
  int attempt = PG_GETARG_INT32(1);
  int http_status = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
  int64 first_begun_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(5));
  int64 ended_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(6));
  double random = PG_GETARG_FLOAT8(7);
  core::Decision decision;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Explanation explanation;
        explanation.reason = core::parse_reason(reason);
        const core::EndedAttempt ended{attempt,        http_status, view_or_empty(retry_after),
                                       first_begun_us, ended_us,    true};
        decision = core::decide(explanation, ended, retry_policy_of(&policy), random);
      }))
    raise(&failure);
  if (decision.next_attempt_us == 0) PG_RETURN_NULL();
  PG_RETURN_TIMESTAMPTZ(timestamp_of_unix_us(decision.next_attempt_us));
}

// wee5_cron.silence_statements() -> void: until the function ends that calls it
WEE5_SQL_FUNCTION(wee5_cron_silence_statements) {
  (void)fcinfo;
  silence_statements();
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
