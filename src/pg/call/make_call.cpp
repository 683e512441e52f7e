// Making a call: everything that can be checked is checked before the row is written.

#include "wee5_cron/pg/call/make_call.h"

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/call/call_address.h"
#include "wee5_cron/pg/call/occurrence_key.h"
#include "wee5_cron/pg/call/pg_net_handover.h"
#include "wee5_cron/pg/call/request_checks.h"
#include "wee5_cron/pg/jobs/cron_caller.h"
#include "wee5_cron/pg/ledger/armed.h"
#include "wee5_cron/pg/ledger/insert_call.h"
#include "wee5_cron/pg/ledger/overlap.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/transport.h"

namespace wee5::pg {

namespace {

// --- the request ----------------------------------------------------------------------------------------------------

// The policy of the path chooses what the call leaves open.
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

char* upper_method(const char* text) {
  // The method was checked: ASCII letters.
  char* method = pstrdup(text);
  for (char* at = method; *at != '\0'; ++at) *at = static_cast<char>(pg_ascii_toupper(static_cast<unsigned char>(*at)));
  return method;
}

// 22023 where the interval is no sensible timeout.
int timeout_milliseconds(const Interval* timeout) {
  int64 ms = interval_milliseconds(timeout);
  if (ms >= 1 && ms <= INT_MAX) return static_cast<int>(ms);
  char* text = DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(timeout)));
  ereport(
      ERROR,
      (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout \"%s\" is out of range", text),
       errhint("Give an interval from 1 millisecond to 24 days, or leave it out to use wee5_cron.request_timeout.")));
  pg_unreachable();
}

void check_body(CallRequest* request, bool takes_body, bool needs_body) {
  if (request->body != 0 && !takes_body)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s requests cannot have a body", request->method),
                    errhint("Leave the body out, or call with method => 'POST'.")));
  if (request->body == 0 && needs_body) request->body = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
  if (request->body != 0) check_body_bytes(request->body);
}

// Raises where the app could not be called so, and completes the request.
void check_request(CallRequest* request, HeaderList* headers) {
  headers_from_jsonb(request->headers, headers);
  bool takes_body = false;
  bool needs_body = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const core::Method method = core::parse_method(request->method);
        takes_body = core::takes_body(method);
        needs_body = core::needs_body(method);
        core::check_endpoint_path(request->path);
        // The headers of a row that is made again were checked, and a job's schedule is among them.
        if (request->as_it_was) return;
        for (int i = 0; i < headers->count; ++i) core::check_custom_header(headers->names[i], headers->values[i]);
      }))
    raise(&failure);
  request->method = upper_method(request->method);
  check_body(request, takes_body, needs_body);
  if (request->timeout != nullptr) request->timeout_ms = timeout_milliseconds(request->timeout);
}

SPIPlanPtr right_plan = nullptr;

// An earlier version's SQL has no targets. `path`: in the server's encoding.
bool may_call_target(Oid role, const char* path) {
  if (sql_is_earlier()) return false;
  constexpr const char* kQuery = "SELECT wee5_cron.may_call_target(pg_catalog.pg_get_userbyid($1), $2)";
  Oid types[2] = {OIDOID, TEXTOID};
  Datum values[2] = {ObjectIdGetDatum(role), CStringGetTextDatum(path)};
  bool is_null = true;
  SPI_connect();
  if (SPI_execute_plan(kept_plan(&right_plan, kQuery, 2, types), values, nullptr, false, 1) != SPI_OK_SELECT ||
      SPI_processed != 1)
    elog(ERROR, "unexpected result of a query about a privilege");
  bool may = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
  SPI_finish();
  return may && !is_null;
}

// The rule is in wee5_cron.may_call_target(). A path that has a policy need not be asked about.
void check_right_to_target(const CallRequest* request, Oid role) {
  bool is_target = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { is_target = !core::split_target(request->path).target.empty(); })) raise(&failure);
  if (!is_target || request->policy.endpoint_path != nullptr) return;
  const char* path = from_utf8(request->path);
  if (may_call_target(role, path)) return;
  const char* route = pnstrdup(path, strcspn(path, "?"));
  ereport(ERROR,
          (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
           errmsg("role \"%s\" may not call %s", GetUserNameFromId(role, false), quote_literal_cstr(path)),
           errhint("Whoever may run wee5_cron.configure_target() can allow this path to all callers: INSERT INTO "
                   "wee5_cron.endpoint (endpoint_path) VALUES (%s);",
                   quote_literal_cstr(route))));
}

// --- the caller -----------------------------------------------------------------------------------------------------

// run_now() and catch_up() name the job. A call that catches up belongs to the job, not to the role that runs
// catch_up().
void take_job_over(const CallRequest* request, CronCaller* caller) {
  if (OidIsValid(request->role)) {
    caller->by_job = true;
    caller->pg_cron_here = false;  // pg_cron has no run of it
  }
  caller->schedule = request->schedule;
  caller->has_scheduled_at = request->has_scheduled_at;
  caller->scheduled_at = request->scheduled_at;
}

// The schedule goes along as a header, so that a route written for Vercel Cron moves over unchanged. It is kept in the
// row: by the time the call is sent the job may have another one.
void add_schedule_header(HeaderList* headers, const CronCaller* caller) {
  if (caller->schedule == nullptr) return;
  Size bytes = sizeof(char*) * static_cast<Size>(headers->count + 1);
  headers->names = static_cast<char**>(headers->names != nullptr ? repalloc(headers->names, bytes) : palloc(bytes));
  headers->values = static_cast<char**>(headers->values != nullptr ? repalloc(headers->values, bytes) : palloc(bytes));
  headers->names[headers->count] = pstrdup("x-vercel-cron-schedule");
  headers->values[headers->count] = to_utf8(caller->schedule);
  ++headers->count;
}

void identify(const CallRequest* request, CronCaller* caller, HeaderList* headers) {
  identify_caller(caller, from_utf8(request->path));
  if (request->as_it_was) return;
  if (request->job_name != nullptr) take_job_over(request, caller);
  add_schedule_header(headers, caller);
}

// Two servers that run one job for one tick give their calls the same key. run_now() names a job, too, but is a call by
// hand: without a role it makes up for no run.
const pg_uuid_t* key_of_call(const CallRequest* request, const CronCaller* caller, const NewInvocation* row, Oid role) {
  if (request->as_it_was) return request->idempotency_key;
  bool by_hand = request->job_name != nullptr && !OidIsValid(request->role);
  return caller->by_job && !by_hand ? occurrence_key(row, role, caller->schedule) : nullptr;
}

// --- the row --------------------------------------------------------------------------------------------------------

void fill_row(const CallRequest* request, const CronCaller* caller, const HeaderList* headers, Transport transport,
              Oid role, NewInvocation* row) {
  memset(row, 0, sizeof(*row));
  row->job_name = request->job_name != nullptr ? request->job_name : caller->job_name;
  row->endpoint_path = from_utf8(request->path);
  row->method = request->method;
  row->body = request->body;
  row->headers = JsonbPGetDatum(jsonb_from_headers(headers));
  row->transport = transport == kTransportPgNet ? "pg_net" : "builtin";
  row->status = "queued";
  row->timeout = request->timeout;
  row->has_scheduled_at = request->as_it_was ? request->has_scheduled_at : caller->has_scheduled_at;
  row->scheduled_at = request->as_it_was ? request->scheduled_at : caller->scheduled_at;
  row->has_due_at = request->has_due_at;
  row->due_at = request->due_at;
  row->key = request->key;
  row->idempotency_key = key_of_call(request, caller, row, role);
}

// wee5_cron.missing_config = skip: a row says that nobody was called, and why.
int64 skip_without_settings(NewInvocation* row, const CallAddress* address) {
  if (guc_missing_config == kMissingConfigError) refuse_missing_setting(address);
  row->status = "skipped";
  row->reason = "config";
  row->error = from_utf8(address->missing);
  row->hint = from_utf8(address->missing_hint);
  return insert_invocation(row, nullptr);
}

const char* database_identifier() { return quote_identifier(get_database_name(MyDatabaseId)); }

[[noreturn]] void refuse_session_only(const char* setting) {
  const char* example =
      strcmp(setting, "app.settings.api_url") == 0 ? "https://app.example.com" : "the secret that the app expects";
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("%s is set in this session only, and cannot reach the worker that makes the call", setting),
                  errhint("Store it: ALTER DATABASE %s SET %s = '%s'; then RESET %s in this session.",
                          database_identifier(), setting, example, setting)));
  pg_unreachable();
}

// Which unfinished calls this one gives way to. A policy for a path without a query covers the path with any query.
const char* exclusive_of(const EndpointRow* policy, const CronCaller* caller) {
  switch (policy->overlap) {
    case Overlap::kAllow:
      return nullptr;
    case Overlap::kSkip:
    case Overlap::kQueue:
      return strchr(policy->endpoint_path, '?') == nullptr ? kExclusiveRoute : kExclusivePath;
    case Overlap::kDefault:
      break;
  }
  return caller->by_job ? kExclusivePath : nullptr;
}

struct InTheWay {
  int64 call;      // 0: none is seen
  bool may_queue;  // the new call waits until that one has ended
};

// The policy of the path lets one call wait.
InTheWay in_the_way(const OverlapQuery* query, int64 overlapping, Overlap overlap) {
  if (overlapping == 0 || overlap != Overlap::kQueue) return {overlapping, false};
  int64 waits = find_call_that_waits(query, overlapping);
  return waits == 0 ? InTheWay{overlapping, true} : InTheWay{waits, false};
}

// An unfinished call that the new one gives way to.
InTheWay find_call_in_the_way(const NewInvocation* row, Oid role_oid, Overlap overlap) {
  OverlapQuery query;
  memset(&query, 0, sizeof(query));
  query.path = row->endpoint_path;
  query.exclusive = row->exclusive;
  query.role = GetUserNameFromId(role_oid, false);
  query.key = row->key;
  int64 overlapping = find_overlapping_call(&query);
  // Its answer may be there without being recorded yet.
  if (overlapping != 0 && record_pg_net_answer(overlapping)) overlapping = find_overlapping_call(&query);
  return in_the_way(&query, overlapping, overlap);
}

int64 skip_for_overlap(NewInvocation* row, const CronCaller* caller, int64 overlapping) {
  row->status = "skipped";
  row->reason = "overlap";
  row->error = overlap_error(row->endpoint_path, overlapping);
  row->hint = overlap_hint(row->endpoint_path);
  int64 id = insert_invocation(row, nullptr);
  if (!caller->by_job)
    ereport(NOTICE, (errmsg("the call is skipped: call " INT64_FORMAT " of %s has not ended yet", overlapping,
                            quote_literal_cstr(row->endpoint_path)),
                     errhint("SELECT wee5_cron.wait_for(" INT64_FORMAT ");", overlapping)));
  return id;
}

void send_by_pg_net(const CallRequest* request, const CallAddress* address, NewInvocation* row,
                    const HeaderList* custom) {
  char idempotency_key[kUuidTextBytes];
  row->url = from_utf8(address->url);
  row->id = insert_invocation(row, idempotency_key);
  PgNetCall call;
  memset(&call, 0, sizeof(call));
  call.id = row->id;
  call.attempt = 1;
  call.idempotency_key = idempotency_key;
  call.job_name = row->job_name != nullptr ? to_utf8_lossy(pstrdup(row->job_name)) : nullptr;
  call.scheduled_at = row->has_scheduled_at ? rfc3339(row->scheduled_at) : nullptr;
  call.url = address->url;
  call.secret = address->secret;
  call.headers = address->headers;
  call.method = request->method;
  call.body = request->body;
  call.custom = custom;
  call.timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : guc_request_timeout;
  hand_to_pg_net(&call);
}

// Until its time has come, no other call gives way to this one, and nobody knows which one this one will give way to.
int64 queue_for_later(NewInvocation* row) {
  row->has_next_attempt_at = true;
  row->next_attempt_at = row->due_at;
  return insert_invocation(row, nullptr);
}

// Whoever records the end of the call in the way makes this one due. That may have happened meanwhile, so the worker
// looks.
int64 queue_behind(NewInvocation* row) {
  row->has_next_attempt_at = true;
  row->next_attempt_at = DT_NOEND;
  int64 id = insert_invocation(row, nullptr);
  wake_worker_at_commit();
  return id;
}

// Runs a statement of one row about the key of a call, and returns its first column. $1: the role that makes the call;
// $2: its key; $3: `id`
Datum run_about_key(SPIPlanPtr* plan, const char* statement, const NewInvocation* row, int64 id) {
  Oid types[3] = {NAMEOID, TEXTOID, INT8OID};
  NameData role;
  namestrcpy(&role, GetUserNameFromId(GetSessionUserId(), false));
  Datum values[3] = {NameGetDatum(&role), CStringGetTextDatum(row->key), Int64GetDatum(id)};
  bool is_null = true;
  SPI_connect();
  select_row(kept_plan(plan, statement, 3, types), values, nullptr);
  Datum result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  SPI_finish();
  return result;
}

SPIPlanPtr lock_key_plan = nullptr;

// The lock first: then every call of the key that was handed over under it is visible.
bool lock_key(const NewInvocation* row) {
  return DatumGetBool(run_about_key(&lock_key_plan, "SELECT wee5_cron.lock_key($1, $2)", row, 0));
}

// Whether harvest() is to decide about the key and the limit of a call on pg_net. Another transaction may be handing
// one over. And a transaction that keeps its snapshot does not see what others have handed over since.
bool is_undecided(const NewInvocation* row, bool limited) {
  if (row->key == nullptr && !limited) return false;
  if (IsolationUsesXactSnapshot()) return true;
  return row->key != nullptr && !lock_key(row);
}

// Decides whether the call waits for its time, is skipped, handed to pg_net or left to the worker, and writes its row.
int64 queue_call(const CallRequest* request, const CronCaller* caller, const CallAddress* address,
                 const HeaderList* headers, Oid role, NewInvocation* row) {
  bool on_pg_net = strcmp(row->transport, "pg_net") == 0;
  row->exclusive = exclusive_of(&request->policy, caller);
  if (row->has_due_at && row->due_at > GetCurrentTimestamp()) return queue_for_later(row);
  // The lock first: then everything that was queued under it is visible. While another transaction holds it, nobody
  // knows whether its call will exist. So harvest() decides; on builtin the worker does.
  bool limited = request->policy.max_in_flight > 0;
  bool undecided = on_pg_net && is_undecided(row, limited);
  if (row->exclusive != nullptr && on_pg_net && !lock_path(row->endpoint_path)) undecided = true;
  InTheWay found = {0, false};
  if (row->exclusive != nullptr) found = find_call_in_the_way(row, role, request->policy.overlap);
  if (found.may_queue) return queue_behind(row);
  if (found.call != 0) return skip_for_overlap(row, caller, found.call);
  undecided = undecided || (on_pg_net && limited && !may_hand_over(row->endpoint_path));
  if (on_pg_net && !undecided) {
    send_by_pg_net(request, address, row, headers);
    return row->id;
  }
  row->has_next_attempt_at = undecided;
  row->next_attempt_at = GetCurrentTimestamp();
  int64 id = insert_invocation(row, nullptr);
  if (undecided) wake_worker_at_commit();
  return id;
}

SPIPlanPtr replace_plan = nullptr;

// Other calls of the key that wait, for their time or for a retry, give way to the new one.
void replace_calls_of_key(const NewInvocation* row, int64 id) {
  run_about_key(&replace_plan, "SELECT wee5_cron.replace_calls($3, $1, $2)", row, id);
}

}  // namespace

int64 make_call(CallRequest* request) {
  require_armed();
  apply_policy(request);
  HeaderList headers;
  check_request(request, &headers);
  Transport transport = choose_transport(request->method, request->body != 0);
  Oid role = OidIsValid(request->role) ? request->role : GetSessionUserId();
  check_right_to_target(request, role);
  CallAddress address;
  find_address_of_session(role, request->path, transport == kTransportPgNet, &address);
  CronCaller caller;
  identify(request, &caller, &headers);
  NewInvocation row;
  fill_row(request, &caller, &headers, transport, role, &row);
  if (address.missing != nullptr) return skip_without_settings(&row, &address);
  // The worker does not see what a session has set.
  if (address.session_only != nullptr && transport == kTransportBuiltin) refuse_session_only(address.session_only);
  int64 id = queue_call(request, &caller, &address, &headers, role, &row);
  if (row.key != nullptr && strcmp(row.status, "queued") == 0) replace_calls_of_key(&row, id);
  if (caller.by_job && caller.pg_cron_here) insert_cron_caller(id, MyProcPid);
  announce_call_at_commit(id);
  return id;
}

}  // namespace wee5::pg
