#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/json.hpp"

// Targets: other apps that the database calls, each with an address, a secret and headers of its own. They stand in
// app.settings.cron_targets as a JSON object of this form, and no other setting is mixed with them:
//
//   {"billing": {"api_url": "...", "secret": "...", "header": "Authorization", "prefix": "Bearer ",
//                "headers": {"X-Name": "..."}, "previous": {"secret": "...", "api_url": "...", "until": "..."}},
//    "app": {"headers": {"X-Name": "..."}}}
//
// The name "app" stands for the app of app.settings.api_url, and holds further headers only.
namespace wee5::core {

inline constexpr const char* kTargetsSetting = "app.settings.cron_targets";

struct Target {
  std::string api_url;
  std::string secret;
  SecretHeaders headers;
  std::optional<PreviousSecret> previous;
};

// Throws Error{kInvalidValue} that names the name and the rule.
void check_target_name(std::string_view name);
// Checks all but the address, by the rules of a call. `name` is kAppTarget where there is neither address nor secret.
// Throws Error{kInvalidValue} that shows no value.
void check_target(std::string_view name, const Target& target);
// What a request carries and no text may show: the secret, and the further headers. Without the white space around
// them, and without what only switches something on or off, as Targets::secrets() leaves it out.
std::vector<std::string> secrets_of_request(std::string_view secret, const std::vector<Header>& further);
// The names of further headers whose values are so short that answers become hard to read without them.
std::vector<std::string> short_secret_headers(const Target& target);

// A document with a target in the place of the one of that name, or without it. Throws Error{kNotReady} if `document`
// is not a JSON object. A result that is empty: no target is left.
std::string document_with_target(std::string_view document, std::string_view name, const Target& target);
std::string document_without_target(std::string_view document, std::string_view name);

// The targets that a role may call, from all sources of the setting.
class Targets {
 public:
  Targets() = default;
  explicit Targets(const SettingCandidates& documents);

  // The strongest source whose document has the name decides everything about it. nullopt: none has it. Throws
  // Error{kNotReady} if a document that decides cannot be read, or the target in it is wrong.
  std::optional<std::pair<Target, SettingSource>> find(std::string_view name) const;
  // The error of a call of a target that no source has.
  Error missing(std::string_view name) const;
  // The further headers of the app itself. Empty if they cannot be read, which doctor() reports.
  std::vector<Header> headers_of_app() const noexcept;
  // Each name once, the ones of the strongest source first.
  std::vector<std::string> names() const;
  // The sources whose document is not a JSON object of targets.
  std::vector<SettingSource> unreadable() const;
  // Every secret in any source: secrets, previous ones, and the values of secret headers. For what must not show them.
  std::vector<std::string> secrets() const;

 private:
  struct Document {
    SettingSource source;
    std::optional<JsonValue> targets;  // nullopt: it is not a JSON object
  };
  std::vector<Document> documents_;  // strongest first
  std::string vault_trouble_;
  std::string vault_hint_;
};

}  // namespace wee5::core
