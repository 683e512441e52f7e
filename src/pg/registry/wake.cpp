// What a transaction tells the worker of its database when it ends.
//
// One part runs at every commit that wrote something, but only in databases with a job table that a worker watches: see
// hear_last_changes(). pg_cron announces a changed job to its launcher by invalidating its table, from a trigger and
// from C functions, and has no hook. A trigger of this extension on pg_cron's table would get in the way of another
// extension's dump, update or drop.

#include "wee5_cron/pg/registry/wake.h"

#include "wee5_cron/pg/registry/database_hold.h"
#include "wee5_cron/pg/registry/worker_registry.h"

extern "C" {
#include "access/twophase.h"
#include "replication/logicalworker.h"
}

namespace wee5::pg {

namespace {

bool wake_wanted = false;
// The calls that this transaction made; first 0: none. A call that was rolled back to a savepoint is harmless: it has
// no row.
IdRange calls_made = {0, 0};
bool jobs_changed = false;
// Tables that were invalidated in this transaction. If there are more, one of them may have been cron.job.
constexpr int kChangedTables = 8;
Oid changed_tables[kChangedTables];
int changed_table_count = 0;
List* other_databases = NIL;  // in TopTransactionContext
bool wrote_something = false;
bool heard_last_changes = false;

// pg_cron tells its launcher about a changed job by invalidating its table. The changing session sees this message,
// too, and passes it on at commit to the worker, which would not look before the next run is due. Most sessions that
// read the message have written nothing. Whether the worker watches the table is known only at commit: a worker that
// started meanwhile, and looked at the jobs before they were committed, says so after the change.
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
  if (changed_table_count == 0) return jobs_changed;
  Oid watched = registry_watched_table();
  for (int i = 0; i < changed_table_count; ++i) jobs_changed = jobs_changed || changed_tables[i] == watched;
  return jobs_changed;
}

// A worker may have begun to watch, and looked at the jobs, between the last command and the commit. Then neither the
// transaction nor the worker noticed the change.
bool missed_last_changes() { return wrote_something && !heard_last_changes && OidIsValid(registry_watched_table()); }

// A session gets the messages about its last statement only after the commit, which is too late. So this adds a command
// boundary, where they are delivered.
void hear_last_changes() {
  wrote_something = TransactionIdIsValid(GetTopTransactionIdIfAny());
  if (!wrote_something || !OidIsValid(registry_watched_table())) return;
  heard_last_changes = true;
  CommandCounterIncrement();
  // The counter ignores a command that changed no row, such as pg_cron's invalidation of its table.
  CommandEndInvalidationMessages();
}

// The process that applies the changes of a subscription runs no statement for COMMIT PREPARED. It commits the prepared
// transaction within one of its own that writes nothing, and has few others of that kind.
void note_applied_prepared_transaction() {
  if (wrote_something || !IsLogicalWorker() || max_prepared_xacts == 0 || registry_find(MyDatabaseId) == nullptr)
    return;
  wake_wanted = true;
  jobs_changed = true;
}

void forget_transaction() {
  wake_wanted = false;
  calls_made = {0, 0};
  jobs_changed = false;
  changed_table_count = 0;
  other_databases = NIL;
  wrote_something = false;
  heard_last_changes = false;
}

// A PREPARE drops what this transaction has to tell; COMMIT PREPARED, perhaps in another session, wakes through the
// utility hook, and in a process that applies changes through note_applied_prepared_transaction().
void at_transaction_end(XactEvent event, void* arg) {
  (void)arg;
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
      hear_last_changes();
      note_applied_prepared_transaction();
      return;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
      forget_transaction();
      break;
    case XACT_EVENT_COMMIT:
      break;
    default:
      return;
  }
  release_held_databases();
}

// A commit invalidates what other processes remember after its callbacks, and before it releases its last resources. A
// worker that is woken earlier may look, find its memory valid, and go back to sleep for good. Or it sends a call of
// this transaction by a policy that this transaction has replaced.
//
// It is too late for an error: nothing here can raise. The wake comes before the calls: a worker that is quick looks
// for what was cancelled before it sends a call that this transaction made and cancelled.
void tell_worker(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void* arg) {
  (void)arg;
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_commit || !is_top_level) return;
  if (jobs_may_have_changed() || missed_last_changes()) registry_note_jobs_changed();
  ListCell* cell;
  foreach (cell, other_databases) registry_request_worker(lfirst_oid(cell));
  if (wake_wanted) registry_wake(MyDatabaseId);
  if (calls_made.first > 0) registry_announce(MyDatabaseId, calls_made.first, calls_made.last);
  // The resources of the transaction have several owners: this function is called again.
  forget_transaction();
}

}  // namespace

void install_wake() {
  RegisterXactCallback(at_transaction_end, nullptr);
  RegisterResourceReleaseCallback(tell_worker, nullptr);
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
