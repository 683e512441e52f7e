#include "wee5_cron/pg/settings/vault.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/ended_transactions.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/boundary/quiet_statements.h"
#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

constexpr const char* kExtension = "supabase_vault";

constexpr const char* kTargetsName = "cron_targets";

// $1 name of the api_url, $2 name of the secret, $3 name of the previous secret, $4 name of the targets
constexpr const char* kRead =
    "SELECT name, decrypted_secret FROM vault.decrypted_secrets"
    " WHERE name OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2, $3, $4])";

// $1 name
constexpr const char* kFind = "SELECT id FROM vault.secrets WHERE name OPERATOR(pg_catalog.=) $1";
// $1 name, $2 value, $3 description
constexpr const char* kCreate = "SELECT vault.create_secret(new_secret => $2, new_name => $1, new_description => $3)";
// $1 name
constexpr const char* kDelete = "DELETE FROM vault.secrets WHERE name OPERATOR(pg_catalog.=) $1";
// $1 id, $2 value
constexpr const char* kUpdate = "SELECT vault.update_secret(secret_id => $1, new_secret => $2)";

SPIPlanPtr read_plan = nullptr;

const char* choose_name(const char* session, const StoredValue* stored, const char* server) {
  for (const char* name :
       {session, static_cast<const char*>(stored->role_in_database), static_cast<const char*>(stored->role),
        static_cast<const char*>(stored->database), static_cast<const char*>(stored->all)})
    if (!is_blank(name)) return name;
  return server;
}

VaultNames names_of(const char* api_url, const char* cron_secret) {
  return {api_url, cron_secret, psprintf("%s_previous", cron_secret)};
}

const char* role_identifier(Oid role) { return quote_identifier(GetUserNameFromId(role, false)); }

// Vault cannot even update a secret that was encrypted with another key. It must be deleted and stored again.
char* store_anew_hint(const VaultNames* names) {
  return psprintf(
      "DELETE FROM vault.secrets WHERE name IN (%s, %s); SELECT wee5_cron.configure('https://app.example.com', 'the "
      "secret that the app expects', store => 'vault');",
      quote_literal_cstr(names->api_url), quote_literal_cstr(names->cron_secret));
}

char* read_hint(int sqlstate, const VaultNames* names) {
  if (sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
    return pstrdup(
        "Store both without Vault: SELECT wee5_cron.configure('https://app.example.com', 'the secret that "
        "the app expects');");
  if (sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE) return store_anew_hint(names);
  const char* role = role_identifier(GetUserId());
  return psprintf(
      "The owner of the extension wee5_cron reads it: GRANT USAGE ON SCHEMA vault TO %s; GRANT SELECT ON "
      "vault.decrypted_secrets TO %s; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vault TO %s;",
      role, role, role);
}

// Locks the relation vault.<name>; raises if it is not the extension's.
Oid locked_relation(const char* name, Oid extension, LOCKMODE mode) {
  Oid relation = relation_of_extension("vault", name, extension);
  if (OidIsValid(relation)) {
    LockRelationOid(relation, mode);
    // Somebody may have replaced it before we got the lock. LockRelationOid() has read the messages about that.
    if (relation_of_extension("vault", name, extension) == relation) return relation;
  }
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("vault.%s does not belong to the extension %s", name, kExtension)));
  pg_unreachable();
}

// Keeps the value as it is, with white space.
void keep_value(char** target, char* value, const char* name, MemoryContext context) {
  if (*target != nullptr)
    ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION), errmsg("Vault holds several secrets named \"%s\"", name)));
  if (value != nullptr) *target = MemoryContextStrdup(context, to_utf8_lossy(value));
}

void query(Snapshot snapshot, Oid extension, const VaultNames* names, MemoryContext context, VaultValues* values) {
  locked_relation("decrypted_secrets", extension, AccessShareLock);
  Oid types[4] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
  Datum parameters[4] = {CStringGetTextDatum(names->api_url), CStringGetTextDatum(names->cron_secret),
                         CStringGetTextDatum(names->previous_secret), CStringGetTextDatum(kTargetsName)};
  SPI_connect();
  int result = SPI_execute_snapshot(kept_plan(&read_plan, kRead, 4, types), parameters, nullptr, snapshot,
                                    InvalidSnapshot, true, false, 0);
  if (result != SPI_OK_SELECT) elog(ERROR, "unexpected result: %s", SPI_result_code_string(result));
  for (uint64 i = 0; i < SPI_processed; ++i) {
    const char* name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
    char* value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
    if (strcmp(name, names->api_url) == 0) keep_value(&values->api_url, value, name, context);
    if (strcmp(name, names->cron_secret) == 0) keep_value(&values->cron_secret, value, name, context);
    if (strcmp(name, names->previous_secret) == 0) keep_value(&values->previous_secret, value, name, context);
    if (strcmp(name, kTargetsName) == 0) keep_value(&values->targets, value, name, context);
  }
  SPI_finish();
}

// Whether the error is not Vault's answer: somebody cancels, a resource is short, or a lock or transaction conflicts.
bool is_transient(int sqlstate) {
  int category = ERRCODE_TO_CATEGORY(sqlstate);
  return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

// Reads in a subtransaction: if Vault refuses, the caller's transaction must go on where missing_config is `skip`, and
// the worker must go on for roles that do not need Vault.
void read_at(Snapshot snapshot, Oid extension, const VaultNames* names, VaultValues* values) {
  MemoryContext context = CurrentMemoryContext;
  ErrorData* error;
  if (in_subtransaction([=] { query(snapshot, extension, names, context, values); }, &error)) return;
  if (is_transient(error->sqlerrcode)) ReThrowError(error);
  memset(values, 0, sizeof(*values));
  values->trouble = to_utf8_lossy(error->message);
  values->hint = to_utf8_lossy(read_hint(error->sqlerrcode, names));
}

// The values of Vault as they were last read. Decrypting them again would cost more than the call.
struct Remembered {
  MemoryContext context;  // holds the texts; NULL: none yet
  uint64 ended;           // ended transactions before the read; 0: the values must not be used
  Oid user;
  Oid extension;
  VaultNames names;
  VaultValues values;
};
Remembered remembered;

char* copy_text(const char* text) { return text != nullptr ? pstrdup(text) : nullptr; }

VaultValues copy_values(const VaultValues* values) {
  return {copy_text(values->api_url),
          copy_text(values->cron_secret),
          copy_text(values->previous_secret),
          copy_text(values->targets),
          nullptr,
          nullptr};
}

bool same_names(const VaultNames* one, const VaultNames* other) {
  return strcmp(one->api_url, other->api_url) == 0 && strcmp(one->cron_secret, other->cron_secret) == 0;
}

void remember(uint64 ended, Oid extension, const VaultNames* names, const VaultValues* values) {
  if (remembered.context == nullptr)
    remembered.context = AllocSetContextCreate(TopMemoryContext, "wee5_cron Vault", ALLOCSET_SMALL_SIZES);
  // If memory runs out halfway, nothing is remembered.
  remembered.ended = 0;
  MemoryContextReset(remembered.context);
  MemoryContext old = MemoryContextSwitchTo(remembered.context);
  remembered.names = {pstrdup(names->api_url), pstrdup(names->cron_secret), pstrdup(names->previous_secret)};
  remembered.values = copy_values(values);
  MemoryContextSwitchTo(old);
  remembered.user = GetUserId();
  remembered.extension = extension;
  remembered.ended = ended;
}

// Reads Vault as of `snapshot`, before which `ended` transactions had ended. If none has ended since the last read, and
// this transaction has not written to Vault, the remembered values are still right.
void read_as_of(Snapshot snapshot, uint64 ended, Oid extension, const VaultNames* names, VaultValues* values) {
  Oid secrets = relation_of_extension("vault", "secrets", extension);
  bool changing = !OidIsValid(secrets) || changed_here(MyDatabaseId, secrets);
  if (ended != 0 && !changing && remembered.ended == ended && remembered.user == GetUserId() &&
      remembered.extension == extension && same_names(&remembered.names, names)) {
    *values = copy_values(&remembered.values);
    return;
  }
  read_at(snapshot, extension, names, values);
  if (ended != 0 && !changing && values->trouble == nullptr) remember(ended, extension, names, values);
}

Oid vault_extension() {
  ExtensionInfo extension;
  find_extension(kExtension, &extension);
  return extension.oid;
}

}  // namespace

VaultNames vault_names(const StoredSettings* stored) {
  return names_of(choose_name(session_vault_api_url(), &stored->vault_api_url, server_vault_api_url()),
                  choose_name(session_vault_cron_secret(), &stored->vault_cron_secret, server_vault_cron_secret()));
}

VaultNames stored_vault_names(const StoredSettings* stored) {
  return names_of(choose_name(nullptr, &stored->vault_api_url, server_vault_api_url()),
                  choose_name(nullptr, &stored->vault_cron_secret, server_vault_cron_secret()));
}

FreshSnapshot take_fresh_snapshot() {
  Snapshot latest = GetLatestSnapshot();
  // The registered copy does not carry the count.
  uint64 ended = latest->snapXactCompletionCount;
  return {RegisterSnapshot(latest), ended};
}

namespace {

// Where there is no schema of its name there is no Vault, which costs less to find out than whether the extension is
// installed.
bool needs_no_vault(const SessionSettings* session, const StoredSettings* stored, bool needs_targets) {
  if (needs_targets && OidIsValid(get_namespace_oid("vault", true))) return false;
  bool has_url = is_set(&stored->api_url) || !is_blank(command_line_api_url()) ||
                 (session != nullptr && !is_blank(session->api_url));
  bool has_secret = is_set(&stored->cron_secret) || !is_blank(command_line_cron_secret()) ||
                    (session != nullptr && !is_blank(session->cron_secret));
  return has_url && has_secret;
}

}  // namespace

void complete_from_vault_at(const FreshSnapshot* now, Oid role, const SessionSettings* session, StoredSettings* stored,
                            VaultValues* vault) {
  memset(vault, 0, sizeof(*vault));
  if (needs_no_vault(session, stored, true)) return;
  Oid extension = vault_extension();
  if (!OidIsValid(extension)) return;
  read_stored_settings_at(now->snapshot, role, stored);
  VaultNames names = vault_names(stored);
  read_as_of(now->snapshot, now->ended, extension, &names, vault);
}

void complete_from_vault(Oid role, const SessionSettings* session, bool needs_targets, StoredSettings* stored,
                         VaultValues* vault) {
  memset(vault, 0, sizeof(*vault));
  if (needs_no_vault(session, stored, needs_targets)) return;
  FreshSnapshot now = take_fresh_snapshot();
  complete_from_vault_at(&now, role, session, stored, vault);
  UnregisterSnapshot(now.snapshot);
}

void read_vault(const StoredSettings* stored, VaultValues* vault) {
  VaultNames names = vault_names(stored);
  read_vault_by_names(&names, vault);
}

void read_vault_by_names(const VaultNames* names, VaultValues* vault) {
  memset(vault, 0, sizeof(*vault));
  Oid extension = vault_extension();
  if (!OidIsValid(extension)) return;
  FreshSnapshot now = take_fresh_snapshot();
  read_as_of(now.snapshot, now.ended, extension, names, vault);
  UnregisterSnapshot(now.snapshot);
}

namespace {

// Every role with ALL on the table can create a trigger there, which would run with our rights and see the secret.
void refuse_foreign_triggers(Oid table, Oid extension) {
  Relation relation = table_open(table, NoLock);
  const TriggerDesc* triggers = relation->trigdesc;
  const char* foreign = nullptr;
  for (int i = 0; triggers != nullptr && i < triggers->numtriggers && foreign == nullptr; ++i) {
    const Trigger* trigger = &triggers->triggers[i];
    if (!trigger->tgisinternal && !belongs_to_extension(ProcedureRelationId, trigger->tgfoid, extension))
      foreign = pstrdup(trigger->tgname);
  }
  table_close(relation, NoLock);
  if (foreign == nullptr) return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("trigger \"%s\" on vault.secrets does not belong to the extension %s", foreign, kExtension),
                  errdetail("It would run with the rights of the owner of wee5_cron and see the secret."),
                  errhint("DROP TRIGGER %s ON vault.secrets;", quote_identifier(foreign))));
}

void need_function(const char* name, Oid extension) {
  bool foreign;
  Oid function = function_of_extension("vault", name, extension, &foreign);
  if (OidIsValid(function) && !foreign) return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("vault.%s(...) does not belong to the extension %s", name, kExtension),
                  errhint("Drop the function that is not Vault's, or: ALTER EXTENSION %s UPDATE;", kExtension)));
}

int spi_select(const char* statement, int count, Oid* types, Datum* values) {
  int result = SPI_execute_with_args(statement, count, types, values, nullptr, false, 0);
  if (result != SPI_OK_SELECT) elog(ERROR, "unexpected result: %s", SPI_result_code_string(result));
  return static_cast<int>(SPI_processed);
}

void create_or_update(const char* name, const char* value, const char* description) {
  Oid types[3] = {TEXTOID, TEXTOID, TEXTOID};
  Datum values[3] = {CStringGetTextDatum(name), CStringGetTextDatum(value), CStringGetTextDatum(description)};
  if (spi_select(kFind, 1, types, values) == 0) {
    spi_select(kCreate, 3, types, values);
    return;
  }
  Oid update_types[2] = {UUIDOID, TEXTOID};
  bool is_null;
  Datum id = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  Datum update_values[2] = {id, values[1]};
  spi_select(kUpdate, 2, update_types, update_values);
}

// A role that may not delete it empties it.
void remove_secret(const char* name) {
  Oid types[1] = {TEXTOID};
  Datum values[1] = {CStringGetTextDatum(name)};
  if (spi_select(kFind, 1, types, values) == 0) return;
  Oid table = get_relname_relid("secrets", get_namespace_oid("vault", false));
  if (pg_class_aclcheck(table, GetUserId(), ACL_DELETE) != ACLCHECK_OK) {
    create_or_update(name, "{}", "");
    return;
  }
  int result = SPI_execute_with_args(kDelete, 1, types, values, nullptr, false, 0);
  if (result != SPI_OK_DELETE) elog(ERROR, "unexpected result: %s", SPI_result_code_string(result));
}

void keep_previous(const char* name, const char* document) {
  if (document == nullptr) return;
  if (document[0] == '\0')
    remove_secret(name);
  else
    create_or_update(name, from_utf8(document), "wee5_cron: the bearer secret that the app expected before");
}

// An error may quote the row that Postgres could not write, with the secret in it.
[[noreturn]] void rethrow_without_values(const char* secret, const VaultNames* names, MemoryContext context) {
  MemoryContextSwitchTo(context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  error->detail = nullptr;
  error->detail_log = nullptr;
  error->context = nullptr;
  error->internalquery = nullptr;
  if (error->message != nullptr && strstr(error->message, secret) != nullptr)
    error->message = pstrdup("Vault refused the secret");
  if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE) {
    const char* role = role_identifier(GetUserId());
    error->hint = psprintf(
        "The owner of the extension wee5_cron writes it: GRANT USAGE ON SCHEMA vault TO %s; GRANT SELECT, INSERT, "
        "UPDATE ON vault.secrets TO %s; GRANT SELECT ON vault.decrypted_secrets TO %s; GRANT EXECUTE ON ALL FUNCTIONS "
        "IN "
        "SCHEMA vault TO %s;",
        role, role, role, role);
  } else if (error->hint == nullptr && !is_transient(error->sqlerrcode)) {
    error->hint = store_anew_hint(names);
  }
  ReThrowError(error);
  pg_unreachable();
}

}  // namespace

namespace {

// Runs `store` as the current user, with no statement in the log. `secret`: what no error may show.
template <class Store>
void write_to_vault(const VaultNames* names, const char* secret, Store store) {
  Oid extension = vault_extension();
  if (!OidIsValid(extension))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the extension %s is not installed in this database", kExtension),
                    errhint("CREATE EXTENSION %s; or leave store out: then ALTER DATABASE stores both.", kExtension)));
  refuse_foreign_triggers(locked_relation("secrets", extension, RowExclusiveLock), extension);
  need_function("create_secret", extension);
  need_function("update_secret", extension);
  MemoryContext context = CurrentMemoryContext;
  int nest_level = NewGUCNestLevel();
  silence_statements();
  PG_TRY();
  {
    SPI_connect();
    store();
    SPI_finish();
  }
  PG_CATCH();
  { rethrow_without_values(secret, names, context); }
  PG_END_TRY();
  AtEOXact_GUC(true, nest_level);
}

}  // namespace

void store_in_vault(const VaultNames* names, const char* api_url, const char* cron_secret,
                    const char* previous_secret) {
  const char* url = from_utf8(api_url);
  const char* secret = from_utf8(cron_secret);
  write_to_vault(names, secret, [=] {
    create_or_update(names->api_url, url, "wee5_cron: where the app is");
    create_or_update(names->cron_secret, secret, "wee5_cron: the bearer secret that the app expects");
    keep_previous(names->previous_secret, previous_secret);
  });
}

void store_targets_in_vault(const char* document) {
  const char* text = from_utf8(document);
  VaultNames names = {kTargetsName, kTargetsName, kTargetsName};
  write_to_vault(&names, text, [text] {
    if (text[0] == '\0')
      remove_secret(kTargetsName);
    else
      create_or_update(kTargetsName, text, "wee5_cron: other apps that are called, with their secrets");
  });
}

}  // namespace wee5::pg
