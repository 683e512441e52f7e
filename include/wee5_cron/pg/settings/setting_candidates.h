#pragma once

#include <optional>
#include <string_view>

#include "wee5_cron/core/settings.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

// What core::choose_setting() chooses from. `command_line` counts where nothing is stored; NULL: not given.
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

// With what Vault holds, weakest of all. `value`: of that setting; NULL: not there.
inline core::SettingCandidates candidates_of(const StoredValue& stored, const char* command_line,
                                             const VaultValues& vault, const char* value) {
  core::SettingCandidates candidates = candidates_of(stored, command_line);
  if (value != nullptr) candidates.vault = value;
  candidates.vault_trouble = view_or_empty(vault.trouble);
  candidates.vault_hint = view_or_empty(vault.hint);
  return candidates;
}

}  // namespace wee5::pg
