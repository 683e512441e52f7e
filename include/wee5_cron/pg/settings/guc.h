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
extern int guc_alert_repeat;  // milliseconds; 0: never
extern char* guc_proxy;
extern char* guc_allow_plain_http;  // core::read_plain_http_rule()
extern bool guc_default_jobs;
extern bool guc_enabled;

// The bounds of a setting. The worker checks them, too, because it reads stored values itself.
struct IntBounds {
  int least;
  int most;
};
inline constexpr IntBounds kTimeoutBounds = {1, INT_MAX};
inline constexpr IntBounds kMaxInFlightBounds = {1, 4096};
inline constexpr IntBounds kMaxResponseBytesBounds = {0, 1024 * 1024};
inline constexpr IntBounds kAlertRepeatBounds = {0, INT_MAX};
inline constexpr IntBounds kKeepBounds = {-1, INT_MAX};

// Defines all settings. Called once, from _PG_init().
void define_settings();

// Reads a value of wee5_cron.trace; false if it is none.
bool parse_trace(const char* text, int* trace);

// Whether shared_preload_libraries loaded the library.
bool library_preloaded();

inline constexpr const char* kApiUrlSetting = "app.settings.api_url";
inline constexpr const char* kCronSecretSetting = "app.settings.cron_secret";
inline constexpr const char* kPreviousSecretSetting = "app.settings.cron_secret_previous";
inline constexpr const char* kTargetsSetting = "app.settings.cron_targets";
// What a role needs GRANT SET for that configures wee5_cron.
inline constexpr const char* kAppSettings =
    "app.settings.api_url, app.settings.cron_secret, app.settings.cron_secret_previous, app.settings.cron_targets";
inline constexpr const char* kVaultApiUrlSetting = "wee5_cron.vault_api_url";
inline constexpr const char* kVaultCronSecretSetting = "wee5_cron.vault_cron_secret";
inline constexpr const char* kAlertUrlSetting = "wee5_cron.alert_url";
inline constexpr const char* kProxySetting = "wee5_cron.proxy";
// Whether every role may SET app.settings.* in its session, because wee5_cron.protect_secret is off.
bool app_settings_are_open();

// A value of app.settings.* that a superuser or a role with GRANT SET gave this session explicitly (SET, or connection
// options); NULL: none. A value that ALTER DATABASE or ALTER ROLE stored does not count here, since the session's copy
// of it may be stale.
const char* session_api_url();
const char* session_cron_secret();
const char* session_cron_targets();
// A value from the server's command line; NULL: none.
const char* command_line_api_url();
const char* command_line_cron_secret();
const char* command_line_cron_targets();
// The names of the secrets in Vault: those that this session was given explicitly (NULL: none), and those of the
// server.
const char* session_vault_api_url();
const char* session_vault_cron_secret();
const char* server_vault_api_url();
const char* server_vault_cron_secret();

}  // namespace wee5::pg
