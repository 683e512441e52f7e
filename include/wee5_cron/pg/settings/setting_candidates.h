#pragma once

#include <optional>
#include <string_view>

#include "wee5_cron/core/request/settings.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

// How many bytes of text the sources of settings hold together.
inline Size bytes_of(const char* text) { return text != nullptr ? strlen(text) : 0; }
inline Size bytes_of(const StoredValue* value) {
  return bytes_of(value->role_in_database) + bytes_of(value->role) + bytes_of(value->database) + bytes_of(value->all);
}
inline Size bytes_of(const SessionSettings* session) {
  return bytes_of(session->api_url) + bytes_of(session->cron_secret);
}
inline Size bytes_of(const VaultValues* vault) {
  return bytes_of(vault->api_url) + bytes_of(vault->cron_secret) + bytes_of(vault->previous_secret) +
         bytes_of(vault->trouble) + bytes_of(vault->hint);
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

}  // namespace wee5::pg
