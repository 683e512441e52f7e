#pragma once

#include <optional>
#include <string_view>

#include "wee5_cron/core/settings.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/stored_settings.h"

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

}  // namespace wee5::pg
