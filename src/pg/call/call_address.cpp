#include "wee5_cron/pg/call/call_address.h"

#include <optional>

#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

// Everything that app.settings.api_url and app.settings.cron_secret can come from.
struct Sources {
  StoredSettings stored;
  VaultValues vault;
  SessionSettings session;
  SessionSettings command_line;
};

void read_command_line(Sources* sources) {
  sources->command_line.api_url = command_line_api_url();
  sources->command_line.cron_secret = command_line_cron_secret();
}

// The most text that resolve() makes: the percent-encoded path, the address and the secret, or an error that quotes
// them.
Size bytes_of_texts(const Sources* sources, const char* path) {
  Size bytes = bytes_of(path) + bytes_of(&sources->stored.api_url) + bytes_of(&sources->stored.cron_secret) +
               bytes_of(&sources->stored.previous_secret) + bytes_of(&sources->session) +
               bytes_of(&sources->command_line) + bytes_of(&sources->vault);
  return 3 * bytes + 1024;
}

core::SettingCandidates candidates_of_session(const StoredValue& stored, const char* session, const char* command_line,
                                              const VaultValues& vault, const char* vault_value) {
  core::SettingCandidates candidates = candidates_of(stored, command_line, vault, vault_value);
  if (session != nullptr) candidates.session = session;
  return candidates;
}

// Whether the chosen value exists in the session alone. If the same value is stored as well, the worker has it.
bool only_in_session(const core::SettingCandidates& candidates, const core::Setting& chosen) {
  if (chosen.source != core::SettingSource::kSession) return false;
  core::SettingCandidates stored = candidates;
  stored.session.reset();
  return core::choose_setting(stored).value != chosen.value;
}

void take_previous(const Sources* sources, const core::Setting& url, const core::Setting& secret,
                   CallAddress* address) {
  const core::SettingCandidates beside =
      candidates_of(sources->stored.previous_secret, nullptr, sources->vault, sources->vault.previous_secret);
  const auto previous = core::read_previous_secret(core::value_at(beside, secret.source));
  if (!previous || unix_us_of(GetCurrentTimestamp()) >= previous->until_us) return;
  if (!delivery::same_origin(previous->api_url, url.value)) return;
  address->previous_secret = address->texts.put(previous->secret);
  address->previous_until_us = previous->until_us;
}

void resolve(const Sources* sources, const char* path, CallAddress* address) {
  const core::SettingCandidates urls =
      candidates_of_session(sources->stored.api_url, sources->session.api_url, sources->command_line.api_url,
                            sources->vault, sources->vault.api_url);
  const core::SettingCandidates secrets =
      candidates_of_session(sources->stored.cron_secret, sources->session.cron_secret,
                            sources->command_line.cron_secret, sources->vault, sources->vault.cron_secret);
  const core::Setting url = core::choose_setting(urls);
  const core::Setting secret = core::choose_setting(secrets);
  if (only_in_session(urls, url)) address->session_only = "app.settings.api_url";
  if (only_in_session(secrets, secret)) address->session_only = "app.settings.cron_secret";
  if (url.value.empty() || secret.value.empty()) {
    const core::Error missing = url.value.empty() ? core::missing_setting("app.settings.api_url", url)
                                                  : core::missing_setting("app.settings.cron_secret", secret);
    address->missing = address->texts.put(missing.message());
    address->missing_hint = address->texts.put(missing.hint());
    return;
  }
  core::check_secret(secret.value);
  // For the life of the session; never destroyed: a FATAL would run its destructor at any point.
  static delivery::UrlJoiner* joiner = new delivery::UrlJoiner;
  address->url = address->texts.put(joiner->join(url.value, guc_allow_plain_http, path));
  address->secret = address->texts.put(secret.value);
  take_previous(sources, url, secret, address);
}

void find_address(const Sources* sources, const char* path, CallAddress* address) {
  memset(address, 0, sizeof(*address));
  address->texts = make_text_buffer(bytes_of_texts(sources, path));
  CppFailure failure;
  if (!run_cpp(&failure, [&] { resolve(sources, path, address); })) raise(&failure);
}

}  // namespace

void find_address_of_session(Oid role, const char* path, CallAddress* address) {
  Sources sources;
  memset(&sources, 0, sizeof(sources));
  current_stored_settings(role, &sources.stored);
  sources.session.api_url = session_api_url();
  sources.session.cron_secret = session_cron_secret();
  read_command_line(&sources);
  complete_from_vault(role, &sources.session, &sources.stored, &sources.vault);
  find_address(&sources, path, address);
}

void find_stored_address(Oid role, const char* path, CallAddress* address) {
  Sources sources;
  memset(&sources, 0, sizeof(sources));
  read_stored_settings(role, &sources.stored);
  read_command_line(&sources);
  complete_from_vault(role, nullptr, &sources.stored, &sources.vault);
  find_address(&sources, path, address);
  if (address->missing != nullptr) refuse_missing_setting(address);
}

void refuse_missing_setting(const CallAddress* address) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", from_utf8(address->missing)),
                  errhint("%s", from_utf8(address->missing_hint))));
  pg_unreachable();
}

}  // namespace wee5::pg
