// C functions that the PL/pgSQL parts call: the words for an outcome, redaction, whether the library is preloaded, and
// the workers' state.

#include <string>
#include <string_view>

#include "wee5_cron/core/outcome.hpp"
#include "wee5_cron/core/settings.hpp"
#include "wee5_cron/core/text.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/quiet_statements.h"
#include "wee5_cron/pg/call/endpoint.h"
#include "wee5_cron/pg/ledger/outcome_text.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

char* optional_text(FunctionCallInfo fcinfo, int number) {
  return PG_ARGISNULL(number) ? nullptr : to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

int interval_milliseconds(FunctionCallInfo fcinfo, int number, int fallback) {
  if (PG_ARGISNULL(number)) return fallback;
  Interval* interval = PG_GETARG_INTERVAL_P(number);
  int64 days = static_cast<int64>(interval->month) * DAYS_PER_MONTH + interval->day;
  return static_cast<int>(Min(interval->time / 1000 + days * SECS_PER_DAY * 1000, static_cast<int64>(INT_MAX)));
}

int64 unix_us_of(TimestampTz time) {
  return time + static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

Datum text_or_null(const char* utf8, bool* is_null) {
  *is_null = utf8 == nullptr || utf8[0] == '\0';
  return *is_null ? 0 : CStringGetTextDatum(from_utf8(utf8));
}

// Every secret that a request of the role may have carried: what is stored for it, and what Vault holds.
struct Secrets {
  StoredValue stored;
  VaultValues vault;
};

void collect_secrets(const char* role_name, Secrets* secrets) {
  StoredSettings stored;
  read_stored_settings(get_role_oid(role_name, true), &stored);
  read_vault(&stored, &secrets->vault);
  secrets->stored = stored.cron_secret;
}

// Said in place of a text that might hold a secret which we could not read.
constexpr const char* kWithheld = "[not kept: Vault cannot be read, so the secret could not be struck out]";

}  // namespace

char* outcome_error(core::Reason reason, const char* path, const char* detail) {
  const char* endpoint_path = to_utf8_lossy(pstrdup(path));
  TextBuffer texts = make_text_buffer(4096 + 1);
  const char* error = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Observation seen;
        seen.reason = reason;
        seen.endpoint_path = endpoint_path;
        seen.detail = detail;
        error = texts.put(core::shorten(core::explain(seen).error, 4096));
      }))
    raise(&failure);
  return from_utf8(error);
}

// wee5_cron.outcome_error(reason text, endpoint_path text) -> text
WEE5_SQL_FUNCTION(wee5_cron_outcome_error) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) PG_RETURN_NULL();
  core::Reason reason = core::parse_reason(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  PG_RETURN_TEXT_P(cstring_to_text(outcome_error(reason, text_to_cstring(PG_GETARG_TEXT_PP(1)), "")));
}

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
  int timeout_ms = interval_milliseconds(fcinfo, 7, guc_request_timeout);
  const char* header_lines = optional_text(fcinfo, 8);

  bool succeeded = false;
  const char* reason = nullptr;
  TextBuffer texts = make_text_buffer(16'384);
  const char* error = nullptr;
  const char* hint = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Observation seen;
        seen.http_status = http_status;
        seen.endpoint_path = view_or_empty(path);
        seen.url = view_or_empty(url);
        seen.content_type = view_or_empty(content_type);
        seen.detail = core::shorten(view_or_empty(error_msg), 512);
        seen.timeout_ms = timeout_ms;
        for (std::string_view left = view_or_empty(header_lines); !left.empty();) {
          const std::size_t end = left.find('\n');
          seen.cache_signs.read_line(left.substr(0, end));
          left = end == std::string_view::npos ? std::string_view() : left.substr(end + 1);
        }
        if (lost)
          seen.reason = core::Reason::kLost;
        else if (http_status == 0 || error_msg != nullptr)
          seen.reason = core::reason_of_pg_net(view_or_empty(error_msg), timed_out);
        core::Explanation explanation = core::explain(seen);
        succeeded = explanation.succeeded;
        reason = core::reason_name(explanation.reason);
        error = texts.put(core::shorten(explanation.error, 4096));
        hint = texts.put(core::shorten(explanation.hint, 4096));
      }))
    raise(&failure);

  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.explain_pg_net must return a row");
  Datum values[4];
  bool nulls[4] = {false, false, false, false};
  values[0] = BoolGetDatum(succeeded);
  values[1] = text_or_null(reason, &nulls[1]);
  values[2] = text_or_null(error, &nulls[2]);
  values[3] = text_or_null(hint, &nulls[3]);
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

// wee5_cron.next_attempt(endpoint_path text, attempt int, reason text, http_status int, retry_after text,
//                        first_begun timestamptz, ended timestamptz, random float8) -> timestamptz: NULL where the
// failure is final
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
  int64 next_us = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::FailedAttempt failed;
        failed.attempt = attempt;
        failed.reason = core::parse_reason(reason);
        failed.http_status = http_status;
        failed.retry_after = view_or_empty(retry_after);
        failed.first_begun_us = first_begun_us;
        failed.ended_us = ended_us;
        next_us = core::next_attempt_us(retry_policy_of(&policy), failed, random).value_or(0);
      }))
    raise(&failure);
  if (next_us == 0) PG_RETURN_NULL();
  PG_RETURN_TIMESTAMPTZ(next_us - unix_us_of(0));
}

// wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_may_still_begin) {
  for (int i = 0; i < 3; ++i)
    if (PG_ARGISNULL(i)) PG_RETURN_NULL();
  EndpointRow policy;
  find_endpoint(text_to_cstring(PG_GETARG_TEXT_PP(0)), &policy);
  int attempt = PG_GETARG_INT32(1);
  int64 first_begun_us = unix_us_of(PG_GETARG_TIMESTAMPTZ(2));
  int64 now_us = unix_us_of(GetCurrentTimestamp());
  bool may = false;
  CppFailure failure;
  if (!run_cpp(&failure,
               [&] { may = core::may_still_begin(retry_policy_of(&policy), attempt, first_begun_us, now_us); }))
    raise(&failure);
  PG_RETURN_BOOL(may);
}

// wee5_cron.redact_for(role name, value text) -> text
WEE5_SQL_FUNCTION(wee5_cron_redact_for) {
  if (PG_ARGISNULL(1)) PG_RETURN_NULL();
  const char* value = optional_text(fcinfo, 1);
  Secrets secrets;
  collect_secrets(PG_ARGISNULL(0) ? "" : NameStr(*PG_GETARG_NAME(0)), &secrets);
  if (secrets.vault.trouble != nullptr && !is_set(&secrets.stored)) PG_RETURN_TEXT_P(cstring_to_text(kWithheld));
  // A secret of one byte may become nine.
  TextBuffer texts = make_text_buffer(9 * strlen(value) + 1024);
  const char* redacted = value;
  const char* command_line = command_line_cron_secret();
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        std::string text(value);
        const StoredValue& stored = secrets.stored;
        for (const char* held :
             {static_cast<const char*>(stored.role_in_database), static_cast<const char*>(stored.role),
              static_cast<const char*>(stored.database), static_cast<const char*>(stored.all), command_line,
              static_cast<const char*>(secrets.vault.cron_secret)}) {
          core::SettingCandidates candidate;
          candidate.all = view_or_empty(held);
          std::string secret = core::choose_setting(candidate).value;
          if (!secret.empty()) text = core::redact(text, secret);
        }
        redacted = texts.put(text);
      }))
    raise(&failure);
  PG_RETURN_TEXT_P(cstring_to_text(from_utf8(redacted)));
}

// wee5_cron.silence_statements() -> void: until the function ends that calls it
WEE5_SQL_FUNCTION(wee5_cron_silence_statements) {
  (void)fcinfo;
  silence_statements();
  PG_RETURN_VOID();
}

// wee5_cron.library_preloaded() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_library_preloaded) {
  (void)fcinfo;
  PG_RETURN_BOOL(library_preloaded());
}

namespace {

// A worker's trouble may quote what somebody keeps in his database.
bool may_see_error_of(Oid database) {
  Oid role = GetOuterUserId();
  return database == MyDatabaseId || has_privs_of_role(role, ROLE_PG_READ_ALL_STATS) || owns_database(database, role);
}

void put_worker_slot(ReturnSetInfo* result, WorkerSlot* slot) {
  Datum values[9];
  bool nulls[9] = {};
  core::WorkerState state = state_of(slot);
  // A name of ours, which ends in a NUL.
  const char* state_word = core::state_name(state).data();
  values[0] = ObjectIdGetDatum(slot->database);
  values[1] = Int32GetDatum(slot->pid);
  nulls[1] = slot->pid == 0;
  values[2] = CStringGetTextDatum(state_word);
  values[3] = Int32GetDatum(static_cast<int32>(pg_atomic_read_u32(&slot->in_flight)));
  values[4] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->sent)));
  values[5] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->succeeded)));
  values[6] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->failed)));
  values[7] = TimestampTzGetDatum(slot->started_at);
  nulls[7] = slot->started_at == 0;
  nulls[8] = slot->last_error[0] == '\0' || !may_see_error_of(slot->database);
  values[8] = nulls[8] ? 0 : CStringGetTextDatum(slot->last_error);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

// wee5_cron.worker_slots() -> setof record
WEE5_SQL_FUNCTION(wee5_cron_worker_slots) {
  materialized_srf(fcinfo);
  ReturnSetInfo* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  for (int i = 0; i < registry_size(); ++i) {
    WorkerSlot slot;
    // Copied under the lock; the tuple is made without it.
    LWLockAcquire(registry_lock(), LW_SHARED);
    memcpy(&slot, registry_slot(i), sizeof(slot));
    LWLockRelease(registry_lock());
    if (!OidIsValid(slot.database) || state_of(&slot) == core::WorkerState::kReserved) continue;
    put_worker_slot(result, &slot);
  }
  return static_cast<Datum>(0);
}

}  // namespace wee5::pg
