// Feeds any stored settings: checks which value takes precedence, which secrets are accepted, and that no text shows
// one. Input: six lines with the value of each source, "-" for none; the rest is text that may contain a secret.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "promise.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/redact.hpp"

namespace {

using wee5::core::Setting;
using wee5::core::SettingCandidates;
using wee5::core::SettingSource;
using wee5::fuzz::take_line;

constexpr std::string_view kBlanks = " \t\n\v\f\r";

bool is_blank(std::string_view text) { return text.find_first_not_of(kBlanks) == std::string_view::npos; }

void is_the_strongest(const Setting& setting, const std::array<std::optional<std::string_view>, 6>& by_strength) {
  for (std::size_t i = 0; i < by_strength.size(); ++i) {
    if (!by_strength[i] || is_blank(*by_strength[i])) continue;
    WEE5_PROMISE(static_cast<std::size_t>(setting.source) == i);
    WEE5_PROMISE(by_strength[i]->find(setting.value) != std::string_view::npos);
    return;
  }
  WEE5_PROMISE(setting.source == SettingSource::kNone && setting.value.empty());
}

void stands_on_one_line(const std::vector<wee5::core::Header>& headers) {
  for (const wee5::core::Header& header : headers) {
    WEE5_PROMISE(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    WEE5_PROMISE(!header.name.empty());
  }
}

void is_a_good_secret(const std::string& secret, std::string_view text) {
  wee5::core::RequestIdentity identity;
  identity.job_name = std::string(text);
  stands_on_one_line(wee5::core::request_headers(secret, identity, {}));
  // "[secret]", which replaces a secret, may itself contain a short one.
  if (secret.size() < 16) return;
  const std::string told = std::string(text) + secret + std::string(text);
  WEE5_PROMISE(wee5::core::redact(told, secret).find(secret) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::array<std::optional<std::string_view>, 6> held;
  for (std::optional<std::string_view>& value : held) {
    value = take_line(input);
    if (*value == "-") value.reset();
  }
  SettingCandidates candidates;
  candidates.session = held[0];
  candidates.role_in_database = held[1];
  candidates.role = held[2];
  candidates.database = held[3];
  candidates.all = held[4];
  candidates.vault = held[5];
  const Setting setting = wee5::core::choose_setting(candidates);
  is_the_strongest(setting, held);
  if (setting.source == SettingSource::kNone) {
    WEE5_PROMISE(!wee5::core::missing_setting("app.settings.cron_secret", setting).message().empty());
    return 0;
  }
  try {
    wee5::core::check_secret(setting.value);
    is_a_good_secret(setting.value, input);
  } catch (const wee5::core::Error& error) {
    // Long enough that it does not occur by chance.
    if (setting.value.size() >= 16) WEE5_PROMISE(error.message().find(setting.value) == std::string::npos);
  }
  try {
    wee5::core::check_custom_header(setting.value, input);
    stands_on_one_line({{setting.value, std::string(input)}});
  } catch (const wee5::core::Error& error) {
    WEE5_PROMISE(!error.message().empty());
  }
  return 0;
}
