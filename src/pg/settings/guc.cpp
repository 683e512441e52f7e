#include "wee5_cron/pg/settings/guc.h"

#include <string>

#include "wee5_cron/core/request/host_rules.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

int guc_transport = kTransportAuto;
int guc_missing_config = kMissingConfigError;
int guc_trace = static_cast<int>(core::Trace::kOn);
int guc_request_timeout = 60'000;
int guc_connect_timeout = 5'000;
int guc_max_in_flight = 256;
int guc_max_response_bytes = 8'192;
int guc_keep_succeeded = 7 * 24 * 60;
int guc_keep_failed = 30 * 24 * 60;
int guc_max_request_bytes = 1024 * 1024;
char* guc_ca_file = nullptr;
char* guc_alert_url = nullptr;
int guc_alert_repeat = 0;
char* guc_proxy = nullptr;
char* guc_allow_plain_http = nullptr;
bool guc_default_jobs = true;
bool guc_enabled = true;

namespace {

bool preloaded = false;
bool protect_secret = true;

// Where a value came from, and whether the role that set it may decide where the secret goes.
struct Origin {
  GucSource source;
  bool by_right;
};
// A string setting with the origin of its current value. guc.c does not tell the source of a value, except to the check
// hook. The hook leaves it in `extra`, which the assign hook gets, also when a rollback restores an older value.
struct SourcedSetting {
  char* value;
  Origin origin;
};
SourcedSetting api_url = {nullptr, {PGC_S_DEFAULT, true}};
SourcedSetting cron_secret = {nullptr, {PGC_S_DEFAULT, true}};
constexpr const char* kVaultApiUrl = "api_url";
constexpr const char* kVaultCronSecret = "cron_secret";
SourcedSetting previous_secret = {nullptr, {PGC_S_DEFAULT, true}};
SourcedSetting cron_targets = {nullptr, {PGC_S_DEFAULT, true}};
SourcedSetting vault_api_url = {nullptr, {PGC_S_DEFAULT, true}};
SourcedSetting vault_cron_secret = {nullptr, {PGC_S_DEFAULT, true}};

bool remember_origin(void** extra, GucSource source, bool by_right) {
  Origin* kept = static_cast<Origin*>(guc_extra_alloc(sizeof(Origin)));
  if (kept == nullptr) return false;
  *kept = {source, by_right};
  *extra = kept;
  return true;
}

bool remember_source(char** newval, void** extra, GucSource source) {
  (void)newval;
  return remember_origin(extra, source, true);
}

// Whether a value may decide where the secret goes. A value from an earlier source than the client was set by the
// administrator.
bool has_right(const char* name, GucSource source) {
  return source < PGC_S_CLIENT || (IsTransactionState() && may_set_parameter(name, GetUserId()));
}
bool remember_who_set_api_url(char** newval, void** extra, GucSource source) {
  (void)newval;
  return remember_origin(extra, source, has_right(kApiUrlSetting, source));
}
bool remember_who_set_cron_secret(char** newval, void** extra, GucSource source) {
  (void)newval;
  return remember_origin(extra, source, has_right(kCronSecretSetting, source));
}
bool remember_who_set_cron_targets(char** newval, void** extra, GucSource source) {
  (void)newval;
  return remember_origin(extra, source, has_right(kTargetsSetting, source));
}

void assign_source(SourcedSetting* setting, const void* extra) {
  setting->origin = extra != nullptr ? *static_cast<const Origin*>(extra) : Origin{PGC_S_DEFAULT, true};
}
void assign_api_url(const char* newval, void* extra) {
  (void)newval;
  assign_source(&api_url, extra);
}
void assign_cron_secret(const char* newval, void* extra) {
  (void)newval;
  assign_source(&cron_secret, extra);
}
void assign_cron_targets(const char* newval, void* extra) {
  (void)newval;
  assign_source(&cron_targets, extra);
}

void assign_vault_api_url(const char* newval, void* extra) {
  (void)newval;
  assign_source(&vault_api_url, extra);
}
void assign_vault_cron_secret(const char* newval, void* extra) {
  (void)newval;
  assign_source(&vault_cron_secret, extra);
}

const char* explicit_value(const SourcedSetting* setting) {
  return setting->origin.source >= PGC_S_CLIENT && setting->origin.by_right ? setting->value : nullptr;
}
const char* command_line_value(const SourcedSetting* setting) {
  GucSource source = setting->origin.source;
  return source == PGC_S_ARGV || source == PGC_S_ENV_VAR ? setting->value : nullptr;
}

// A value that ALTER DATABASE or ALTER ROLE stored does not count: the session's copy of it may be stale.
const char* server_value(const SourcedSetting* setting, const char* fallback) {
  return setting->origin.source < PGC_S_GLOBAL ? setting->value : fallback;
}

const config_enum_entry transport_options[] = {{"auto", kTransportAuto, false},
                                               {"pg_net", kTransportPgNet, false},
                                               {"builtin", kTransportBuiltin, false},
                                               {nullptr, 0, false}};
const config_enum_entry missing_config_options[] = {
    {"error", kMissingConfigError, false}, {"skip", kMissingConfigSkip, false}, {nullptr, 0, false}};
// Also accepts the words of a boolean setting.
const config_enum_entry trace_options[] = {{"on", static_cast<int>(core::Trace::kOn), false},
                                           {"unsampled", static_cast<int>(core::Trace::kUnsampled), false},
                                           {"off", static_cast<int>(core::Trace::kOff), false},
                                           {"true", static_cast<int>(core::Trace::kOn), true},
                                           {"false", static_cast<int>(core::Trace::kOff), true},
                                           {"yes", static_cast<int>(core::Trace::kOn), true},
                                           {"no", static_cast<int>(core::Trace::kOff), true},
                                           {"1", static_cast<int>(core::Trace::kOn), true},
                                           {"0", static_cast<int>(core::Trace::kOff), true},
                                           {nullptr, 0, false}};

// app.settings.*: SET and ALTER DATABASE accept a name with two dots, but Postgres cannot parse a configuration file
// that holds one, and the server would not start again. GUC_DISALLOW_IN_FILE makes ALTER SYSTEM refuse these names. Do
// not reserve the prefix "app": that would delete the app.* settings of every application.
//
// If the secret is protected, only roles that may decide where it goes can SET these. If it is not, every role can,
// because other programs do (PostgREST at each request), but wee5_cron ignores the value of a role without that right.
void define_app_setting(const char* name, const char* description, SourcedSetting* setting, int flags,
                        GucStringCheckHook check, GucStringAssignHook assign) {
  const char* known = GetConfigOption(name, true, false);
  if (known != nullptr && (GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) == 0) {
    // Another library defines the setting, as hosting providers' do. wee5_cron still reads stored values from the
    // catalog.
    ereport(LOG, (errmsg("wee5_cron: the setting %s is defined by another library", name),
                  errdetail("wee5_cron does not see a value that a session sets itself.")));
    return;
  }
  DefineCustomStringVariable(name, description, nullptr, &setting->value, nullptr,
                             app_settings_are_open() ? PGC_USERSET : PGC_SUSET,
                             flags | GUC_DISALLOW_IN_FILE | GUC_NOT_IN_SAMPLE, check, assign, nullptr);
}

void define_vault_names() {
  DefineCustomStringVariable(kVaultApiUrlSetting, "Name of the secret in Supabase Vault that holds the api_url.",
                             "Read where app.settings.api_url is not set.", &vault_api_url.value, kVaultApiUrl,
                             PGC_SUSET, 0, remember_source, assign_vault_api_url, nullptr);
  DefineCustomStringVariable(kVaultCronSecretSetting,
                             "Name of the secret in Supabase Vault that holds the bearer secret.",
                             "Read where app.settings.cron_secret is not set.", &vault_cron_secret.value,
                             kVaultCronSecret, PGC_SUSET, 0, remember_source, assign_vault_cron_secret, nullptr);
}

void define_timeouts() {
  DefineCustomIntVariable("wee5_cron.request_timeout", "How long one attempt may take, connection included.", nullptr,
                          &guc_request_timeout, 60'000, kTimeoutBounds.least, kTimeoutBounds.most, PGC_SUSET,
                          GUC_UNIT_MS, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("wee5_cron.connect_timeout", "How long the connection to the app may take: DNS, TCP and TLS.",
                          nullptr, &guc_connect_timeout, 5'000, kTimeoutBounds.least, kTimeoutBounds.most, PGC_SUSET,
                          GUC_UNIT_MS, nullptr, nullptr, nullptr);
}

// Refuses the value of a setting that is a secret. Postgres's own message would quote the value.
bool refuse_secret_value(const char* setting, const char* detail, const char* hint) {
  GUC_check_errmsg("invalid value for parameter \"%s\"", setting);
  GUC_check_errdetail("%s", detail);
  if (hint[0] != '\0') GUC_check_errhint("%s", hint);
  return false;
}

// Whoever knows the URL of a webhook can post to it. The check allows plain http to every host:
// wee5_cron.allow_plain_http may be read after this setting, so it is applied when an alert is sent.
bool check_alert_url(char** newval, void** extra, GucSource source) {
  (void)extra;
  (void)source;
  if (is_blank(*newval)) return true;
  if (strlen(*newval) >= sizeof(WorkerSettings::alert_url))
    return refuse_secret_value(kAlertUrlSetting, "It is too long.", "");
  CppFailure failure;
  if (run_cpp(&failure, [newval] { delivery::parse_webhook(*newval, "on"); })) return true;
  return refuse_secret_value(kAlertUrlSetting, failure.message, failure.hint);
}

// The URL of a proxy may hold a password.
bool check_proxy(char** newval, void** extra, GucSource source) {
  (void)extra;
  (void)source;
  if (strlen(*newval) >= sizeof(WorkerSettings::proxy))
    return refuse_secret_value(kProxySetting, "It is too long.", "");
  CppFailure failure;
  if (run_cpp(&failure, [newval] { delivery::parse_proxy(*newval); })) return true;
  return refuse_secret_value(kProxySetting, failure.message, failure.hint);
}

// Replaces the value by the form that SHOW displays.
bool check_plain_http(char** newval, void** extra, GucSource source) {
  (void)extra;
  (void)source;
  Size room = 2 * strlen(*newval) + 4;  // SHOW displays a blank behind each comma
  char* shown = static_cast<char*>(guc_extra_alloc(room));
  if (shown == nullptr) return false;
  CppFailure failure;
  bool good = run_cpp(&failure, [newval, shown, room] {
    const std::string rule = core::read_plain_http_rule(*newval);
    strlcpy(shown, rule.c_str(), room);
  });
  if (good && strlen(shown) < sizeof(WorkerSettings::allow_plain_http)) {
    guc_extra_free(*newval);
    *newval = shown;
    return true;
  }
  guc_extra_free(shown);
  if (good) {
    GUC_check_errdetail("It is too long.");
    return false;
  }
  GUC_check_errdetail("%s", failure.message);
  GUC_check_errhint("%s", failure.hint);
  return false;
}

void define_alerts() {
  DefineCustomStringVariable(kAlertUrlSetting, "Webhook to which alerts are posted, as JSON.",
                             "Without it, alerts are only sent by NOTIFY wee5_cron.", &guc_alert_url, "", PGC_SUSET,
                             GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL, check_alert_url, nullptr, nullptr);
  DefineCustomIntVariable("wee5_cron.alert_repeat", "After how long an alert is sent again while its cause lasts.",
                          "0: never.", &guc_alert_repeat, 0, kAlertRepeatBounds.least, kAlertRepeatBounds.most,
                          PGC_SUSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
}

void define_proxy() {
  DefineCustomStringVariable(
      kProxySetting, "HTTP proxy through which calls go, by CONNECT.",
      "As in http://user:password@proxy.example.com:3128. A proxy in the environment is ignored.", &guc_proxy, "",
      PGC_SUSET, GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL, check_proxy, nullptr, nullptr);
}

// Minutes: 30 days do not fit into milliseconds.
void define_retention() {
  DefineCustomIntVariable("wee5_cron.keep_succeeded", "How long calls that succeeded stay in the ledger.",
                          "-1: for ever. The newest run and the newest success of each job stay.", &guc_keep_succeeded,
                          7 * 24 * 60, kKeepBounds.least, kKeepBounds.most, PGC_SUSET, GUC_UNIT_MIN, nullptr, nullptr,
                          nullptr);
  DefineCustomIntVariable("wee5_cron.keep_failed", "How long all other calls that have ended stay in the ledger.",
                          "-1: for ever. The newest run and the newest success of each job stay; those of other "
                          "paths stay ten times as long.",
                          &guc_keep_failed, 30 * 24 * 60, kKeepBounds.least, kKeepBounds.most, PGC_SUSET, GUC_UNIT_MIN,
                          nullptr, nullptr, nullptr);
}

void define_delivery_settings() {
  DefineCustomEnumVariable("wee5_cron.transport", "What carries the calls.",
                           "auto: pg_net where it is installed in this database and its worker lives, else builtin.",
                           &guc_transport, kTransportAuto, transport_options, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("wee5_cron.missing_config", "What a call without api_url or secret does.",
                           "error: raise, so that pg_cron shows the run as failed. skip: leave a skipped row.",
                           &guc_missing_config, kMissingConfigError, missing_config_options, PGC_SUSET, 0, nullptr,
                           nullptr, nullptr);
  define_timeouts();
  DefineCustomIntVariable("wee5_cron.max_in_flight", "How many requests of a database may be on the wire at once.",
                          nullptr, &guc_max_in_flight, 256, kMaxInFlightBounds.least, kMaxInFlightBounds.most,
                          PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("wee5_cron.max_response_bytes", "How much of an answer's body is kept.", nullptr,
                          &guc_max_response_bytes, 8'192, kMaxResponseBytesBounds.least, kMaxResponseBytesBounds.most,
                          PGC_SUSET, GUC_UNIT_BYTE, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("wee5_cron.max_request_bytes", "How large the body of a request may be.",
                          "A call with a larger one is refused.", &guc_max_request_bytes, 1024 * 1024, 2,
                          64 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("wee5_cron.trace", "Whether calls carry a traceparent header.",
                           "on: sampled. unsampled: the header asks for no trace. off: no header. A traceparent that "
                           "a call or an endpoint gives replaces it.",
                           &guc_trace, static_cast<int>(core::Trace::kOn), trace_options, PGC_SUSET, 0, nullptr,
                           nullptr, nullptr);
  DefineCustomStringVariable("wee5_cron.ca_file", "File with the TLS roots to trust, PEM; empty: the system's.",
                             nullptr, &guc_ca_file, "", PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("wee5_cron.allow_plain_http", "Hosts to which the secret is sent without TLS.",
                             "off: private ones only. on: any. Or names with commas between them; *.example stands for "
                             "all names below example.",
                             &guc_allow_plain_http, "off", PGC_SUSET, 0, check_plain_http, nullptr, nullptr);
}

}  // namespace

bool parse_trace(const char* text, int* trace) {
  for (const config_enum_entry* option = trace_options; option->name != nullptr; ++option) {
    if (pg_strcasecmp(option->name, text) != 0) continue;
    *trace = option->val;
    return true;
  }
  return false;
}

void define_settings() {
  preloaded = process_shared_preload_libraries_in_progress;

  // PGC_SIGHUP: for the whole server, so that a clone can be silent from its first start on.
  DefineCustomBoolVariable("wee5_cron.enabled", "Whether calls are made, in all databases of the server.",
                           "Off: new calls raise an error, and queued calls wait until it is on again.", &guc_enabled,
                           true, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  define_delivery_settings();
  define_retention();
  define_alerts();
  define_proxy();
  define_vault_names();
  DefineCustomBoolVariable("wee5_cron.default_jobs", "CREATE EXTENSION registers the three default jobs.", nullptr,
                           &guc_default_jobs, true, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  // PGC_POSTMASTER can be defined during the preload only.
  if (preloaded)
    DefineCustomBoolVariable("wee5_cron.protect_secret",
                             "Only superusers and pg_read_all_settings may read app.settings.cron_secret.",
                             "Turn it off for applications that read the secret themselves.", &protect_secret, true,
                             PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);

  define_app_setting(kApiUrlSetting, "The app's origin, optionally with a path prefix.", &api_url, 0,
                     remember_who_set_api_url, assign_api_url);
  // Only with preload: if the library is loaded in the middle of a session, the flag would break the session's own
  // reads.
  int secret_flags = preloaded && protect_secret ? GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL : GUC_NO_SHOW_ALL;
  define_app_setting(kCronSecretSetting, "The bearer secret that the app expects.", &cron_secret, secret_flags,
                     remember_who_set_cron_secret, assign_cron_secret);
  define_app_setting(kPreviousSecretSetting, "The bearer secret that the app expected before.", &previous_secret,
                     secret_flags, nullptr, nullptr);
  define_app_setting(kTargetsSetting, "Other apps that are called, with their addresses and secrets, as JSON.",
                     &cron_targets, secret_flags, remember_who_set_cron_targets, assign_cron_targets);
  reserve_guc_prefix("wee5_cron");
}

bool library_preloaded() { return preloaded; }
bool app_settings_are_open() { return preloaded && !protect_secret; }
const char* session_api_url() { return explicit_value(&api_url); }
const char* session_cron_secret() { return explicit_value(&cron_secret); }
const char* session_cron_targets() { return explicit_value(&cron_targets); }
const char* command_line_api_url() { return command_line_value(&api_url); }
const char* command_line_cron_secret() { return command_line_value(&cron_secret); }
const char* command_line_cron_targets() { return command_line_value(&cron_targets); }
const char* session_vault_api_url() { return explicit_value(&vault_api_url); }
const char* session_vault_cron_secret() { return explicit_value(&vault_cron_secret); }
const char* server_vault_api_url() { return server_value(&vault_api_url, kVaultApiUrl); }
const char* server_vault_cron_secret() { return server_value(&vault_cron_secret, kVaultCronSecret); }

// wee5_cron.library_preloaded() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_library_preloaded) {
  (void)fcinfo;
  PG_RETURN_BOOL(library_preloaded());
}

}  // namespace wee5::pg
