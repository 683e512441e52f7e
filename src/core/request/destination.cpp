#include "wee5_cron/core/request/destination.hpp"

#include <utility>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

SettingCandidates without_session(SettingCandidates candidates) {
  candidates.session.reset();
  return candidates;
}

// If the same value is stored as well, the worker has it.
bool is_only_in_session(const SettingCandidates& candidates) {
  const Setting chosen = choose_setting(candidates);
  return chosen.source == SettingSource::kSession && choose_setting(without_session(candidates)).value != chosen.value;
}

bool is_only_in_session(const SettingCandidates& documents, std::string_view name) {
  const auto chosen = Targets(documents).find(name);
  if (!chosen || chosen->second != SettingSource::kSession) return false;
  const auto stored = Targets(without_session(documents)).find(name);
  return !stored || document_with_target("", name, stored->first) != document_with_target("", name, chosen->first);
}

}  // namespace

Destinations::Destinations(const AppSettings& settings)
    : api_url_(choose_setting(settings.api_url)),
      secret_(choose_setting(settings.secret)),
      previous_(value_at(settings.previous_secret, secret_.source)),
      targets_(settings.targets) {}

Destination Destinations::app(std::string_view path) const {
  if (api_url_.value.empty()) throw MissingSetting(missing_setting("app.settings.api_url", api_url_));
  if (secret_.value.empty()) throw MissingSetting(missing_setting("app.settings.cron_secret", secret_));
  check_secret(secret_.value);
  Destination app{api_url_.value, secret_.value, {}, read_previous_secret(previous_), std::string(path), ""};
  app.headers.further = targets_.headers_of_app();
  return app;
}

Destination Destinations::find(std::string_view endpoint_path) const {
  const auto [name, path] = split_target(endpoint_path);
  if (name.empty()) return app(path);
  auto found = targets_.find(name);
  if (!found) throw MissingSetting(targets_.missing(name));
  Target& target = found->first;
  return {std::move(target.api_url),  std::move(target.secret), std::move(target.headers),
          std::move(target.previous), std::string(path),        std::string(name)};
}

std::vector<std::string> Destinations::secrets() const {
  std::vector<std::string> secrets = targets_.secrets();
  for (const std::string& secret : {secret_.value, secret_of_document(previous_)}) {
    if (!secret.empty()) secrets.push_back(secret);
  }
  return secrets;
}

const char* only_in_session(const AppSettings& settings, std::string_view endpoint_path) {
  const std::string_view name = split_target(endpoint_path).target;
  if (name.empty() && is_only_in_session(settings.secret)) return "app.settings.cron_secret";
  if (name.empty() && is_only_in_session(settings.api_url)) return "app.settings.api_url";
  if (!settings.targets.session || !is_only_in_session(settings.targets, name.empty() ? kAppTarget : name))
    return nullptr;
  return kTargetsSetting;
}

}  // namespace wee5::core
