// The functions that make calls: invoke_cron_endpoint(), invoke(), retry(), and the one behind run_now() and catching
// up.

#include "wee5_cron/core/request/targets.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/call/make_call.h"
#include "wee5_cron/pg/call/request_checks.h"
#include "wee5_cron/pg/ledger/stored_call.h"

namespace wee5::pg {

namespace {

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

namespace {

// The arguments that invoke() of version 0.1.0 has not got.
enum NewArgument { kTarget = 5, kAt, kKey };

bool is_given(FunctionCallInfo fcinfo, NewArgument argument) {
  return PG_NARGS() > argument && !PG_ARGISNULL(argument);
}

// invoke('/path', target => 'name') is short for invoke('name:/path').
void put_target_before_path(FunctionCallInfo fcinfo, CallRequest* request) {
  if (!is_given(fcinfo, kTarget)) return;
  const char* target = to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(kTarget)));
  CppFailure failure;
  if (!run_cpp(&failure, [target] { core::check_target_name(target); })) raise(&failure);
  request->path = psprintf("%s:%s", target, request->path);
}

void read_due_at(FunctionCallInfo fcinfo, CallRequest* request) {
  request->has_due_at = is_given(fcinfo, kAt);
  if (request->has_due_at) request->due_at = due_time(PG_GETARG_TIMESTAMPTZ(kAt));
}

void read_key(FunctionCallInfo fcinfo, CallRequest* request) {
  if (!is_given(fcinfo, kKey)) return;
  request->key = text_to_cstring(PG_GETARG_TEXT_PP(kKey));
  check_key(request->key);
}

}  // namespace

// wee5_cron.invoke(endpoint_path text, method text, body jsonb, headers jsonb, timeout interval, target text,
//                  at timestamptz, key text) -> bigint
WEE5_SQL_FUNCTION(wee5_cron_invoke) {
  CallRequest request;
  memset(&request, 0, sizeof(request));
  request.path = to_utf8(required_text(fcinfo, 0, "endpoint_path"));
  put_target_before_path(fcinfo, &request);
  request.method = PG_ARGISNULL(1) ? nullptr : to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(1)));
  request.body = PG_ARGISNULL(2) ? 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(2));
  request.headers = PG_ARGISNULL(3) ? nullptr : PG_GETARG_JSONB_P(3);
  request.timeout = PG_ARGISNULL(4) ? nullptr : PG_GETARG_INTERVAL_P(4);
  read_due_at(fcinfo, &request);
  read_key(fcinfo, &request);
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
                   "); or cancel it: SELECT wee5_cron.cancel(" INT64_FORMAT ");",
                   id, id)));
  pg_unreachable();
}

// The request of a call that has ended, as it was.
void read_request(int64 id, CallRequest* request) {
  StoredCall call;
  if (!read_stored_call(id, &call)) raise_unknown(id);
  if (!call.finished) raise_unfinished(id);
  request->path = to_utf8(call.endpoint_path);
  request->method = call.method;
  request->body = call.body;
  request->headers = call.headers;
  request->timeout = call.timeout;
  request->job_name = call.job_name;
  request->has_scheduled_at = call.has_scheduled_at;
  request->scheduled_at = call.scheduled_at;
  request->idempotency_key = call.idempotency_key;
  request->as_it_was = true;
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
