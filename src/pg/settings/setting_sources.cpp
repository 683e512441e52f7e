// wee5_cron.setting_sources(): which source the values of app.settings.* come from. It never returns the secret.

#include <string>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/request/targets.hpp"
#include "wee5_cron/core/text/json.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

// A row of the result. Texts are UTF-8; NULL: none.
struct SourceRow {
  const char* name;
  const char* source;
  int length;
  const char* value;
  const char* error;
  const char* hint;
};

// Everything that may decide the value of one setting.
struct Sources {
  const char* name;
  const StoredValue* stored;
  const char* session;
  const char* command_line;
  const char* vault;
};

// Chooses and checks the value as a call would.
void describe(const Sources* sources, const VaultValues* vault, bool is_url, SourceRow* row, TextBuffer* texts) {
  core::SettingCandidates candidates = candidates_of(*sources->stored, sources->command_line, *vault, sources->vault);
  if (sources->session != nullptr) candidates.session = sources->session;
  const core::Setting setting = core::choose_setting(candidates);
  row->name = sources->name;
  row->source = core::setting_source_name(setting.source);
  row->length = static_cast<int>(setting.value.size());
  try {
    if (setting.value.empty()) {
      if (!setting.vault_trouble.empty()) throw core::missing_setting(sources->name, setting);
    } else if (is_url) {
      delivery::parse_api_url(setting.value, "on");
      row->value = texts->put(setting.value);
      delivery::parse_api_url(setting.value, guc_allow_plain_http);
    } else {
      core::check_secret(setting.value);
    }
  } catch (const core::Error& error) {
    row->error = texts->put(error.message());
    row->hint = texts->put(error.hint());
  }
}

void put_row(ReturnSetInfo* result, const SourceRow* row) {
  Datum values[7];
  bool nulls[7] = {};
  values[0] = CStringGetTextDatum(row->name);
  values[1] = CStringGetTextDatum(row->source);
  values[2] = BoolGetDatum(row->length > 0);
  values[3] = Int32GetDatum(row->length);
  nulls[4] = row->value == nullptr;
  values[4] = nulls[4] ? 0 : CStringGetTextDatum(from_utf8(row->value));
  nulls[5] = row->error == nullptr;
  values[5] = nulls[5] ? 0 : CStringGetTextDatum(from_utf8(row->error));
  nulls[6] = row->hint == nullptr;
  values[6] = nulls[6] ? 0 : CStringGetTextDatum(from_utf8(row->hint));
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

// wee5_cron.setting_sources(role name, OUT name text, OUT source text, OUT is_set boolean, OUT length int,
//                           OUT value text, OUT error text, OUT hint text) -> setof record
WEE5_SQL_FUNCTION(wee5_cron_setting_sources) {
  materialized_srf(fcinfo);
  Oid role = PG_ARGISNULL(0) ? GetSessionUserId() : get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
  bool own = role == GetSessionUserId();
  SessionSettings session = own ? session_settings() : SessionSettings{nullptr, nullptr, nullptr};
  StoredSettings stored;
  VaultValues vault;
  read_stored_settings(role, &stored);
  complete_from_vault(role, &session, false, &stored, &vault);

  Sources settings[2] = {
      {kApiUrlSetting, &stored.api_url, session.api_url, command_line_api_url(), vault.api_url},
      {kCronSecretSetting, &stored.cron_secret, session.cron_secret, command_line_cron_secret(), vault.cron_secret}};
  for (int i = 0; i < 2; ++i) {
    SourceRow row;
    memset(&row, 0, sizeof(row));
    const Sources* sources = &settings[i];
    TextBuffer texts = make_text_buffer(bytes_of(sources->stored) + bytes_of(sources->session) +
                                        bytes_of(sources->command_line) + bytes_of(&vault) + 4096);
    CppFailure failure;
    if (!run_cpp(&failure, [&] { describe(sources, &vault, i == 0, &row, &texts); })) raise(&failure);
    put_row(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), &row);
  }
  return static_cast<Datum>(0);
}

namespace {

std::string target_json(const core::Targets& targets, const std::string& name) {
  std::string json = "{\"name\": " + core::json_text(name);
  const auto add = [&json](const char* field, const std::string& value) {
    json += std::string(", \"") + field + "\": " + value;
  };
  try {
    const auto found = targets.find(name);
    if (!found) throw targets.missing(name);
    const core::Target& target = found->first;
    add("source", core::json_text(core::setting_source_name(found->second)));
    add("further", std::to_string(target.headers.further.size()));
    if (name == core::kAppTarget) return json + "}";
    delivery::parse_api_url(target.api_url, "on", core::AddressWords(name));
    add("api_url", core::json_text(target.api_url));
    add("bytes", std::to_string(target.secret.size()));
    add("header", core::json_text(target.headers.header));
    if (target.previous) add("previous_until", std::to_string(target.previous->until_us / 1'000'000));
    delivery::parse_api_url(target.api_url, guc_allow_plain_http, core::AddressWords(name));
  } catch (const core::Error& error) {
    add("error", core::json_text(error.message()));
    add("hint", core::json_text(error.hint()));
  }
  return json + "}";
}

std::string targets_json(const SettingSources* sources) {
  const core::Targets targets(
      app_settings(sources->stored, sources->vault, sources->session, sources->command_line).targets);
  std::string json;
  for (const std::string& name : targets.names()) json += (json.empty() ? "" : ", ") + target_json(targets, name);
  for (const core::SettingSource source : targets.unreadable()) {
    json += std::string(json.empty() ? "" : ", ") + "{\"source\": \"" + core::setting_source_name(source) +
            "\", \"error\": \"it is not a JSON object of targets\"}";
  }
  return "[" + json + "]";
}

}  // namespace

// wee5_cron.describe_targets(role name) -> jsonb
WEE5_SQL_FUNCTION(wee5_cron_describe_targets) {
  Oid role = PG_ARGISNULL(0) ? GetSessionUserId() : get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
  SettingSources sources;
  memset(&sources, 0, sizeof(sources));
  if (role == GetSessionUserId()) sources.session = session_settings();
  sources.command_line = command_line_settings();
  read_stored_settings(role, &sources.stored);
  complete_from_vault(role, &sources.session, true, &sources.stored, &sources.vault);
  // No name needs more than this, with the error that may go with it.
  TextBuffer texts = make_text_buffer(600 * (bytes_of(&sources) + 16));
  const char* json = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { json = texts.put(targets_json(&sources)); })) raise(&failure);
  return DirectFunctionCall1(jsonb_in, CStringGetDatum(from_utf8(json)));
}

// wee5_cron.target_of(endpoint_path text) -> text
WEE5_SQL_FUNCTION(wee5_cron_target_of) {
  const char* path = to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  Size length = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { length = core::split_target(path).target.size(); })) raise(&failure);
  if (length == 0) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text_with_len(path, static_cast<int>(length)));
}

}  // namespace wee5::pg
