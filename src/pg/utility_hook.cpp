// Utility commands that a worker must not stand in the way of, or has to hear of.
//
// DROP DATABASE, CREATE DATABASE ... TEMPLATE, RENAME and SET TABLESPACE fail while somebody is connected to the
// database; Postgres signals nobody but autovacuum. So the worker is stopped first, kept away meanwhile, and comes back
// afterwards if the database is still there. COMMIT PREPARED runs no transaction callback with our rows' wake.

#include "wee5_cron/pg/hooks.h"
#include "wee5_cron/pg/subscription_watch.h"
#include "wee5_cron/pg/wake.h"
#include "wee5_cron/pg/worker_registry.h"

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

Oid owned_database(const char* name) {
  Oid database = get_database_oid(name, true);
  return OidIsValid(database) && owns_database(database, GetUserId()) ? database : InvalidOid;
}

bool is_template(Oid database) {
  HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datistemplate;
  ReleaseSysCache(tuple);
  return is;
}

// The database that a statement needs to itself; InvalidOid where it needs none, or the user may not do it anyway.
Oid database_needed_alone(Node* statement) {
  if (!IsTransactionState()) return InvalidOid;
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return owned_database(reinterpret_cast<DropdbStmt*>(statement)->dbname);
    case T_CreatedbStmt: {
      if (!may_create_database(GetUserId())) return InvalidOid;
      const char* source = option_text(reinterpret_cast<CreatedbStmt*>(statement)->options, "template");
      Oid database = get_database_oid(source != nullptr ? source : "template1", true);
      return OidIsValid(database) && (is_template(database) || owns_database(database, GetUserId())) ? database
                                                                                                     : InvalidOid;
    }
    case T_RenameStmt: {
      RenameStmt* rename = reinterpret_cast<RenameStmt*>(statement);
      return rename->renameType == OBJECT_DATABASE ? owned_database(rename->subname) : InvalidOid;
    }
    case T_AlterDatabaseStmt: {
      AlterDatabaseStmt* alter = reinterpret_cast<AlterDatabaseStmt*>(statement);
      return option_text(alter->options, "tablespace") != nullptr ? owned_database(alter->dbname) : InvalidOid;
    }
    default:
      return InvalidOid;
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

void process_utility(PlannedStmt* planned, const char* query, bool read_only_tree, ProcessUtilityContext context,
                     ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                     QueryCompletion* completion) {
  Node* statement = planned->utilityStmt;
  Oid alone = database_needed_alone(statement);
  // Asked before: a transaction command may free its own tree.
  bool prepared = commits_prepared(statement);
  before_subscription_changes(statement);
  bool changes_permit = may_change_permit(statement);
  bool changes_databases = IsA(statement, CreatedbStmt) || IsA(statement, AlterDatabaseStmt);
  if (OidIsValid(alone)) {
    release_databases_at_end();
    registry_hold(alone);
  }
  call_next(planned, query, read_only_tree, context, params, environment, receiver, completion);
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
