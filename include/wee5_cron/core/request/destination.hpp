#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/request/targets.hpp"

namespace wee5::core {

// What app.settings.* can come from: api_url, cron_secret, cron_secret_previous and cron_targets.
struct AppSettings {
  SettingCandidates api_url;
  SettingCandidates secret;
  SettingCandidates previous_secret;
  SettingCandidates targets;
};

// Where a call goes, and what proves there that it comes from us.
struct Destination {
  std::string api_url;
  std::string secret;
  SecretHeaders headers;
  std::optional<PreviousSecret> previous;  // its time and address are not checked
  std::string path;                        // behind the address
  std::string target;                      // empty: the app
};

// A value that a call needs is set nowhere.
class MissingSetting : public Error {
 public:
  explicit MissingSetting(const Error& error) : Error(error) {}
};

// All destinations that a role's calls can have.
class Destinations {
 public:
  Destinations() = default;
  explicit Destinations(const AppSettings& settings);

  // The app, or the target that the path names. Throws MissingSetting if there is no address or secret, or
  // Error{kNotReady} if there is one that cannot be used. Does not check the address.
  Destination find(std::string_view endpoint_path) const;
  // Every secret that a role's calls may carry. For what must not show them.
  std::vector<std::string> secrets() const;

 private:
  Destination app(std::string_view path) const;

  Setting api_url_;
  Setting secret_;
  std::string previous_;  // the document stored next to the secret
  Targets targets_;
};

// The setting that a destination comes from and that only the session has, so that no worker knows it; NULL: none.
const char* only_in_session(const AppSettings& settings, std::string_view endpoint_path);

}  // namespace wee5::core
