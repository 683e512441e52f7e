// Utility commands that a worker must not stand in the way of, or has to hear of.
//
// DROP DATABASE, CREATE DATABASE ... TEMPLATE, RENAME and SET TABLESPACE fail while somebody is connected to the
// database; Postgres signals nobody but autovacuum. So the worker is stopped first, kept away meanwhile, and comes back
// afterwards if the database is still there. Where a cheap look shows that the statement will fail, the worker is left
// alone. COMMIT PREPARED runs no transaction callback with our rows' wake.

#include "wee5_cron/pg/hooks/hooks.h"
#include "wee5_cron/pg/hooks/subscription_watch.h"
#include "wee5_cron/pg/registry/database_hold.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/app_setting_rights.h"

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

// A database that the user may do this to, and is not connected to.
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

bool name_is_taken(const char* name) { return OidIsValid(get_database_oid(name, true)); }

// What a statement needs to itself; InvalidOid where it needs nothing, or will fail anyway.
struct Alone {
  Oid database;
  bool despite_sessions;  // it ends the sessions that are connected
};

Alone needed_by_drop(const DropdbStmt* drop) {
  Oid database = other_owned_database(drop->dbname);
  if (OidIsValid(database) && is_template(database, nullptr)) database = InvalidOid;
  return {database, option_is_given(drop->options, "force")};
}

Alone needed_by_create(const CreatedbStmt* create) {
  if (!may_create_database(GetUserId()) || name_is_taken(create->dbname)) return {InvalidOid, false};
  const char* source = option_text(create->options, "template");
  Oid database = get_database_oid(source != nullptr ? source : "template1", true);
  bool may_copy = OidIsValid(database) && (is_template(database, nullptr) || owns_database(database, GetUserId()));
  return {may_copy ? database : InvalidOid, false};
}

Alone needed_by_rename(const RenameStmt* rename) {
  bool will_fail =
      rename->renameType != OBJECT_DATABASE || !may_create_database(GetUserId()) || name_is_taken(rename->newname);
  return {will_fail ? InvalidOid : other_owned_database(rename->subname), false};
}

Alone needed_by_alter(const AlterDatabaseStmt* alter) {
  const char* name = option_text(alter->options, "tablespace");
  Oid tablespace = name != nullptr ? get_tablespace_oid(name, true) : InvalidOid;
  if (!OidIsValid(tablespace) || tablespace == GLOBALTABLESPACE_OID) return {InvalidOid, false};
  Oid database = other_owned_database(alter->dbname);
  Oid present = InvalidOid;
  if (OidIsValid(database)) is_template(database, &present);
  return {present == tablespace ? InvalidOid : database, false};
}

Alone needed_alone(Node* statement, bool top_level) {
  if (!IsTransactionState() || XactReadOnly || RecoveryInProgress()) return {InvalidOid, false};
  if (IsA(statement, RenameStmt)) return needed_by_rename(reinterpret_cast<RenameStmt*>(statement));
  // The others are refused in a transaction block, a function, or a string of several statements.
  if (IsInTransactionBlock(top_level)) return {InvalidOid, false};
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return needed_by_drop(reinterpret_cast<DropdbStmt*>(statement));
    case T_CreatedbStmt:
      return needed_by_create(reinterpret_cast<CreatedbStmt*>(statement));
    case T_AlterDatabaseStmt:
      return needed_by_alter(reinterpret_cast<AlterDatabaseStmt*>(statement));
    default:
      return {InvalidOid, false};
  }
}

// The database that a statement makes, or opens to connections again; InvalidOid: none.
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

// As call_next(), with the right to store app.settings.* asked for.
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
  Alone alone = needed_alone(statement, context == PROCESS_UTILITY_TOPLEVEL);
  // Asked before: a transaction command may free its own tree.
  bool prepared = commits_prepared(statement);
  before_subscription_changes(statement);
  bool changes_permit = may_change_permit(statement);
  bool changes_databases = IsA(statement, CreatedbStmt) || IsA(statement, AlterDatabaseStmt);
  // Let go when the transaction ends, however it ends. Not before: the launcher would still find a database that is
  // being dropped.
  if (OidIsValid(alone.database)) hold_database(alone.database, !alone.despite_sessions);
  call_next_with_rights(planned, query, read_only_tree, context, params, environment, receiver, completion);
  if (changes_permit) wake_worker_at_commit();
  if (changes_databases) wake_database_at_commit(database_that_appeared(statement));
  // Committed already, and no transaction callback will run.
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
