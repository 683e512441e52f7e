// Utility commands that the worker would block, or that it must hear of.
//
// DROP DATABASE, CREATE DATABASE ... TEMPLATE, RENAME and SET TABLESPACE fail while a process is connected to the
// database, and Postgres signals only autovacuum. So the hook stops the worker first and keeps it away until the
// transaction ends. It comes back afterwards if the database still exists. If a cheap check shows that the statement
// will fail, the worker goes on. COMMIT PREPARED runs no transaction callback, so the hook wakes the worker itself.

#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/hooks/hooks.h"
#include "wee5_cron/pg/hooks/subscription_watch.h"
#include "wee5_cron/pg/registry/database_hold.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/app_setting_rights.h"

extern "C" {
#include "catalog/pg_subscription.h"
#include "parser/parse_node.h"
#include "replication/slot.h"
}

namespace wee5::pg {

namespace {

ProcessUtility_hook_type next_hook = nullptr;

const char* option_text(List* options, const char* name) {
  ListCell* cell;
  foreach (cell, options) {
    DefElem* option = reinterpret_cast<DefElem*>(lfirst(cell));
    if (strcmp(option->defname, name) == 0 && option->arg != nullptr) return defGetString(option);
  }
  return nullptr;
}

bool option_is_given(List* options, const char* name) {
  ListCell* cell;
  foreach (cell, options)
    if (strcmp(reinterpret_cast<DefElem*>(lfirst(cell))->defname, name) == 0) return true;
  return false;
}

// The database of that name, if the user owns it and is not connected to it.
Oid other_owned_database(const char* name) {
  Oid database = get_database_oid(name, true);
  if (!OidIsValid(database) || database == MyDatabaseId) return InvalidOid;
  return owns_database(database, GetUserId()) ? database : InvalidOid;
}

bool is_template(Oid database, Oid* tablespace) {
  HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(tuple)) return false;
  Form_pg_database form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
  bool is = form->datistemplate;
  if (tablespace != nullptr) *tablespace = form->dattablespace;
  ReleaseSysCache(tuple);
  return is;
}

bool may_create_in_tablespace(Oid tablespace) {
  return DatumGetBool(DirectFunctionCall3(has_tablespace_privilege_id_id, ObjectIdGetDatum(GetUserId()),
                                          ObjectIdGetDatum(tablespace), CStringGetTextDatum("CREATE")));
}

bool name_is_taken(const char* name) { return OidIsValid(get_database_oid(name, true)); }

// The database that nobody may be connected to while a statement runs; InvalidOid: none, or the statement will fail
// anyway.
struct ExclusiveDatabase {
  Oid database;
  bool ends_sessions;  // the statement ends the connected sessions itself
};

// What Postgres refuses to drop, whoever is connected. WITH (FORCE) does not end what was prepared, and no session that
// the user may not end.
bool cannot_be_dropped(Oid database, bool force) {
  int slots;
  int active_slots = 0;
  ReplicationSlotsCountDBSlots(database, &slots, &active_slots);
  return is_template(database, nullptr) || active_slots > 0 || CountDBSubscriptions(database) > 0 ||
         (force && (has_prepared_transactions(database) || !may_end_sessions(database)));
}

ExclusiveDatabase database_of_drop(const DropdbStmt* drop) {
  bool force = option_is_given(drop->options, "force");
  Oid database = other_owned_database(drop->dbname);
  if (OidIsValid(database) && cannot_be_dropped(database, force)) database = InvalidOid;
  return {database, force};
}

// Runs Postgres's own checks of a CREATE DATABASE, under a name that is taken: to find that is the last check before
// the one of who is connected. Takes the lock that the statement will take, so a statement that waits for another one
// holds nothing meanwhile. What the checks have to say, they say when the statement runs.
bool passes_other_checks(const CreatedbStmt* create, char* source, const char* query) {
  CreatedbStmt trial = *create;
  trial.dbname = source;
  ParseState* state = make_parsestate(nullptr);
  state->p_sourcetext = query;
  ErrorData* error;
  in_subtransaction(
      [&] {
        SetConfigOption("client_min_messages", "error", PGC_SUSET, PGC_S_SESSION);
        SetConfigOption("log_min_messages", "fatal", PGC_SUSET, PGC_S_SESSION);
        createdb(state, &trial);
      },
      &error);
  if (error != nullptr && error->sqlerrcode == ERRCODE_QUERY_CANCELED) ReThrowError(error);
  return error != nullptr && error->sqlerrcode == ERRCODE_DUPLICATE_DATABASE;
}

ExclusiveDatabase database_of_create(const CreatedbStmt* create, const char* query) {
  const char* named = option_text(create->options, "template");
  char* source = pstrdup(named != nullptr ? named : "template1");
  if (name_is_taken(create->dbname) || !passes_other_checks(create, source, query)) return {InvalidOid, false};
  return {get_database_oid(source, true), false};
}

ExclusiveDatabase database_of_rename(const RenameStmt* rename) {
  bool will_fail =
      rename->renameType != OBJECT_DATABASE || !may_create_database(GetUserId()) || name_is_taken(rename->newname);
  return {will_fail ? InvalidOid : other_owned_database(rename->subname), false};
}

// If files of the database are in that tablespace already, it fails, too, but only after a checkpoint, which removes
// those of dropped tables. So that cannot be known before.
ExclusiveDatabase database_of_alter(const AlterDatabaseStmt* alter) {
  const char* name = list_length(alter->options) == 1 ? option_text(alter->options, "tablespace") : nullptr;
  Oid tablespace = name != nullptr ? get_tablespace_oid(name, true) : InvalidOid;
  if (!OidIsValid(tablespace) || tablespace == GLOBALTABLESPACE_OID || !may_create_in_tablespace(tablespace))
    return {InvalidOid, false};
  Oid database = other_owned_database(alter->dbname);
  Oid present = InvalidOid;
  if (OidIsValid(database)) is_template(database, &present);
  return {present == tablespace ? InvalidOid : database, false};
}

ExclusiveDatabase exclusive_database_of(Node* statement, const char* query, bool top_level) {
  if (!IsTransactionState() || XactReadOnly || RecoveryInProgress()) return {InvalidOid, false};
  if (IsA(statement, RenameStmt)) return database_of_rename(reinterpret_cast<RenameStmt*>(statement));
  // The others are refused in a transaction block, a function, or a string of several statements.
  if (IsInTransactionBlock(top_level)) return {InvalidOid, false};
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return database_of_drop(reinterpret_cast<DropdbStmt*>(statement));
    case T_CreatedbStmt:
      return database_of_create(reinterpret_cast<CreatedbStmt*>(statement), query);
    case T_AlterDatabaseStmt:
      return database_of_alter(reinterpret_cast<AlterDatabaseStmt*>(statement));
    default:
      return {InvalidOid, false};
  }
}

// The database that a statement creates, or opens to connections again; InvalidOid: none.
Oid database_that_appeared(Node* statement) {
  switch (nodeTag(statement)) {
    case T_CreatedbStmt:
      return get_database_oid(reinterpret_cast<CreatedbStmt*>(statement)->dbname, true);
    case T_AlterDatabaseStmt:
      return get_database_oid(reinterpret_cast<AlterDatabaseStmt*>(statement)->dbname, true);
    default:
      return InvalidOid;
  }
}

bool commits_prepared(Node* statement) {
  return IsA(statement, TransactionStmt) &&
         reinterpret_cast<TransactionStmt*>(statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

void call_next(PlannedStmt* planned, const char* query, bool read_only_tree, ProcessUtilityContext context,
               ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
               QueryCompletion* completion) {
  if (next_hook != nullptr)
    next_hook(planned, query, read_only_tree, context, params, environment, receiver, completion);
  else
    standard_ProcessUtility(planned, query, read_only_tree, context, params, environment, receiver, completion);
}

// The same, while storing app.settings.* needs the right to do so.
void call_next_with_rights(PlannedStmt* planned, const char* query, bool read_only_tree, ProcessUtilityContext context,
                           ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                           QueryCompletion* completion) {
  if (!stores_settings(planned->utilityStmt)) {
    call_next(planned, query, read_only_tree, context, params, environment, receiver, completion);
    return;
  }
  ask_for_right_to_app_settings(true);
  PG_TRY();
  { call_next(planned, query, read_only_tree, context, params, environment, receiver, completion); }
  PG_CATCH();
  {
    ask_for_right_to_app_settings(false);
    PG_RE_THROW();
  }
  PG_END_TRY();
  ask_for_right_to_app_settings(false);
}

void process_utility(PlannedStmt* planned, const char* query, bool read_only_tree, ProcessUtilityContext context,
                     ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                     QueryCompletion* completion) {
  Node* statement = planned->utilityStmt;
  ExclusiveDatabase exclusive = exclusive_database_of(statement, query, context == PROCESS_UTILITY_TOPLEVEL);
  // Look at the statement before it runs: a transaction command may free its own tree.
  bool prepared = commits_prepared(statement);
  before_subscription_changes(statement);
  bool changes_permit = may_change_permit(statement);
  bool changes_databases = IsA(statement, CreatedbStmt) || IsA(statement, AlterDatabaseStmt);
  // The hold ends with the transaction, however that ends. Any earlier, the launcher would still find a database that
  // is being dropped.
  if (OidIsValid(exclusive.database)) hold_database(exclusive.database, !exclusive.ends_sessions);
  call_next_with_rights(planned, query, read_only_tree, context, params, environment, receiver, completion);
  if (changes_permit) wake_worker_at_commit();
  if (changes_databases) wake_database_at_commit(database_that_appeared(statement));
  // The prepared transaction has committed, and no transaction callback runs.
  if (prepared) {
    registry_wake(MyDatabaseId);
    registry_note_jobs_changed();
  }
}

}  // namespace

void install_utility_hook() {
  next_hook = ProcessUtility_hook;
  ProcessUtility_hook = process_utility;
}

}  // namespace wee5::pg
