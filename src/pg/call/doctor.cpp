// What doctor() cannot know from SQL: which settings count for a role, which transport would carry a call, what a host
// name resolves to, and where the server runs.

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "wee5_cron/core/request/host_rules.hpp"
#include "wee5_cron/core/request/version.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"
#include "wee5_cron/delivery/address/url.hpp"
#include "wee5_cron/delivery/network/name_lookup.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/transport.h"

namespace wee5::pg {

namespace {

Datum text_datum(const char* utf8, bool* is_null) {
  *is_null = utf8 == nullptr;
  return *is_null ? 0 : CStringGetTextDatum(from_utf8(utf8));
}

// Owns the lookup while Postgres code runs, so that an ERROR in between ends it too.
void forget_lookup(void* lookup) { delete static_cast<delivery::NameLookup*>(lookup); }

constexpr int kStepMs = 50;

// Texts are UTF-8; NULL: none.
struct ResolvedHost {
  TextBuffer texts;
  const char* address;
  const char* error;
};

// Starts a lookup that *cleanup deletes. Returns false if this libcurl could not abandon it.
bool begin_lookup(const char* host, MemoryContextCallback* cleanup) {
  bool possible = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        possible = delivery::NameLookup::possible();
        if (possible) cleanup->arg = new delivery::NameLookup(host);
      }))
    raise(&failure);
  return possible;
}

// Waits for a moment. Returns true when the lookup has ended.
bool step_lookup(delivery::NameLookup* lookup, ResolvedHost* resolved) {
  bool ended = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        ended = lookup->step(kStepMs);
        if (!ended) return;
        if (!lookup->address().empty()) resolved->address = resolved->texts.put(lookup->address());
        if (!lookup->error().empty()) resolved->error = resolved->texts.put(lookup->error());
      }))
    raise(&failure);
  return ended;
}

}  // namespace

// wee5_cron.api_url_parts(api_url text, OUT url text, OUT scheme text, OUT host text, OUT rest text,
//                         OUT private_host boolean, OUT loopback_host boolean); `rest`: from behind "scheme://".
// 55000 if the text is not an address; plain http is allowed.
WEE5_SQL_FUNCTION(wee5_cron_api_url_parts) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  const char* given = to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  TextBuffer texts = make_text_buffer(1024 + 16 * strlen(given));  // percent-encoded, and its parts
  const char* parts[4] = {};
  bool private_host = false;
  bool loopback_host = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const delivery::ApiUrl url = delivery::parse_api_url(given, "on");
        parts[0] = texts.put(url.text);
        parts[1] = texts.put(url.scheme);
        parts[2] = texts.put(url.host);
        parts[3] = texts.put(std::string_view(url.text).substr(url.scheme.size() + 3));
        private_host = core::is_private_host(url.host);
        loopback_host = core::is_loopback_host(url.host);
      }))
    raise(&failure);

  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.api_url_parts must return a row");
  Datum values[6];
  bool nulls[6] = {};
  for (int i = 0; i < 4; ++i) values[i] = text_datum(parts[i], &nulls[i]);
  values[4] = BoolGetDatum(private_host);
  values[5] = BoolGetDatum(loopback_host);
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

// wee5_cron.plain_http_allowed(host text) -> boolean: as the worker of this database has it. Version 0.1.0 of the SQL
// names no host, and asks whether any may be.
WEE5_SQL_FUNCTION(wee5_cron_plain_http_allowed) {
  const char* host = PG_NARGS() > 0 && !PG_ARGISNULL(0) ? to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(0))) : "";
  WorkerSettings settings;
  settings_of_process(&settings);
  apply_stored_worker_settings(&settings);
  bool allowed = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { allowed = core::plain_http_allowed(settings.allow_plain_http, host); })) raise(&failure);
  PG_RETURN_BOOL(allowed);
}

// wee5_cron.proxy_shown() -> text: as the worker of this database has it, without user and password; 55000 where nobody
// can read it
WEE5_SQL_FUNCTION(wee5_cron_proxy_shown) {
  (void)fcinfo;
  WorkerSettings settings;
  settings_of_process(&settings);
  apply_stored_worker_settings(&settings);
  TextBuffer texts = make_text_buffer(sizeof(settings.proxy) + 64);
  const char* shown = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const delivery::Proxy proxy = delivery::parse_proxy(settings.proxy);
        if (proxy.is_set()) shown = texts.put(proxy.shown());
      })) {
    failure.sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    raise(&failure);
  }
  if (shown == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(from_utf8(shown)));
}

// wee5_cron.transport_of_a_get() -> text: what would carry a call of this session; raises what the call would raise
WEE5_SQL_FUNCTION(wee5_cron_transport_of_a_get) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(cstring_to_text(choose_transport("GET", false) == kTransportPgNet ? "pg_net" : "builtin"));
}

// wee5_cron.pg_net_worker_lives() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_pg_net_worker_lives) {
  (void)fcinfo;
  PgNetInfo pg_net;
  find_pg_net(&pg_net);
  PG_RETURN_BOOL(pg_net.worker_lives);
}

// wee5_cron.library_version() -> text
WEE5_SQL_FUNCTION(wee5_cron_library_version) {
  (void)fcinfo;
  PG_RETURN_TEXT_P(cstring_to_text(core::kVersion));
}

// wee5_cron.inside_container() -> text: what says so, NULL where nothing does
WEE5_SQL_FUNCTION(wee5_cron_inside_container) {
  (void)fcinfo;
  // Docker, Podman; Kubernetes; systemd-nspawn and LXC, and Podman once more (systemd.io/CONTAINER_INTERFACE).
  for (const char* file : {"/.dockerenv", "/run/.containerenv"})
    if (access(file, F_OK) == 0) PG_RETURN_TEXT_P(cstring_to_text(file));
  for (const char* variable : {"KUBERNETES_SERVICE_HOST", "container"})
    if (getenv(variable) != nullptr) PG_RETURN_TEXT_P(cstring_to_text(psprintf("environment variable %s", variable)));
  PG_RETURN_NULL();
}

// wee5_cron.resolve_host(host text, patience_ms int, OUT address text, OUT error text)
WEE5_SQL_FUNCTION(wee5_cron_resolve_host) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) PG_RETURN_NULL();
  const char* host = to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(1));
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.resolve_host must return a row");

  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wee5_cron name lookup", ALLOCSET_SMALL_SIZES);
  MemoryContextCallback* cleanup =
      static_cast<MemoryContextCallback*>(MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
  cleanup->func = forget_lookup;
  MemoryContextRegisterResetCallback(context, cleanup);

  ResolvedHost resolved = {make_text_buffer(4096), nullptr, nullptr};
  bool ended = !begin_lookup(host, cleanup);
  if (ended) resolved.error = "not looked up: this needs libcurl 7.87 or newer with a threaded resolver";
  while (!ended && resolved.error == nullptr) {
    CHECK_FOR_INTERRUPTS();
    if (GetCurrentTimestamp() >= deadline) resolved.error = psprintf("no answer within %d ms", PG_GETARG_INT32(1));
    ended = step_lookup(static_cast<delivery::NameLookup*>(cleanup->arg), &resolved);
  }
  MemoryContextDelete(context);

  Datum values[2];
  bool nulls[2];
  values[0] = text_datum(resolved.address, &nulls[0]);
  values[1] = text_datum(resolved.address != nullptr ? nullptr : resolved.error, &nulls[1]);
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

// wee5_cron.worker_sees_pg_cron() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_worker_sees_pg_cron) {
  (void)fcinfo;
  PG_RETURN_BOOL(registry_sees_pg_cron());
}

}  // namespace wee5::pg
