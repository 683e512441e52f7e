#pragma once

#include <optional>
#include <string>
#include <string_view>

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
};

struct Setting {
  std::string value;  // white space around it removed
  SettingSource source = SettingSource::kNone;
};

// The value that counts: an explicit SET of the session, then what is stored for the role in this database, the
// role, the database, everybody, then Vault.
Setting choose_setting(const SettingCandidates& candidates);

// Throws Error{kNotReady} when the secret cannot stand in a header (control bytes, non-ASCII); never echoes it.
void check_secret(std::string_view secret);

}  // namespace wee5::core
