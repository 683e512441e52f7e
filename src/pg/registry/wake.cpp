// What a transaction tells the worker of its database when it ends.
//
// One part of it runs at every commit that wrote something, in databases with a job table that a worker watches, and in
// those only: see hear_last_changes(). pg_cron announces a changed job to its own launcher by an invalidation of its
// table, from a trigger and from C functions, and offers no hook. A trigger of ours on its table would be an object of
// ours that another extension's dump, update or drop trips over.

#include "wee5_cron/pg/registry/wake.h"

#include "wee5_cron/pg/registry/database_hold.h"
#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

namespace {

bool wake_wanted = false;
// The calls that this transaction made; first 0: none. One that a savepoint took back is harmless: there is no row.
IdRange calls_made = {0, 0};
bool jobs_changed = false;
// Tables of which this transaction has heard a change. Beyond so many: one of them may well have been cron.job.
constexpr int kChangedTables = 8;
Oid changed_tables[kChangedTables];
int changed_table_count = 0;
List* other_databases = NIL;  // in TopTransactionContext
bool wrote_something = false;
bool heard_last_changes = false;

void want_other_databases() {
  ListCell* cell;
  foreach (cell, other_databases) registry_want(lfirst_oid(cell));
}

// pg_cron tells its own launcher of a changed job by an invalidation of its table, which the changing session sees as
// well: the worker, which does not look before the next run is due, hears of it at commit. Others that read the message
// have most often not written anything. Only at commit it is known whether the worker watches the table: one that has
// just been started, and looked at the jobs before they were committed, said so after the change.
void note_changed_table(Datum arg, Oid relation) {
  (void)arg;
  if (!OidIsValid(relation) || jobs_changed || !TransactionIdIsValid(GetTopTransactionIdIfAny())) return;
  for (int i = 0; i < changed_table_count; ++i)
    if (changed_tables[i] == relation) return;
  if (changed_table_count == kChangedTables)
    jobs_changed = true;
  else
    changed_tables[changed_table_count++] = relation;
}

bool jobs_may_have_changed() {
  Oid watched = registry_watched_table();
  if (!OidIsValid(watched)) return jobs_changed;
  for (int i = 0; i < changed_table_count; ++i) jobs_changed = jobs_changed || changed_tables[i] == watched;
  return jobs_changed;
}

// A worker may have begun to watch, and looked at the jobs, between our last command and our commit: then we heard
// nothing, and it saw nothing.
bool missed_last_changes() { return wrote_something && !heard_last_changes && OidIsValid(registry_watched_table()); }

// What the last statement changed is told to this session only after its commit, if there is no further statement: too
// late for us. So the transaction has a command boundary more, where all that is to be told is.
void hear_last_changes() {
  wrote_something = TransactionIdIsValid(GetTopTransactionIdIfAny());
  if (!wrote_something || !OidIsValid(registry_watched_table())) return;
  heard_last_changes = true;
  CommandCounterIncrement();
  // One that changed no row of its own, as pg_cron's last word about its jobs, is no command to the counter.
  CommandEndInvalidationMessages();
}

// At COMMIT the rows are visible already, and it is too late for an error: nothing here can raise. A PREPARE forgets
// the wish; COMMIT PREPARED, possibly by another session, wakes through the utility hook.
void at_transaction_end(XactEvent event, void* arg) {
  (void)arg;
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
      hear_last_changes();
      return;
    case XACT_EVENT_COMMIT:
      if (wake_wanted)
        registry_wake(MyDatabaseId);
      else if (calls_made.first > 0)
        registry_announce(MyDatabaseId, calls_made.first, calls_made.last);
      if (jobs_may_have_changed() || missed_last_changes()) registry_note_jobs_changed();
      want_other_databases();
      break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
      break;
    default:
      return;
  }
  release_held_databases();
  wrote_something = false;
  heard_last_changes = false;
  wake_wanted = false;
  calls_made = {0, 0};
  jobs_changed = false;
  changed_table_count = 0;
  other_databases = NIL;
}

}  // namespace

void install_wake() {
  RegisterXactCallback(at_transaction_end, nullptr);
  CacheRegisterRelcacheCallback(note_changed_table, 0);
}
void wake_worker_at_commit() { wake_wanted = true; }

void announce_call_at_commit(long long id) {
  if (calls_made.first == 0) calls_made = {id, id};
  calls_made.first = Min(calls_made.first, id);
  calls_made.last = Max(calls_made.last, id);
}

void note_jobs_changed() { jobs_changed = true; }
void wake_database_at_commit(unsigned int database) {
  if (!OidIsValid(database)) return;
  MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
  other_databases = lappend_oid(other_databases, database);
  MemoryContextSwitchTo(old);
}

}  // namespace wee5::pg
