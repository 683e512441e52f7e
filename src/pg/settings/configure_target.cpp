// wee5_cron.configure_target() and drop_target(): store the addresses and secrets of other apps, all in one document.
// The document holds secrets, so no statement and no error shows it.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/targets.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/settings/configure.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

// What configure_target() was given. Texts UTF-8, palloc'd.
struct GivenTarget {
  const char* name;
  const char* api_url;  // NULL: none
  const char* secret;   // NULL: none
  const char* header;
  const char* prefix;
  HeaderList further;
  Store store;
};

// The documents of this database, and of Vault; NULL: none. As changes: NULL leaves it, and an empty one removes it.
struct Documents {
  const char* database;
  const char* vault;
};

core::Target target_of(const GivenTarget* given) {
  core::Target target;
  target.api_url = core::without_blanks_around(view_or_empty(given->api_url));
  target.secret = core::without_blanks_around(view_or_empty(given->secret));
  target.headers.header = given->header;
  target.headers.prefix = given->prefix;
  for (int i = 0; i < given->further.count; ++i)
    target.headers.further.push_back({given->further.names[i], given->further.values[i]});
  return target;
}

// Applies the rules of a call.
void check(const GivenTarget* given, const core::Target& target) {
  core::check_target_name(given->name);
  core::check_target(given->name, target);
  if (given->name != core::kAppTarget) {
    try {
      delivery::parse_api_url(target.api_url, guc_allow_plain_http, core::AddressWords(given->name));
    } catch (const core::Error& error) {
      throw core::Error(core::ErrorKind::kInvalidValue, error.message(), error.hint());
    }
    return;
  }
  const core::SecretHeaders of_app;
  if (target.api_url.empty() && target.secret.empty() && target.headers.header == of_app.header &&
      target.headers.prefix == of_app.prefix)
    return;
  throw core::Error(core::ErrorKind::kInvalidValue, "target \"app\" is the app itself, and has further headers only",
                    "SELECT wee5_cron.configure('https://app.example.com', 'the secret that the app expects'); sets "
                    "its address and secret.");
}

core::SettingCandidates candidates_of(const Documents* stored) {
  core::SettingCandidates candidates;
  candidates.database = view_or_empty(stored->database);
  candidates.vault = view_or_empty(stored->vault);
  return candidates;
}

bool holds(const char* document, std::string_view name) {
  core::SettingCandidates candidates;
  candidates.database = view_or_empty(document);
  const std::vector<std::string> names = core::Targets(candidates).names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The target as it is stored. nullopt: there is none, or none that a call could use, which is replaced all the same.
std::optional<core::Target> usable_target(const Documents* stored, const char* name) {
  try {
    auto found = core::Targets(candidates_of(stored)).find(name);
    return found ? std::optional(std::move(found->first)) : std::nullopt;
  } catch (const core::Error&) {
    return std::nullopt;
  }
}

// The secret that is replaced is kept for a day, if it went to the same scheme, host and port.
void keep_previous(const Documents* stored, const char* name, core::Target* target) {
  const std::optional<core::Target> replaced = usable_target(stored, name);
  if (!replaced) return;
  const core::Target& old = *replaced;
  switch (core::rotation_step(old.secret, target->secret, delivery::same_origin(old.api_url, target->api_url), true)) {
    case core::RotationStep::kLeave:
      target->previous = old.previous;
      break;
    case core::RotationStep::kRemove:
      break;
    case core::RotationStep::kReplace:
      target->previous = {old.secret, old.api_url, unix_us_of(GetCurrentTimestamp()) + core::kPreviousSecretKeptUs};
      break;
  }
}

// "\"X-A\", \"X-B\"". Empty: none is short.
std::string names_of_short_headers(const core::Target& target) {
  std::string names;
  for (const std::string& name : core::short_secret_headers(target))
    names += (names.empty() ? "\"" : ", \"") + name + "\"";
  return names;
}

void add_target(const GivenTarget* given, const Documents* stored, Documents* changes, const char** short_headers,
                TextBuffer* texts) {
  core::Target target = target_of(given);
  check(given, target);
  *short_headers = texts->put(names_of_short_headers(target));
  keep_previous(stored, given->name, &target);
  const bool in_database = given->store == kStoreDatabase;
  const char* here = in_database ? stored->database : stored->vault;
  const char* there = in_database ? stored->vault : stored->database;
  const char* added = texts->put(core::document_with_target(view_or_empty(here), given->name, target));
  const char* removed =
      holds(there, given->name) ? texts->put(core::document_without_target(there, given->name)) : nullptr;
  *changes = in_database ? Documents{added, removed} : Documents{removed, added};
}

void remove_target(const char* name, const Documents* stored, Documents* changes, TextBuffer* texts) {
  core::check_target_name(name);
  for (const char* Documents::*document : {&Documents::database, &Documents::vault})
    if (holds(stored->*document, name))
      changes->*document = texts->put(core::document_without_target(stored->*document, name));
}

void read_documents(Documents* stored, bool needs_vault) {
  StoredSettings settings;
  VaultValues vault;
  read_stored_settings(InvalidOid, &settings);
  read_vault(&settings, &vault);
  if (vault.trouble != nullptr && needs_vault)
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("Vault cannot be read: %s", from_utf8(vault.trouble)), errhint("%s", from_utf8(vault.hint))));
  *stored = {settings.targets.database, vault.targets};
}

void store_documents(const char* function, const Documents* changes) {
  static const char* const settings[] = {kTargetsSetting};
  if (changes->database != nullptr) {
    check_rights(function, settings, 1);
    alter_database(kTargetsSetting, changes->database);
  }
  if (changes->vault != nullptr) store_targets_in_vault(changes->vault);
}

Size size_of_texts(const GivenTarget* given) {
  Size bytes = bytes_of(given->name) + bytes_of(given->api_url) + bytes_of(given->secret) + bytes_of(given->header) +
               bytes_of(given->prefix);
  for (int i = 0; i < given->further.count; ++i)
    bytes += strlen(given->further.names[i]) + strlen(given->further.values[i]) + 8;
  return bytes;
}

// Each byte may take six in JSON, and a replaced secret stands there twice.
TextBuffer buffer_for(const Documents* stored, Size given) {
  return make_text_buffer(12 * (bytes_of(stored->database) + bytes_of(stored->vault) + given) + 2048);
}

// The documents that ALTER DATABASE and ALTER ROLE stored and that have a target.
struct Stored {
  std::string_view name;
  bool roles_only;  // configure_target() has just stored the database's document itself
  StringInfoData whose;
};

bool document_has(const char* value, std::string_view name) {
  const char* document = to_utf8_lossy(pstrdup(value));
  bool has_it = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { has_it = holds(document, name); })) raise(&failure);
  return has_it;
}

void note_document(Oid database, Oid role, const char* setting, const char* value, void* arg) {
  Stored* stored = static_cast<Stored*>(arg);
  if (pg_strcasecmp(setting, kTargetsSetting) != 0) return;
  if (stored->roles_only && !OidIsValid(role)) return;
  if (!document_has(value, stored->name)) return;
  StringInfoData owner;
  initStringInfo(&owner);
  if (append_owner_of_entry(&owner, database, role))
    appendStringInfo(&stored->whose, "%sALTER %s", stored->whose.len > 0 ? ", " : "", owner.data);
}

// "ALTER ROLE x, ALTER DATABASE y": who has the target. Empty: nobody.
const char* documents_with(std::string_view name, bool roles_only) {
  Stored stored;
  stored.name = name;
  stored.roles_only = roles_only;
  initStringInfo(&stored.whose);
  visit_stored_entries(note_document, &stored);
  return stored.whose.data;
}

// Warns of values that take precedence over the one that was just stored.
void warn_of_overrides(const char* name, Store store) {
  const char* whose = documents_with(name, store == kStoreDatabase);
  if (whose[0] != '\0')
    ereport(WARNING, (errmsg("other stored values take precedence for target \"%s\": %s", name, whose),
                      errhint("Take the target out of %s there, or reset it.", kTargetsSetting)));
  if (!is_blank(session_cron_targets()))
    ereport(WARNING,
            (errmsg("%s is set in this session, which takes precedence over the stored value", kTargetsSetting),
             errhint("RESET %s;", kTargetsSetting)));
}

// drop_target() changes the document of the database and of Vault alone.
void warn_of_what_is_left(const char* name) {
  const char* whose = documents_with(name, false);
  if (whose[0] != '\0')
    ereport(WARNING, (errmsg("target \"%s\" is stored elsewhere, too: %s", name, whose),
                      errhint("Take the target out of %s there, or reset it.", kTargetsSetting)));
}

char* argument(FunctionCallInfo fcinfo, int number) {
  return PG_ARGISNULL(number) ? nullptr : to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

void require(FunctionCallInfo fcinfo, int number, const char* name) {
  if (PG_ARGISNULL(number))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
                    errhint("SELECT wee5_cron.configure_target('billing', 'https://billing.example.com', 'the secret "
                            "that this app expects');")));
}

char* required(FunctionCallInfo fcinfo, int number, const char* name) {
  require(fcinfo, number, name);
  return argument(fcinfo, number);
}

void configure_target(const GivenTarget* given) {
  PreventCommandIfReadOnly("wee5_cron.configure_target()");
  // Two calls at once would both change the same document.
  LockSharedObject(DatabaseRelationId, MyDatabaseId, 0, ShareUpdateExclusiveLock);
  Documents stored;
  Documents changes = {nullptr, nullptr};
  read_documents(&stored, given->store == kStoreVault);
  TextBuffer texts = buffer_for(&stored, size_of_texts(given));
  CppFailure failure;
  const char* short_headers = nullptr;
  if (!run_cpp(&failure, [&] { add_target(given, &stored, &changes, &short_headers, &texts); })) raise(&failure);
  store_documents("wee5_cron.configure_target(text, text, text, text, text, jsonb, text)", &changes);
  if (given->secret != nullptr && strlen(given->secret) < kShortSecret) warn_of_short_secret();
  if (short_headers[0] != '\0')
    ereport(WARNING, (errmsg("target \"%s\" has short values in %s, and answers show [secret] wherever they occur",
                             given->name, from_utf8(short_headers)),
                      errhint("A header that is no secret belongs in wee5_cron.endpoint.headers.")));
  warn_of_overrides(given->name, given->store);
}

}  // namespace

bool app_has_further_headers(const char* vault) {
  for (const char* document : {vault, command_line_cron_targets()})
    if (document != nullptr && document_has(document, core::kAppTarget)) return true;
  return documents_with(core::kAppTarget, false)[0] != '\0';
}

// wee5_cron.configure_target(name text, api_url text, secret text, header text, prefix text, headers jsonb, store text)
// -> void
WEE5_SQL_FUNCTION(wee5_cron_configure_target) {
  ErrorContextCallback callback;
  hide_statement("SELECT wee5_cron.configure_target(...)", &callback);
  GivenTarget given;
  memset(&given, 0, sizeof(given));
  given.name = required(fcinfo, 0, "name");
  bool is_app = strcmp(given.name, "app") == 0;
  given.api_url = is_app ? argument(fcinfo, 1) : required(fcinfo, 1, "api_url");
  given.secret = is_app ? argument(fcinfo, 2) : required(fcinfo, 2, "secret");
  given.header = required(fcinfo, 3, "header");
  given.prefix = required(fcinfo, 4, "prefix");
  require(fcinfo, 5, "headers");
  headers_from_jsonb(PG_GETARG_JSONB_P(5), &given.further);
  given.store = parse_store(required(fcinfo, 6, "store"));
  configure_target(&given);
  show_context(&callback);
  PG_RETURN_VOID();
}

// wee5_cron.drop_target(name text) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_drop_target) {
  ErrorContextCallback callback;
  hide_statement("SELECT wee5_cron.drop_target(...)", &callback);
  const char* name = required(fcinfo, 0, "name");
  PreventCommandIfReadOnly("wee5_cron.drop_target()");
  LockSharedObject(DatabaseRelationId, MyDatabaseId, 0, ShareUpdateExclusiveLock);
  Documents stored;
  Documents changes = {nullptr, nullptr};
  read_documents(&stored, true);
  TextBuffer texts = buffer_for(&stored, 0);
  CppFailure failure;
  if (!run_cpp(&failure, [&] { remove_target(name, &stored, &changes, &texts); })) raise(&failure);
  store_documents("wee5_cron.drop_target(text)", &changes);
  warn_of_what_is_left(name);
  show_context(&callback);
  PG_RETURN_BOOL(changes.database != nullptr || changes.vault != nullptr);
}

}  // namespace wee5::pg
