#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

enum Transport { kTransportAuto, kTransportPgNet, kTransportBuiltin };
enum MissingConfig { kMissingConfigError, kMissingConfigSkip };

// The wee5_cron.* settings of this process. Times in milliseconds, sizes in bytes.
extern int guc_transport;
extern int guc_missing_config;
extern int guc_trace;  // core::Trace
extern int guc_request_timeout;
extern int guc_connect_timeout;
extern int guc_max_in_flight;
extern int guc_max_response_bytes;
extern int guc_keep_succeeded;  // minutes; -1: for ever
extern int guc_keep_failed;
extern int guc_max_request_bytes;
extern char* guc_ca_file;
extern char* guc_alert_url;
extern char* guc_proxy;
extern char* guc_allow_plain_http;  // core::read_plain_http_rule()
extern bool guc_default_jobs;
extern bool guc_enabled;

// Between which numbers a setting may lie. The worker reads some of them from where ALTER DATABASE stored them.
struct IntBounds {
  int least;
  int most;
};
inline constexpr IntBounds kTimeoutBounds = {1, INT_MAX};
inline constexpr IntBounds kMaxInFlightBounds = {1, 4096};
inline constexpr IntBounds kMaxResponseBytesBounds = {0, 1024 * 1024};
inline constexpr IntBounds kKeepBounds = {-1, INT_MAX};

// Defines all settings; once, from _PG_init.
void define_settings();

// A word that wee5_cron.trace accepts; false for any other.
bool parse_trace(const char* text, int* trace);

// True where the library was loaded by shared_preload_libraries.
bool library_preloaded();

inline constexpr const char* kApiUrlSetting = "app.settings.api_url";
inline constexpr const char* kCronSecretSetting = "app.settings.cron_secret";
inline constexpr const char* kAlertUrlSetting = "wee5_cron.alert_url";
inline constexpr const char* kProxySetting = "wee5_cron.proxy";
// Every role may SET these in its session: wee5_cron.protect_secret is off.
bool app_settings_are_open();

// A value of app.settings.* that this session was given explicitly (SET, or connection options), by a superuser or a
// role with GRANT SET; NULL where there is none. What ALTER DATABASE or ALTER ROLE stored does not count: it may be
// stale.
const char* session_api_url();
const char* session_cron_secret();
// A value given on the server's command line; NULL where there is none.
const char* command_line_api_url();
const char* command_line_cron_secret();
// The names of the secrets in Vault: as this session was given them explicitly, NULL where it was not; and as they are
// for the whole server.
const char* session_vault_api_url();
const char* session_vault_cron_secret();
const char* server_vault_api_url();
const char* server_vault_cron_secret();

}  // namespace wee5::pg
