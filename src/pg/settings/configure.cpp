// wee5_cron.configure(): checks and stores the app's address and the secret that the app expects. The statement that
// calls it holds the secret. So configure() first hides that text from everything that shows running statements. It
// stores the values without an SQL statement, because ALTER DATABASE would appear in the log, in statistics and in
// errors' contexts.

#include <string>

#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/configure.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/rotation.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

namespace {

const char* database_identifier() { return quote_identifier(get_database_name(MyDatabaseId)); }

// If a function calls configure(), the context of an error would show its statement.
void hide_context(void* arg) {
  (void)arg;
  errhidecontext(true);
}

}  // namespace

void hide_statement(const char* shown, ErrorContextCallback* callback) {
  pgstat_report_activity(STATE_RUNNING, shown);
  debug_query_string = shown;
  callback->callback = hide_context;
  callback->arg = nullptr;
  callback->previous = error_context_stack;
  error_context_stack = callback;
}

void show_context(const ErrorContextCallback* callback) { error_context_stack = callback->previous; }

Store parse_store(const char* text) {
  if (strcmp(text, "database") == 0) return kStoreDatabase;
  if (strcmp(text, "vault") == 0) return kStoreVault;
  // The message must not show the value: it is the secret if the caller mixed up the arguments.
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown store"),
                  errhint("store is 'database' (ALTER DATABASE ... SET) or 'vault' (the extension supabase_vault).")));
  pg_unreachable();
}

void check_rights(const char* function, const char* const* settings, int count) {
  // The current user is the owner of the function.
  Oid role = GetUserId();
  const char* name = GetUserNameFromId(role, false);
  if (!owns_database(MyDatabaseId, role))
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("the owner of %s, role \"%s\", does not own database \"%s\"",
                           pnstrdup(function, strcspn(function, "(")), name, get_database_name(MyDatabaseId)),
                    errhint("A superuser may: ALTER DATABASE %s OWNER TO %s; or: ALTER FUNCTION %s OWNER TO the "
                            "database's owner.",
                            database_identifier(), quote_identifier(name), function)));
  for (int i = 0; i < count; ++i)
    if (!may_set_parameter(settings[i], role))
      ereport(ERROR,
              (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
               errmsg("permission denied to set parameter \"%s\" for role \"%s\"", settings[i], name),
               errhint("A superuser may: GRANT SET ON PARAMETER %s TO %s;", kAppSettings, quote_identifier(name))));
}

void alter_database(const char* setting, const char* utf8) {
  VariableSetStmt* statement = makeNode(VariableSetStmt);
  statement->kind = utf8[0] != '\0' ? VAR_SET_VALUE : VAR_RESET;
  statement->name = pstrdup(setting);
  if (utf8[0] != '\0') statement->args = list_make1(string_constant(pstrdup(from_utf8(utf8))));
  AlterSetting(MyDatabaseId, InvalidOid, statement);
  // The next AlterSetting() changes the same row.
  CommandCounterIncrement();
}

bool append_owner_of_entry(StringInfo text, Oid database, Oid role) {
  if (OidIsValid(role)) {
    char* role_name = GetUserNameFromId(role, true);
    if (role_name == nullptr) return false;
    appendStringInfo(text, "ROLE %s", quote_identifier(role_name));
    if (OidIsValid(database)) appendStringInfo(text, " IN DATABASE %s", database_identifier());
  } else if (OidIsValid(database)) {
    appendStringInfo(text, "DATABASE %s", database_identifier());
  } else {
    appendStringInfoString(text, "ROLE ALL");
  }
  return true;
}

void warn_of_short_secret() {
  ereport(WARNING, (errmsg("the secret has fewer than %d characters and can be guessed", kShortSecret),
                    errhint("Generate a strong one, e.g. with \"openssl rand -hex 32\", and set it as CRON_SECRET in "
                            "the app, too.")));
}

namespace {

// The checked values: UTF-8, without white space around them.
struct Values {
  const char* api_url;
  const char* cron_secret;
  bool secret_is_short;
  bool keep_previous;
};

char* required(FunctionCallInfo fcinfo, int number, const char* name) {
  if (PG_ARGISNULL(number))
    ereport(ERROR,
            (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
             errhint("SELECT wee5_cron.configure('https://app.example.com', 'the secret that the app expects');")));
  return to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

core::Setting given(const char* text) {
  core::SettingCandidates candidates;
  candidates.session = text;
  return core::choose_setting(candidates);
}

// Applies the rules of a call.
void check(const char* api_url, const char* cron_secret, Values* values, TextBuffer* texts) {
  const core::Setting url = given(api_url);
  const core::Setting secret = given(cron_secret);
  if (url.value.empty() || secret.value.empty()) {
    throw core::Error(core::ErrorKind::kInvalidValue, url.value.empty() ? "api_url is blank" : "cron_secret is blank",
                      "SELECT wee5_cron.configure('https://app.example.com', 'the secret that the app expects');");
  }
  try {
    delivery::parse_api_url(url.value, guc_allow_plain_http);
    core::check_secret(secret.value);
  } catch (const core::Error& error) {
    throw core::Error(core::ErrorKind::kInvalidValue, error.message(), error.hint());
  }
  values->api_url = texts->put(url.value);
  values->cron_secret = texts->put(secret.value);
  values->secret_is_short = secret.value.size() < static_cast<std::size_t>(kShortSecret);
}

// The right to the previous secret is asked for apart, and its absence is a warning.
void check_rights_of_configure() {
  constexpr const char* kSignature = "wee5_cron.configure(text, text, text, boolean)";
  static const char* const settings[] = {kApiUrlSetting, kCronSecretSetting};
  check_rights(kSignature, settings, 2);
}

// Whether the previous secret can be stored or removed. Before there was one, a role that is no superuser was granted
// the two other settings alone: then the new secret counts, and the one that it replaces is not kept.
bool may_change_previous(const char* document) {
  Oid role = GetUserId();
  if (may_set_parameter(kPreviousSecretSetting, role)) return true;
  bool removing = document[0] == '\0';
  StoredSettings stored;
  read_stored_settings(InvalidOid, &stored);
  if (removing && stored.previous_secret.database == nullptr) return false;
  ereport(
      removing ? ERROR : WARNING,
      (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
       errmsg("permission denied to set parameter \"%s\" for role \"%s\"", kPreviousSecretSetting,
              GetUserNameFromId(role, false)),
       removing ? 0 : errdetail("The secret that is replaced is not kept: calls fail until the app has the new one."),
       errhint("A superuser may: GRANT SET ON PARAMETER %s TO %s;", kPreviousSecretSetting,
               quote_identifier(GetUserNameFromId(role, false)))));
  return false;
}

struct Overrides {
  bool roles_only;  // configure() has just stored the database's values itself
  StringInfoData whose;
  StringInfoData resets;
};

void note_override(Oid database, Oid role, const char* name, const char* value, void* arg) {
  Overrides* found = static_cast<Overrides*>(arg);
  if (found->roles_only && !OidIsValid(role)) return;
  if (pg_strcasecmp(name, kApiUrlSetting) != 0 && pg_strcasecmp(name, kCronSecretSetting) != 0) return;
  if (is_blank(value)) return;
  StringInfoData target;
  initStringInfo(&target);
  if (!append_owner_of_entry(&target, database, role)) return;
  if (found->whose.len > 0) appendStringInfoString(&found->whose, ", ");
  appendStringInfo(&found->whose, "%s (ALTER %s)", name, target.data);
  appendStringInfo(&found->resets, "%sALTER %s RESET %s;", found->resets.len > 0 ? " " : "", target.data, name);
}

void warn_of_stored_overrides(Store store) {
  Overrides found;
  found.roles_only = store == kStoreDatabase;
  initStringInfo(&found.whose);
  initStringInfo(&found.resets);
  visit_stored_entries(note_override, &found);
  if (found.whose.len > 0)
    ereport(WARNING, (errmsg("other stored values take precedence over the new ones: %s", found.whose.data),
                      errhint("%s", found.resets.data)));
}

// Warns of values that take precedence over the ones that were just stored.
void warn_of_overrides(Store store) {
  warn_of_stored_overrides(store);
  for (const char* setting : {kApiUrlSetting, kCronSecretSetting}) {
    bool is_url = setting == kApiUrlSetting;
    if (!is_blank(is_url ? session_api_url() : session_cron_secret()))
      ereport(WARNING, (errmsg("%s is set in this session, which takes precedence over the stored value", setting),
                        errhint("RESET %s;", setting)));
    if (store == kStoreVault && !is_blank(is_url ? command_line_api_url() : command_line_cron_secret()))
      ereport(WARNING,
              (errmsg("the server's command line sets %s, which takes precedence over the stored value", setting),
               errhint("Start the server without it.")));
  }
}

// The roles whose calls would combine the new address with a secret from elsewhere.
struct Mixture {
  Store store;
  VaultNames chosen;  // if the store is Vault
  StringInfoData found;
};

// Whether another value takes precedence over the one that configure() stores: one that is set for the role, or, if the
// new one goes to Vault, any that ALTER DATABASE stored.
bool takes_precedence(const StoredValue* value, const char* command_line, Store store) {
  if (!is_blank(value->role_in_database) || !is_blank(value->role)) return true;
  return store == kStoreVault && (!is_blank(value->database) || !is_blank(value->all) || !is_blank(command_line));
}

// Adds the role if its calls would go to the new address with a secret that is stored elsewhere. `role` InvalidOid: any
// role that has no settings of its own.
void note_mixture(Oid role, Mixture* mixture) {
  StoredSettings stored;
  read_stored_settings(role, &stored);
  Store store = mixture->store;
  bool other_url = takes_precedence(&stored.api_url, command_line_api_url(), store);
  bool other_secret = takes_precedence(&stored.cron_secret, command_line_cron_secret(), store);
  if (store == kStoreVault) {
    VaultNames names = stored_vault_names(&stored);
    other_url = other_url || strcmp(names.api_url, mixture->chosen.api_url) != 0;
    other_secret = other_secret || strcmp(names.cron_secret, mixture->chosen.cron_secret) != 0;
  }
  if (other_url || !other_secret) return;
  const char* name = OidIsValid(role) ? GetUserNameFromId(role, true) : "every role";
  if (name == nullptr || strstr(mixture->found.data, name) != nullptr) return;
  appendStringInfo(&mixture->found, "%s%s", mixture->found.len > 0 ? ", " : "",
                   OidIsValid(role) ? quote_identifier(name) : name);
}

void note_mixture_of_entry(Oid database, Oid role, const char* name, const char* value, void* arg) {
  (void)database;
  (void)value;
  bool of_secret = pg_strcasecmp(name, kCronSecretSetting) == 0 || pg_strcasecmp(name, kVaultCronSecretSetting) == 0;
  if (of_secret && OidIsValid(role)) note_mixture(role, static_cast<Mixture*>(arg));
}

// A user who may not read a secret must not send it to an address of his choice. Replacing the address alone would do
// that for calls whose secret is stored elsewhere and takes precedence.
void refuse_mixture(Store store, const VaultNames* chosen) {
  if (has_privs_of_role(GetSessionUserId(), ROLE_PG_READ_ALL_SETTINGS)) return;
  Mixture mixture;
  mixture.store = store;
  mixture.chosen = *chosen;
  initStringInfo(&mixture.found);
  note_mixture(InvalidOid, &mixture);
  visit_stored_entries(note_mixture_of_entry, &mixture);
  if (mixture.found.len == 0) return;
  ereport(ERROR,
          (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
           errmsg("calls by %s would send a secret that is stored elsewhere to the new address", mixture.found.data),
           errhint("Only superusers and members of pg_read_all_settings may do that. doctor() says where each value is "
                   "stored. ALTER ROLE ... RESET %s removes a secret that is stored for a role.",
                   kCronSecretSetting)));
}

// Whether calls go to this scheme, host and port already. `vault`: what Vault holds.
bool is_address_in_force(const char* api_url, VaultValues* vault) {
  StoredSettings stored;
  read_stored_settings(InvalidOid, &stored);
  read_vault(&stored, vault);
  bool is_in_force = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const core::SettingCandidates candidates =
            candidates_of(stored.api_url, command_line_api_url(), *vault, vault->api_url);
        is_in_force = delivery::same_origin(core::choose_setting(candidates).value, api_url);
      }))
    raise(&failure);
  return is_in_force;
}

// The app's further headers are secrets that configure() does not replace.
void refuse_further_headers(const char* api_url) {
  if (has_privs_of_role(GetSessionUserId(), ROLE_PG_READ_ALL_SETTINGS)) return;
  VaultValues vault;
  if (is_address_in_force(api_url, &vault) || !app_has_further_headers(vault.targets)) return;
  ereport(ERROR,
          (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
           errmsg("calls would send the secret headers of the app to the new address"),
           errhint("Only superusers and members of pg_read_all_settings may do that. Or remove the headers first: "
                   "SELECT wee5_cron.drop_target('app');")));
}

void configure(const Values* values, Store store) {
  PreventCommandIfReadOnly("wee5_cron.configure()");
  if (store == kStoreDatabase) check_rights_of_configure();
  // Two calls at once would both update the same row, or create the same name in Vault, and one would fail.
  LockSharedObject(DatabaseRelationId, MyDatabaseId, 0, ShareUpdateExclusiveLock);
  StoredSettings names;
  read_stored_settings(GetSessionUserId(), &names);
  VaultNames chosen = vault_names(&names);
  refuse_mixture(store, &chosen);
  refuse_further_headers(values->api_url);
  StoredPair next = {values->api_url, values->cron_secret};
  const char* previous = store == kStoreDatabase ? previous_after_database(&next, values->keep_previous)
                                                 : previous_after_vault(&next, values->keep_previous, &chosen);
  if (store == kStoreDatabase) {
    alter_database(kApiUrlSetting, values->api_url);
    alter_database(kCronSecretSetting, values->cron_secret);
    if (previous != nullptr && may_change_previous(previous)) alter_database(kPreviousSecretSetting, previous);
  } else {
    store_in_vault(&chosen, values->api_url, values->cron_secret, previous);
  }
  if (values->secret_is_short) warn_of_short_secret();
  warn_of_overrides(store);
}

}  // namespace

// wee5_cron.configure(api_url text, cron_secret text, store text, keep_previous boolean) -> void
WEE5_SQL_FUNCTION(wee5_cron_configure) {
  ErrorContextCallback callback;
  hide_statement("SELECT wee5_cron.configure(...)", &callback);

  const char* api_url = required(fcinfo, 0, "api_url");
  const char* cron_secret = required(fcinfo, 1, "cron_secret");
  Store store = parse_store(required(fcinfo, 2, "store"));
  // The SQL of 0.1.0 has no fourth argument.
  bool has_keep_previous = PG_NARGS() > 3;
  if (has_keep_previous && PG_ARGISNULL(3))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("keep_previous must not be NULL"),
                    errhint("Leave it out to keep the secret that is replaced for a day.")));
  Values values = {nullptr, nullptr, false, !has_keep_previous || PG_GETARG_BOOL(3)};
  TextBuffer texts = make_text_buffer(strlen(api_url) + strlen(cron_secret) + 2);
  CppFailure failure;
  if (!run_cpp(&failure, [&] { check(api_url, cron_secret, &values, &texts); })) raise(&failure);
  configure(&values, store);

  show_context(&callback);
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
