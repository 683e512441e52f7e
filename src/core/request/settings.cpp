#include "wee5_cron/core/request/settings.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {
namespace {

using SourcedCandidates = std::array<std::pair<std::optional<std::string_view>, SettingSource>, 6>;

SourcedCandidates strongest_first(const SettingCandidates& candidates) {
  return {{
      {candidates.session, SettingSource::kSession},
      {candidates.role_in_database, SettingSource::kRoleInDatabase},
      {candidates.role, SettingSource::kRole},
      {candidates.database, SettingSource::kDatabase},
      {candidates.all, SettingSource::kAll},
      {candidates.vault, SettingSource::kVault},
  }};
}

}  // namespace

const char* setting_source_name(SettingSource source) noexcept {
  switch (source) {
    case SettingSource::kSession:
      return "session";
    case SettingSource::kRoleInDatabase:
      return "role in database";
    case SettingSource::kRole:
      return "role";
    case SettingSource::kDatabase:
      return "database";
    case SettingSource::kAll:
      return "all";
    case SettingSource::kVault:
      return "vault";
    case SettingSource::kNone:
      return "none";
  }
  return "none";
}

Setting choose_setting(const SettingCandidates& candidates) {
  for (const auto& [candidate, source] : strongest_first(candidates)) {
    const std::string_view value = without_blanks_around(candidate.value_or(""));
    if (!value.empty()) return {std::string(value), source, "", ""};
  }
  return {"", SettingSource::kNone, std::string(candidates.vault_trouble), std::string(candidates.vault_hint)};
}

std::string value_at(const SettingCandidates& candidates, SettingSource source) {
  for (const auto& [candidate, its_source] : strongest_first(candidates)) {
    if (its_source == source) return std::string(without_blanks_around(candidate.value_or("")));
  }
  return "";
}

Error missing_setting(std::string_view name, const Setting& setting) {
  if (!setting.vault_trouble.empty()) {
    return Error(ErrorKind::kNotReady,
                 std::string(name) + " is not set, and Vault cannot be read: " + setting.vault_trouble,
                 setting.vault_hint);
  }
  return Error(ErrorKind::kNotReady, std::string(name) + " is not set",
               "SELECT wee5_cron.configure('https://app.example.com', 'the secret that the app expects');");
}

void check_secret(std::string_view secret) {
  const auto bad = std::find_if(secret.begin(), secret.end(), [](char c) { return is_control(c) || !is_ascii(c); });
  if (bad == secret.end()) return;
  const char* what = "a control character";
  if (*bad == '\r' || *bad == '\n') what = "a line break";
  if (!is_ascii(*bad)) what = "a character that is not ASCII";
  throw Error(
      ErrorKind::kNotReady,
      std::string("the secret in app.settings.cron_secret holds ") + what + ", which no HTTP header can carry",
      "Use a secret of plain letters and digits, such as the output of \"openssl rand -hex 32\", and set the same "
      "one as CRON_SECRET in the app.");
}

}  // namespace wee5::core
