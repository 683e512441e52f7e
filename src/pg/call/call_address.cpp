#include "wee5_cron/pg/call/call_address.h"

#include "wee5_cron/core/request/destination.hpp"
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

// The most text that resolve() makes: the percent-encoded path, the address, the secrets and headers, or an error that
// quotes them.
Size bytes_of_texts(const SettingSources* sources, const char* path) {
  return 3 * (bytes_of(path) + bytes_of(sources)) + 2048;
}

void take_previous(const core::Destination& to, CallAddress* address) {
  if (!to.previous || unix_us_of(GetCurrentTimestamp()) >= to.previous->until_us) return;
  if (!delivery::same_origin(to.previous->api_url, to.api_url)) return;
  address->previous_secret = address->texts.put(to.previous->secret);
  address->previous_until_us = to.previous->until_us;
}

void take_destination(const core::Destination& to, CallAddress* address) {
  // For the life of the session; never destroyed: a FATAL would run its destructor at any point.
  static delivery::UrlJoiner* joiner = new delivery::UrlJoiner;
  address->url = address->texts.put(joiner->join(to.api_url, guc_allow_plain_http, to.path, to.target));
  address->secret = address->texts.put(to.secret);
  address->headers = {address->texts.put(to.headers.header), address->texts.put(to.headers.prefix),
                      address->texts.put(core::header_lines(to.headers.further))};
  take_previous(to, address);
}

void resolve(const SettingSources* sources, const char* path, CallAddress* address) {
  const core::AppSettings settings =
      app_settings(sources->stored, sources->vault, sources->session, sources->command_line);
  try {
    take_destination(core::Destinations(settings).find(path), address);
    address->session_only = core::only_in_session(settings, path);
  } catch (const core::MissingSetting& missing) {
    address->missing = address->texts.put(missing.message());
    address->missing_hint = address->texts.put(missing.hint());
  }
}

void find_address(const SettingSources* sources, const char* path, CallAddress* address) {
  memset(address, 0, sizeof(*address));
  address->texts = make_text_buffer(bytes_of_texts(sources, path));
  CppFailure failure;
  if (!run_cpp(&failure, [&] { resolve(sources, path, address); })) raise(&failure);
}

}  // namespace

void find_address_of_session(Oid role, const char* path, bool sends, CallAddress* address) {
  SettingSources sources;
  memset(&sources, 0, sizeof(sources));
  current_stored_settings(role, &sources.stored);
  sources.session = session_settings();
  sources.command_line = command_line_settings();
  bool needs_targets = sends || path[0] != '/' || !is_blank(sources.session.targets);
  complete_from_vault(role, &sources.session, needs_targets, &sources.stored, &sources.vault);
  find_address(&sources, path, address);
}

void find_stored_address(Oid role, const char* path, CallAddress* address) {
  SettingSources sources;
  memset(&sources, 0, sizeof(sources));
  read_stored_settings(role, &sources.stored);
  sources.command_line = command_line_settings();
  complete_from_vault(role, nullptr, true, &sources.stored, &sources.vault);
  find_address(&sources, path, address);
  if (address->missing != nullptr) refuse_missing_setting(address);
}

void refuse_missing_setting(const CallAddress* address) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", from_utf8(address->missing)),
                  errhint("%s", from_utf8(address->missing_hint))));
  pg_unreachable();
}

}  // namespace wee5::pg
