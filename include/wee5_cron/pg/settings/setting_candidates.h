#pragma once

#include <optional>
#include <string_view>

#include "wee5_cron/core/request/destination.hpp"
#include "wee5_cron/core/request/settings.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

// How many bytes of text the sources of settings hold together.
inline Size bytes_of(const char* text) { return text != nullptr ? strlen(text) : 0; }
inline Size bytes_of(const StoredValue* value) {
  return bytes_of(value->role_in_database) + bytes_of(value->role) + bytes_of(value->database) + bytes_of(value->all);
}
inline Size bytes_of(const SessionSettings* session) {
  return bytes_of(session->api_url) + bytes_of(session->cron_secret) + bytes_of(session->targets);
}
inline Size bytes_of(const VaultValues* vault) {
  return bytes_of(vault->api_url) + bytes_of(vault->cron_secret) + bytes_of(vault->previous_secret) +
         bytes_of(vault->targets) + bytes_of(vault->trouble) + bytes_of(vault->hint);
}

// The candidates for core::choose_setting(). `command_line` counts if nothing is stored; NULL: not given.
inline core::SettingCandidates candidates_of(const StoredValue& stored, const char* command_line) {
  auto optional = [](const char* text) {
    return text != nullptr ? std::optional<std::string_view>(text) : std::nullopt;
  };
  core::SettingCandidates candidates;
  candidates.role_in_database = optional(stored.role_in_database);
  candidates.role = optional(stored.role);
  candidates.database = optional(stored.database);
  candidates.all = optional(stored.all != nullptr ? stored.all : command_line);
  return candidates;
}

// The same, with Vault as the weakest source. `value` is what Vault holds for this setting; NULL: nothing.
inline core::SettingCandidates candidates_of(const StoredValue& stored, const char* command_line,
                                             const VaultValues& vault, const char* value) {
  core::SettingCandidates candidates = candidates_of(stored, command_line);
  if (value != nullptr) candidates.vault = value;
  candidates.vault_trouble = view_or_empty(vault.trouble);
  candidates.vault_hint = view_or_empty(vault.hint);
  return candidates;
}

// Everything that app.settings.* can come from.
struct SettingSources {
  StoredSettings stored;
  VaultValues vault;
  SessionSettings session;  // of a process that has none: all NULL
  SessionSettings command_line;
};
inline SessionSettings session_settings() { return {session_api_url(), session_cron_secret(), session_cron_targets()}; }
inline SessionSettings command_line_settings() {
  return {command_line_api_url(), command_line_cron_secret(), command_line_cron_targets()};
}
inline Size bytes_of(const StoredSettings* stored) {
  return bytes_of(&stored->api_url) + bytes_of(&stored->cron_secret) + bytes_of(&stored->previous_secret) +
         bytes_of(&stored->targets);
}
inline Size bytes_of(const SettingSources* sources) {
  return bytes_of(&sources->stored) + bytes_of(&sources->vault) + bytes_of(&sources->session) +
         bytes_of(&sources->command_line);
}

inline core::AppSettings app_settings(const StoredSettings& stored, const VaultValues& vault,
                                      const SessionSettings& session, const SessionSettings& command_line) {
  core::AppSettings settings{candidates_of(stored.api_url, command_line.api_url, vault, vault.api_url),
                             candidates_of(stored.cron_secret, command_line.cron_secret, vault, vault.cron_secret),
                             candidates_of(stored.previous_secret, nullptr, vault, vault.previous_secret),
                             candidates_of(stored.targets, command_line.targets, vault, vault.targets)};
  if (session.api_url != nullptr) settings.api_url.session = session.api_url;
  if (session.cron_secret != nullptr) settings.secret.session = session.cron_secret;
  if (session.targets != nullptr) settings.targets.session = session.targets;
  return settings;
}

}  // namespace wee5::pg
