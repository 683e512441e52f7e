// Handing an attempt to pg_net: when the call is made, and again when its policy says so.

#include "wee5_cron/pg/call/pg_net_handover.h"

#include <string>
#include <vector>

#include "wee5_cron/core/request_headers.hpp"
#include "wee5_cron/core/settings.hpp"
#include "wee5_cron/delivery/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/call/endpoint.h"
#include "wee5_cron/pg/ledger/ledger.h"
#include "wee5_cron/pg/ledger/ledger_table.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/transport.h"

namespace wee5::pg {

namespace {

constexpr int kOwnHeaders = 16;  // at most so many of ours

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
  out->count = 0;
  for (const core::Header& header : core::request_headers(call->secret, identity, custom)) {
    out->names[out->count] = texts->put(header.name);
    out->values[out->count] = texts->put(header.value);
    ++out->count;
  }
}

}  // namespace

void hand_to_pg_net(const PgNetCall* call) {
  Size text_size = strlen(call->secret) + 4096;
  for (int i = 0; i < call->custom->count; ++i)
    text_size += strlen(call->custom->names[i]) + strlen(call->custom->values[i]) + 2;
  if (call->job_name != nullptr) text_size += 3 * strlen(call->job_name);
  TextBuffer texts = make_text_buffer(text_size);
  PgNetRequest request;
  memset(&request, 0, sizeof(request));
  Size room = sizeof(char*) * static_cast<Size>(call->custom->count + kOwnHeaders);
  request.headers.names = static_cast<char**>(palloc(room));
  request.headers.values = static_cast<char**>(palloc(room));
  CppFailure failure;
  if (!run_cpp(&failure, [&] { write_headers(call, &request.headers, &texts); })) raise(&failure);
  request.method = call->method;
  request.url = call->url;
  request.body = call->body;
  request.timeout_ms = call->timeout_ms;
  insert_pg_net_request(call->id, enqueue_with_pg_net(&request));
}

namespace {

// A call of the ledger that is to be handed over again.
struct StoredCall {
  PgNetCall call;
  HeaderList custom;
  char* endpoint_path;  // UTF-8
  char* requested_by;
};

SPIPlanPtr read_plan = nullptr;
SPIPlanPtr handed_over_plan = nullptr;

// $1 id
constexpr const char* kRead =
    "SELECT endpoint_path, method, body, headers, timeout, requested_by, job_name, scheduled_at, idempotency_key::text,"
    "       attempts"
    " FROM wee5_cron.invocation WHERE id = $1 AND finished_at IS NULL AND transport = 'pg_net'";

// $1 id, $2 url
constexpr const char* kHandedOver = "UPDATE wee5_cron.invocation SET next_attempt_at = NULL, url = $2 WHERE id = $1";

bool read_call(int64 id, StoredCall* stored) {
  Oid types[1] = {INT8OID};
  Datum values[1] = {Int64GetDatum(id)};
  MemoryContext context = CurrentMemoryContext;
  require_ledger_columns();
  SPI_connect();
  int result = SPI_execute_plan(kept_plan(&read_plan, kRead, 1, types), values, nullptr, false, 1);
  bool found = result == SPI_OK_SELECT && SPI_processed == 1;
  if (found) {
    HeapTuple tuple = SPI_tuptable->vals[0];
    TupleDesc descriptor = SPI_tuptable->tupdesc;
    MemoryContext old = MemoryContextSwitchTo(context);
    bool is_null;
    PgNetCall* call = &stored->call;
    call->id = id;
    stored->endpoint_path = to_utf8_lossy(SPI_getvalue(tuple, descriptor, 1));
    call->method = SPI_getvalue(tuple, descriptor, 2);
    Datum body = SPI_getbinval(tuple, descriptor, 3, &is_null);
    if (!is_null) call->body = JsonbPGetDatum(DatumGetJsonbPCopy(body));
    Datum headers = SPI_getbinval(tuple, descriptor, 4, &is_null);
    headers_from_jsonb(is_null ? nullptr : DatumGetJsonbPCopy(headers), &stored->custom);
    call->custom = &stored->custom;
    Datum timeout = SPI_getbinval(tuple, descriptor, 5, &is_null);
    int64 ms = is_null ? -1 : interval_milliseconds(DatumGetIntervalP(timeout));
    call->timeout_ms = ms > 0 ? static_cast<int>(Min(ms, PG_INT32_MAX)) : guc_request_timeout;
    stored->requested_by = SPI_getvalue(tuple, descriptor, 6);
    const char* job_name = SPI_getvalue(tuple, descriptor, 7);
    call->job_name = job_name != nullptr ? to_utf8_lossy(pstrdup(job_name)) : nullptr;
    Datum scheduled_at = SPI_getbinval(tuple, descriptor, 8, &is_null);
    call->scheduled_at = is_null ? nullptr : rfc3339(DatumGetTimestampTz(scheduled_at));
    call->idempotency_key = SPI_getvalue(tuple, descriptor, 9);
    call->attempt = DatumGetInt32(SPI_getbinval(tuple, descriptor, 10, &is_null)) + 1;
    MemoryContextSwitchTo(old);
  }
  SPI_finish();
  return found;
}

// Where the call goes now, and with which secret: as the settings of its role are at this moment.
void resolve(StoredCall* stored) {
  Oid role = get_role_oid(stored->requested_by, true);
  StoredSettings settings;
  VaultValues vault;
  read_stored_settings(role, &settings);
  memset(&vault, 0, sizeof(vault));
  complete_from_vault(role, nullptr, &settings, &vault);
  const char* api_url = command_line_api_url();
  const char* secret = command_line_cron_secret();
  // Path and prefix percent-encoded, the secret.
  Size bytes = 3 * strlen(stored->endpoint_path) + 1024;
  const StoredValue* values[2] = {&settings.api_url, &settings.cron_secret};
  const char* others[4] = {api_url, secret, vault.api_url, vault.cron_secret};
  for (const StoredValue* value : values)
    for (const char* text : {value->role_in_database, value->role, value->database, value->all})
      bytes += text != nullptr ? 3 * strlen(text) : 0;
  for (const char* text : others) bytes += text != nullptr ? 3 * strlen(text) : 0;
  TextBuffer texts = make_text_buffer(bytes);
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Setting url = core::choose_setting(candidates_of(settings.api_url, api_url, vault, vault.api_url));
        core::Setting bearer =
            core::choose_setting(candidates_of(settings.cron_secret, secret, vault, vault.cron_secret));
        if (url.value.empty()) throw core::missing_setting("app.settings.api_url", url);
        if (bearer.value.empty()) throw core::missing_setting("app.settings.cron_secret", bearer);
        core::check_secret(bearer.value);
        delivery::ApiUrl base = delivery::parse_api_url(url.value, guc_allow_plain_http);
        stored->call.url = texts.put(delivery::join_url(base, stored->endpoint_path));
        stored->call.secret = texts.put(bearer.value);
      }))
    raise(&failure);
}

}  // namespace

// wee5_cron.send_by_pg_net(call_id bigint) -> boolean: false where there is no such call that has not ended
WEE5_SQL_FUNCTION(wee5_cron_send_by_pg_net) {
  if (PG_ARGISNULL(0)) PG_RETURN_BOOL(false);
  StoredCall stored;
  memset(&stored, 0, sizeof(stored));
  if (!read_call(PG_GETARG_INT64(0), &stored)) PG_RETURN_BOOL(false);
  resolve(&stored);
  hand_to_pg_net(&stored.call);
  Oid types[2] = {INT8OID, TEXTOID};
  Datum values[2] = {Int64GetDatum(stored.call.id), CStringGetTextDatum(from_utf8(stored.call.url))};
  SPI_connect();
  SPI_execute_plan(kept_plan(&handed_over_plan, kHandedOver, 2, types), values, nullptr, false, 0);
  SPI_finish();
  PG_RETURN_BOOL(true);
}

}  // namespace wee5::pg
