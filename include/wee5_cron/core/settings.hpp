#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "wee5_cron/core/error.hpp"

namespace wee5::core {

// Where a value of app.settings.* came from, strongest first.
enum class SettingSource { kSession, kRoleInDatabase, kRole, kDatabase, kAll, kVault, kNone };
const char* setting_source_name(SettingSource source) noexcept;

// What each source holds; nullopt or blank (only white space) means: not set there.
struct SettingCandidates {
  std::optional<std::string_view> session;
  std::optional<std::string_view> role_in_database;
  std::optional<std::string_view> role;
  std::optional<std::string_view> database;
  std::optional<std::string_view> all;
  std::optional<std::string_view> vault;
  // Why Vault could not be read, and what to do; empty: it could, or was not needed.
  std::string_view vault_trouble;
  std::string_view vault_hint;
};

struct Setting {
  std::string value;  // white space around it removed
  SettingSource source = SettingSource::kNone;
  // Where there is no value: why Vault could not be read, and what to do; else empty.
  std::string vault_trouble;
  std::string vault_hint;
};

// The value that counts: an explicit SET of the session, then what is stored for the role in this database, the
// role, the database, everybody, then Vault.
Setting choose_setting(const SettingCandidates& candidates);

// The error of a call without a value for `name`, such as app.settings.api_url.
Error missing_setting(std::string_view name, const Setting& setting);

// Throws Error{kNotReady} when the secret cannot stand in a header (control bytes, non-ASCII); never echoes it.
void check_secret(std::string_view secret);

}  // namespace wee5::core
