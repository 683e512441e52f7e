// Making a call: invoke_cron_endpoint() and its relatives. They check everything that can be checked before the call is
// made, write the ledger row, and hand it to the transport; on commit the worker is woken.

#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/endpoint_path.hpp"
#include "wee5_cron/core/request_headers.hpp"
#include "wee5_cron/core/settings.hpp"
#include "wee5_cron/delivery/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/call/endpoint.h"
#include "wee5_cron/pg/call/occurrence_key.h"
#include "wee5_cron/pg/call/pg_net_handover.h"
#include "wee5_cron/pg/call/request_body.h"
#include "wee5_cron/pg/jobs/cron_caller.h"
#include "wee5_cron/pg/ledger/armed.h"
#include "wee5_cron/pg/ledger/ledger.h"
#include "wee5_cron/pg/ledger/ledger_table.h"
#include "wee5_cron/pg/ledger/overlap.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/transport.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

// What the caller asked for. Texts UTF-8, palloc'd.
struct CallRequest {
  char* path;
  char* method;       // NULL: the policy's; upper case when the call is made
  Datum body;         // jsonb; 0: the policy's, or none
  Jsonb* headers;     // NULL: the policy's, or none
  Interval* timeout;  // NULL: the policy's, or the default
  int timeout_ms;     // 0: the default
  char* job_name;     // run_now(): in the name of this job; else NULL
  Oid role;           // the job's owner, whose missed run is made up for; InvalidOid: a call of session_user
  char* schedule;     // of that job, in the server's encoding; NULL: not known
  EndpointRow policy;
  bool as_it_was;              // retry(): nothing is left open
  pg_uuid_t* idempotency_key;  // NULL: a new one
  TimestampTz scheduled_at;
  bool has_scheduled_at;
};

// What the C++ part found out. Texts stand in `texts`.
struct CheckedCall {
  bool takes_body;
  bool needs_body;
  const char* url;      // NULL: api_url or secret missing
  const char* missing;  // what to say about the setting that is missing; NULL: none
  const char* missing_hint;
  const char* secret;
  const char* session_only;  // builtin: the setting that exists in this session only; NULL: none
  TextBuffer texts;
};

core::SettingCandidates candidates_of_session(const StoredValue& stored, const char* session, const char* command_line,
                                              const VaultValues& vault, const char* vault_value) {
  core::SettingCandidates candidates = candidates_of(stored, command_line, vault, vault_value);
  if (session != nullptr) candidates.session = session;
  return candidates;
}

// A session's own value cannot reach the worker. Where the same value is stored as well, nothing is amiss.
bool only_in_session(const core::SettingCandidates& candidates, const core::Setting& chosen) {
  if (chosen.source != core::SettingSource::kSession) return false;
  core::SettingCandidates stored = candidates;
  stored.session.reset();
  return core::choose_setting(stored).value != chosen.value;
}

struct SettingsRead {
  StoredSettings stored;
  VaultValues vault;
  const char* session_api_url;
  const char* session_cron_secret;
  const char* command_line_api_url;
  const char* command_line_cron_secret;
};

void check_call(const CallRequest* request, const HeaderList* headers) {
  core::check_endpoint_path(request->path);
  // A row of the ledger was checked when it was made, and has a job's schedule among its headers.
  if (request->as_it_was) return;
  for (int i = 0; i < headers->count; ++i) core::check_custom_header(headers->names[i], headers->values[i]);
}

void resolve_call(const CallRequest* request, const SettingsRead* settings, Transport transport, CheckedCall* checked) {
  core::SettingCandidates urls =
      candidates_of_session(settings->stored.api_url, settings->session_api_url, settings->command_line_api_url,
                            settings->vault, settings->vault.api_url);
  core::SettingCandidates secrets =
      candidates_of_session(settings->stored.cron_secret, settings->session_cron_secret,
                            settings->command_line_cron_secret, settings->vault, settings->vault.cron_secret);
  core::Setting url = core::choose_setting(urls);
  core::Setting secret = core::choose_setting(secrets);
  if (url.value.empty() || secret.value.empty()) {
    core::Error missing = url.value.empty() ? core::missing_setting("app.settings.api_url", url)
                                            : core::missing_setting("app.settings.cron_secret", secret);
    checked->missing = checked->texts.put(missing.message());
    checked->missing_hint = checked->texts.put(missing.hint());
  }
  if (transport == kTransportBuiltin) {
    if (only_in_session(urls, url)) checked->session_only = "app.settings.api_url";
    if (only_in_session(secrets, secret)) checked->session_only = "app.settings.cron_secret";
  }
  if (checked->missing != nullptr) return;
  core::check_secret(secret.value);
  // For the life of the session; never destroyed: a FATAL would run its destructor at any point.
  static delivery::UrlJoiner* joiner = new delivery::UrlJoiner;
  checked->url = checked->texts.put(joiner->join(url.value, guc_allow_plain_http, request->path));
  checked->secret = checked->texts.put(secret.value);
}

char* upper_method(const char* text) {
  // The C++ part has accepted it: ASCII letters.
  char* method = pstrdup(text);
  for (char* at = method; *at != '\0'; ++at) *at = static_cast<char>(pg_ascii_toupper(static_cast<unsigned char>(*at)));
  return method;
}

// An interval as milliseconds; 22023 where it is no sensible timeout.
int timeout_milliseconds(const Interval* timeout) {
  double ms = (static_cast<double>(timeout->month) * DAYS_PER_MONTH + timeout->day) * (SECS_PER_DAY * 1000.0) +
              static_cast<double>(timeout->time) / 1000.0;
  if (ms >= 1.0 && ms <= INT_MAX) return static_cast<int>(ms);
  char* text = DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(timeout)));
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout \"%s\" is out of range", text),
           errhint("Give an interval from 1 millisecond to 24 days, or leave it out for wee5_cron.request_timeout.")));
  pg_unreachable();
}

void check_body(CallRequest* request, const CheckedCall* checked) {
  if (request->body != 0 && !checked->takes_body)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s carries no body", request->method),
                    errhint("Leave the body out, or call with method => 'POST'.")));
  if (request->body == 0 && checked->needs_body) request->body = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
  if (request->body != 0) check_body_bytes(request->body);
}

void read_settings(Oid role, SettingsRead* settings) {
  current_stored_settings(role, &settings->stored);
  settings->session_api_url = session_api_url();
  settings->session_cron_secret = session_cron_secret();
  settings->command_line_api_url = command_line_api_url();
  settings->command_line_cron_secret = command_line_cron_secret();
  SessionSettings session = {settings->session_api_url, settings->session_cron_secret};
  complete_from_vault(role, &session, &settings->stored, &settings->vault);
}

const char* database_identifier() { return quote_identifier(get_database_name(MyDatabaseId)); }

const char* example_value(const char* setting) {
  return strcmp(setting, "app.settings.api_url") == 0 ? "https://app.example.com" : "the secret that the app expects";
}

void refuse_session_only(const char* setting) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("%s is set in this session only, and cannot reach the worker that makes the call", setting),
                  errhint("Store it: ALTER DATABASE %s SET %s = '%s'; then RESET %s in this session.",
                          database_identifier(), setting, example_value(setting), setting)));
}

// A row that says that nobody was called, and why.
int64 book_missing(NewInvocation* row, const CheckedCall* checked) {
  char* message = from_utf8(checked->missing);
  char* hint = from_utf8(checked->missing_hint);
  if (guc_missing_config == kMissingConfigError)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", message), errhint("%s", hint)));
  row->status = "skipped";
  row->reason = "config";
  row->error = message;
  row->hint = hint;
  return insert_invocation(row, nullptr);
}

void send_by_pg_net(const CallRequest* request, const CheckedCall* checked, NewInvocation* row,
                    const HeaderList* custom) {
  char idempotency_key[kUuidTextBytes];
  row->url = from_utf8(checked->url);
  row->id = insert_invocation(row, idempotency_key);
  PgNetCall call;
  memset(&call, 0, sizeof(call));
  call.id = row->id;
  call.attempt = 1;
  call.idempotency_key = idempotency_key;
  call.job_name = row->job_name != nullptr ? to_utf8_lossy(pstrdup(row->job_name)) : nullptr;
  call.scheduled_at = row->has_scheduled_at ? rfc3339(row->scheduled_at) : nullptr;
  call.url = checked->url;
  call.secret = checked->secret;
  call.method = request->method;
  call.body = request->body;
  call.custom = custom;
  call.timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : guc_request_timeout;
  hand_to_pg_net(&call);
}

// The schedule goes along as a header, so that a route written for Vercel Cron moves over unchanged. It is kept in the
// row: by the time the call is sent the job may be another one.
void add_schedule_header(HeaderList* headers, const CronCaller* caller) {
  if (caller->schedule == nullptr) return;
  Size bytes = sizeof(char*) * static_cast<Size>(headers->count + 1);
  headers->names = static_cast<char**>(headers->names != nullptr ? repalloc(headers->names, bytes) : palloc(bytes));
  headers->values = static_cast<char**>(headers->values != nullptr ? repalloc(headers->values, bytes) : palloc(bytes));
  headers->names[headers->count] = pstrdup("x-vercel-cron-schedule");
  headers->values[headers->count] = to_utf8(caller->schedule);
  ++headers->count;
}

// What the call leaves open is the policy's to say.
void apply_policy(CallRequest* request) {
  find_endpoint(from_utf8(request->path), &request->policy);
  if (request->as_it_was) return;
  CallChoices choices = {request->method, request->body, request->headers, request->timeout};
  take_over_policy(&choices, &request->policy);
  request->method = choices.method;
  request->body = choices.body;
  request->headers = choices.headers;
  request->timeout = choices.timeout;
}

// Which unfinished calls this one gives way to. A row for a path without query that says `skip` covers all of its
// calls.
const char* exclusive_of(const EndpointRow* policy, const CronCaller* caller) {
  switch (policy->overlap) {
    case Overlap::kAllow:
      return nullptr;
    case Overlap::kSkip:
      return strchr(policy->endpoint_path, '?') == nullptr ? kExclusiveRoute : kExclusivePath;
    case Overlap::kDefault:
      break;
  }
  return caller->by_job ? kExclusivePath : nullptr;
}

// A call that has not ended and that the new one gives way to; 0: none is seen.
int64 find_call_in_the_way(const NewInvocation* row, Oid role_oid) {
  const char* role = GetUserNameFromId(role_oid, false);
  int64 beside = find_unfinished_beside(row->endpoint_path, row->exclusive, role, 0, nullptr, nullptr);
  // Its answer may be there, and not booked yet.
  if (beside == 0 || !book_on_pg_net(beside)) return beside;
  return find_unfinished_beside(row->endpoint_path, row->exclusive, role, 0, nullptr, nullptr);
}

// Books that nobody is called, since call `beside` has not ended.
int64 book_overlap(NewInvocation* row, const CronCaller* caller, int64 beside) {
  row->status = "skipped";
  row->reason = "overlap";
  row->error = overlap_error(row->endpoint_path, beside);
  row->hint = overlap_hint(row->endpoint_path);
  int64 id = insert_invocation(row, nullptr);
  if (!caller->by_job)
    ereport(NOTICE, (errmsg("the call is skipped: call " INT64_FORMAT " of %s has not ended yet", beside,
                            quote_literal_cstr(row->endpoint_path)),
                     errhint("SELECT wee5_cron.wait_for(" INT64_FORMAT ");", beside)));
  return id;
}

// run_now() and catching up tell which job it is. A run that is made up for is the job's own, not that of whoever makes
// up for it.
void take_job_over(const CallRequest* request, CronCaller* caller) {
  if (OidIsValid(request->role)) {
    caller->by_job = true;
    caller->pg_cron_here = false;  // there is no run of pg_cron's
  }
  caller->schedule = request->schedule;
  caller->has_scheduled_at = request->has_scheduled_at;
  caller->scheduled_at = request->scheduled_at;
}

// Two servers that run one job for one tick make one call of it: its key says so. run_now() names a job, too, but is a
// call by hand; without a role it makes up for no run.
const pg_uuid_t* key_of_call(const CallRequest* request, const CronCaller* caller, const NewInvocation* row, Oid role) {
  if (request->as_it_was) return request->idempotency_key;
  bool by_hand = request->job_name != nullptr && !OidIsValid(request->role);
  return caller->by_job && !by_hand ? occurrence_key(row, role, caller->schedule) : nullptr;
}

int64 make_call(CallRequest* request) {
  require_armed();
  apply_policy(request);
  HeaderList headers;
  headers_from_jsonb(request->headers, &headers);
  CheckedCall checked;
  memset(&checked, 0, sizeof(checked));
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Method method = core::parse_method(request->method);
        checked.takes_body = core::takes_body(method);
        checked.needs_body = core::needs_body(method);
        check_call(request, &headers);
      }))
    raise(&failure);
  request->method = upper_method(request->method);
  check_body(request, &checked);
  if (request->timeout != nullptr) request->timeout_ms = timeout_milliseconds(request->timeout);

  Transport transport = choose_transport(request->method, request->body != 0);
  SettingsRead settings;
  Oid role = OidIsValid(request->role) ? request->role : GetSessionUserId();
  read_settings(role, &settings);
  // Path percent-encoded, prefix and secret.
  Size bytes = 3 * strlen(request->path) + 1024;
  const StoredValue* values[2] = {&settings.stored.api_url, &settings.stored.cron_secret};
  const char* others[8] = {settings.session_api_url,      settings.session_cron_secret,
                           settings.command_line_api_url, settings.command_line_cron_secret,
                           settings.vault.api_url,        settings.vault.cron_secret,
                           settings.vault.trouble,        settings.vault.hint};
  for (const StoredValue* value : values)
    for (const char* text : {value->role_in_database, value->role, value->database, value->all})
      bytes += text != nullptr ? 3 * strlen(text) : 0;
  for (const char* text : others) bytes += text != nullptr ? 3 * strlen(text) : 0;
  checked.texts = make_text_buffer(bytes);
  if (!run_cpp(&failure, [&] { resolve_call(request, &settings, transport, &checked); })) raise(&failure);

  CronCaller caller;
  identify_caller(&caller, from_utf8(request->path));
  if (request->job_name != nullptr && !request->as_it_was) take_job_over(request, &caller);
  // retry() has it in its headers.
  if (!request->as_it_was) add_schedule_header(&headers, &caller);

  NewInvocation row;
  memset(&row, 0, sizeof(row));
  row.job_name = request->job_name != nullptr ? request->job_name : caller.job_name;
  row.endpoint_path = from_utf8(request->path);
  row.method = request->method;
  row.body = request->body;
  row.headers = JsonbPGetDatum(jsonb_from_headers(&headers));
  row.transport = transport == kTransportPgNet ? "pg_net" : "builtin";
  row.status = "queued";
  row.timeout = request->timeout;
  row.has_scheduled_at = request->as_it_was ? request->has_scheduled_at : caller.has_scheduled_at;
  row.scheduled_at = request->as_it_was ? request->scheduled_at : caller.scheduled_at;
  row.idempotency_key = key_of_call(request, &caller, &row, role);

  if (checked.missing != nullptr) return book_missing(&row, &checked);
  if (checked.session_only != nullptr) refuse_session_only(checked.session_only);
  row.exclusive = exclusive_of(&request->policy, &caller);
  // The lock first: what was queued under it is seen then. Of a call that somebody else is just queueing it is not
  // known what will become of it; harvest() will see. On builtin the worker does.
  bool undecided = row.exclusive != nullptr && transport == kTransportPgNet && !lock_path(row.endpoint_path);
  int64 beside = row.exclusive != nullptr ? find_call_in_the_way(&row, role) : 0;
  if (beside != 0) {
    row.id = book_overlap(&row, &caller, beside);
  } else if (transport == kTransportPgNet && !undecided) {
    send_by_pg_net(request, &checked, &row, &headers);
  } else {
    row.has_next_attempt_at = undecided;
    row.next_attempt_at = GetCurrentTimestamp();
    row.id = insert_invocation(&row, nullptr);
    if (undecided) wake_worker_at_commit();
  }
  if (caller.by_job && caller.pg_cron_here) insert_cron_caller(row.id, MyProcPid);
  announce_call_at_commit(row.id);
  return row.id;
}

char* required_text(FunctionCallInfo fcinfo, int number, const char* name) {
  if (PG_ARGISNULL(number))
    ereport(ERROR,
            (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
             errhint("Give the path of the route, e.g. SELECT invoke_cron_endpoint('/api/cron/poll-activities');")));
  return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

}  // namespace

// invoke_cron_endpoint(endpoint_path text) -> bigint
WEE5_SQL_FUNCTION(wee5_cron_invoke_endpoint) {
  CallRequest request;
  memset(&request, 0, sizeof(request));
  request.path = to_utf8(required_text(fcinfo, 0, "endpoint_path"));
  PG_RETURN_INT64(make_call(&request));
}

// wee5_cron.invoke(endpoint_path text, method text, body jsonb, headers jsonb, timeout interval) -> bigint
WEE5_SQL_FUNCTION(wee5_cron_invoke) {
  CallRequest request;
  memset(&request, 0, sizeof(request));
  request.path = to_utf8(required_text(fcinfo, 0, "endpoint_path"));
  request.method = PG_ARGISNULL(1) ? nullptr : to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(1)));
  request.body = PG_ARGISNULL(2) ? 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(2));
  request.headers = PG_ARGISNULL(3) ? nullptr : PG_GETARG_JSONB_P(3);
  request.timeout = PG_ARGISNULL(4) ? nullptr : PG_GETARG_INTERVAL_P(4);
  PG_RETURN_INT64(make_call(&request));
}

// wee5_cron.invoke_for_job(job_name text, endpoint_path text, role name, schedule text, tick timestamptz) -> bigint
WEE5_SQL_FUNCTION(wee5_cron_invoke_for_job) {
  CallRequest request;
  memset(&request, 0, sizeof(request));
  request.job_name = required_text(fcinfo, 0, "job_name");
  request.path = to_utf8(required_text(fcinfo, 1, "endpoint_path"));
  if (!PG_ARGISNULL(2)) request.role = get_role_oid(NameStr(*PG_GETARG_NAME(2)), false);
  if (!PG_ARGISNULL(3)) request.schedule = text_to_cstring(PG_GETARG_TEXT_PP(3));
  request.has_scheduled_at = !PG_ARGISNULL(4);
  if (request.has_scheduled_at) request.scheduled_at = PG_GETARG_TIMESTAMPTZ(4);
  PG_RETURN_INT64(make_call(&request));
}

namespace {

[[noreturn]] void raise_unknown(int64 id) {
  ereport(ERROR,
          (errcode(ERRCODE_NO_DATA), errmsg("there is no call " INT64_FORMAT " in wee5_cron.invocation", id),
           errhint("SELECT id, endpoint_path, status FROM wee5_cron.invocation WHERE finished_at IS NOT NULL;")));
  pg_unreachable();
}

[[noreturn]] void raise_unfinished(int64 id) {
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("call " INT64_FORMAT " has not ended yet", id),
           errhint("Wait for it: SELECT wee5_cron.wait_for(" INT64_FORMAT
                   "); or give it up: SELECT wee5_cron.cancel(" INT64_FORMAT ");",
                   id, id)));
  pg_unreachable();
}

// The request of a call that has ended, as it was.
void read_request(int64 id, CallRequest* request) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(id)};
  MemoryContext context = CurrentMemoryContext;
  require_ledger_columns();
  SPI_connect();
  int result = SPI_execute_with_args(
      "SELECT endpoint_path, method, body, headers, timeout, job_name, scheduled_at, idempotency_key,"
      "       finished_at IS NOT NULL"
      " FROM wee5_cron.invocation WHERE id = $1",
      1, types, values, nullptr, false, 1);
  if (result != SPI_OK_SELECT || SPI_processed != 1) raise_unknown(id);
  HeapTuple tuple = SPI_tuptable->vals[0];
  TupleDesc descriptor = SPI_tuptable->tupdesc;
  MemoryContext old = MemoryContextSwitchTo(context);
  bool is_null;
  if (!DatumGetBool(SPI_getbinval(tuple, descriptor, 9, &is_null))) raise_unfinished(id);
  request->path = to_utf8(SPI_getvalue(tuple, descriptor, 1));
  request->method = SPI_getvalue(tuple, descriptor, 2);
  Datum body = SPI_getbinval(tuple, descriptor, 3, &is_null);
  if (!is_null) request->body = JsonbPGetDatum(DatumGetJsonbPCopy(body));
  Datum headers = SPI_getbinval(tuple, descriptor, 4, &is_null);
  if (!is_null) request->headers = DatumGetJsonbPCopy(headers);
  Datum timeout = SPI_getbinval(tuple, descriptor, 5, &is_null);
  if (!is_null) {
    request->timeout = static_cast<Interval*>(palloc(sizeof(Interval)));
    memcpy(request->timeout, DatumGetIntervalP(timeout), sizeof(Interval));
  }
  request->job_name = SPI_getvalue(tuple, descriptor, 6);
  Datum scheduled_at = SPI_getbinval(tuple, descriptor, 7, &is_null);
  request->has_scheduled_at = !is_null;
  if (!is_null) request->scheduled_at = DatumGetTimestampTz(scheduled_at);
  Datum idempotency_key = SPI_getbinval(tuple, descriptor, 8, &is_null);
  if (!is_null) {
    request->idempotency_key = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
    memcpy(request->idempotency_key, DatumGetUUIDP(idempotency_key), sizeof(pg_uuid_t));
  }
  request->as_it_was = true;
  MemoryContextSwitchTo(old);
  SPI_finish();
}

}  // namespace

// wee5_cron.retry(id bigint) -> bigint
WEE5_SQL_FUNCTION(wee5_cron_retry) {
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("id must not be NULL"),
                    errhint("Give the id of a call that has ended: SELECT id, endpoint_path, error FROM "
                            "wee5_cron.invocation WHERE status = 'failed';")));
  CallRequest request;
  memset(&request, 0, sizeof(request));
  read_request(PG_GETARG_INT64(0), &request);
  PG_RETURN_INT64(make_call(&request));
}

}  // namespace wee5::pg
