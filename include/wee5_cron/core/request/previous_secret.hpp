#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wee5_cron/core/text/json.hpp"

// The secret that configure() replaced. For a day, a call that the app answers with 401 is made once more with it, so
// that the app and the database may learn the new secret in any order. Times are Unix times in microseconds.
namespace wee5::core {

struct PreviousSecret {
  std::string secret;
  std::string api_url;  // where it may go: the same scheme, host and port
  std::int64_t until_us = 0;
};

// How long configure() keeps it.
inline constexpr std::int64_t kPreviousSecretKeptUs = std::int64_t{24} * 3'600 * 1'000'000;

// The value of app.settings.cron_secret_previous: {"secret": "...", "api_url": "...", "until": "2026-11-30T03:00:00Z"}.
// nullopt: it is none.
std::optional<PreviousSecret> read_previous_secret(std::string_view document);
std::optional<PreviousSecret> read_previous_secret(const JsonValue& value);
// The secret in such a value, for what must not show it: also if the rest is wrong or the time is over. Empty: none.
std::string secret_of_document(std::string_view document);
std::string write_previous_secret(const PreviousSecret& previous);

// What configure() does about the previous secret when it stores a new pair.
enum class RotationStep {
  kLeave,   // the secret stays the same
  kRemove,  // nobody may need what is kept, or nobody shall have it
  kReplace  // the secret that is replaced becomes the previous one
};
// `replaced`: the secret that was stored; empty: none. `same_origin`: it went to the scheme, host and port of the new
// address. `keep`: the argument keep_previous.
RotationStep rotation_step(std::string_view replaced, std::string_view chosen, bool same_origin, bool keep) noexcept;

// The hint of a call that succeeded with the previous secret.
std::string previous_secret_hint(std::int64_t until_us);

// A moment as in RFC 3339, such as 2026-11-30T03:00:00Z, also with a blank for the T, up to six decimals and a time
// zone such as +01:00 or +01. nullopt: it is none.
std::optional<std::int64_t> parse_rfc3339_us(std::string_view text) noexcept;

}  // namespace wee5::core
