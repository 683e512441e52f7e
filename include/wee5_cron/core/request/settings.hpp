#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {

// The source of a value of app.settings.*, strongest first.
enum class SettingSource { kSession, kRoleInDatabase, kRole, kDatabase, kAll, kVault, kNone };
const char* setting_source_name(SettingSource source) noexcept;

// The value of each source; nullopt or blank (only white space): not set there.
struct SettingCandidates {
  std::optional<std::string_view> session;
  std::optional<std::string_view> role_in_database;
  std::optional<std::string_view> role;
  std::optional<std::string_view> database;
  std::optional<std::string_view> all;
  std::optional<std::string_view> vault;
  // Why Vault could not be read, and what to do; empty: it was read, or not needed.
  std::string_view vault_trouble;
  std::string_view vault_hint;
};

struct Setting {
  std::string value;  // white space around it removed
  SettingSource source = SettingSource::kNone;
  // If there is no value: why Vault could not be read, and what to do; else empty.
  std::string vault_trouble;
  std::string vault_hint;
};

// Chooses the value that counts: an explicit SET of the session, then the value stored for the role in this database,
// for the role, for the database, for all, then Vault.
Setting choose_setting(const SettingCandidates& candidates);

// The value at one source; empty: there is none. The previous secret counts only where the secret itself stands.
std::string value_at(const SettingCandidates& candidates, SettingSource source);

// The error of a call without a value for `name`, such as app.settings.api_url.
Error missing_setting(std::string_view name, const Setting& setting);

// Throws Error{kNotReady} if a header cannot hold the secret (control bytes, non-ASCII). The error never shows the
// secret.
void check_secret(std::string_view secret);

}  // namespace wee5::core
