#include "wee5_cron/pg/registry/database_hold.h"

#include "wee5_cron/pg/registry/worker_registry_memory.h"

extern "C" {
#include "access/twophase.h"
}

namespace wee5::pg {

namespace {

constexpr long kDrainPatienceMs = 10'000;
constexpr long kEndPatienceMs = 10'000;    // after the cut
constexpr long kOthersPatienceMs = 5'000;  // Postgres itself waits so long for other sessions to go
constexpr long kLookAgainMs = 500;

List* held = NIL;  // databases, once for each hold; in TopMemoryContext

// Takes a slot even if nobody requested a worker, because the launcher may be about to look at the database.
WorkerSlot* begin_hold(Oid database) {
  MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
  held = lappend_oid(held, database);
  MemoryContextSwitchTo(old);
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot == nullptr) slot = take_slot_locked(database);
  if (slot != nullptr) {
    ++slot->holders;
    change_state(slot, WorkerEvent::kHeld);
    if (slot->latch != nullptr) SetLatch(slot->latch);
  }
  LWLockRelease(registry->lock);
  return slot;
}

void end_hold(Oid database) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot != nullptr && slot->holders > 0 && --slot->holders == 0) {
    slot->cut = false;
    slot->start_after = 0;
    if (change_state(slot, WorkerEvent::kReleased).after == WorkerState::kNone) clear_slot_locked(slot);
    if (slot->latch != nullptr) SetLatch(slot->latch);
  }
  LWLockRelease(registry->lock);
}

void release(Oid database) {
  end_hold(database);
  held = list_delete_oid(held, database);
}

bool worker_is_gone(WorkerSlot* slot) {
  WorkerState state = state_of(slot);
  return !core::has_process(state) && !core::is_launched(state);
}

void cut_off(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  slot->cut = true;
  if (slot->latch != nullptr) SetLatch(slot->latch);
  LWLockRelease(registry->lock);
}

int worker_pid(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_SHARED);
  int pid = slot->pid;
  LWLockRelease(registry->lock);
  return pid;
}

// Whether a process other than the worker and this one is connected to the database, and `matters`.
bool other_is_connected(Oid database, int worker, bool (*matters)(const PgBackendStatus*)) {
  forget_backend_statuses();
  int count = pgstat_fetch_stat_numbackends();
  for (int i = 1; i <= count; ++i) {
    const PgBackendStatus* status = backend_status(i);
    if (status == nullptr || status->st_procpid == 0 || status->st_databaseid != database) continue;
    if (status->st_procpid != worker && status->st_procpid != MyProcPid && matters(status)) return true;
  }
  return false;
}

// Postgres ends autovacuum itself.
bool is_no_autovacuum(const PgBackendStatus* status) { return status->st_backendType != B_AUTOVAC_WORKER; }

// By the rules of DROP DATABASE WITH (FORCE).
bool may_not_be_ended(const PgBackendStatus* status) {
  PGPROC* process = BackendPidGetProc(status->st_procpid);
  if (process == nullptr) return false;
  if (superuser_arg(process->roleId)) return !superuser();
  return !has_privs_of_role(GetUserId(), process->roleId) && !has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND);
}

// A prepared transaction is connected as well as a session is, and no statement ends it.
bool is_in_use(Oid database, int worker) {
  return other_is_connected(database, worker, is_no_autovacuum) || has_prepared_transactions(database);
}

void report_hold(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  snprintf(slot->last_error, sizeof(slot->last_error),
           "stopped: process %d runs a statement that needs the database to itself", MyProcPid);
  LWLockRelease(registry->lock);
}

// False if the statement will fail.
bool wait_until_gone(Oid database, WorkerSlot* slot, bool other_sessions_matter) {
  TimestampTz began = GetCurrentTimestamp();
  bool was_cut = false;
  ConditionVariablePrepareToSleep(&slot->changed);
  while (!worker_is_gone(slot)) {
    long waited_ms = static_cast<long>((GetCurrentTimestamp() - began) / 1000);
    if (waited_ms >= kDrainPatienceMs + kEndPatienceMs) break;
    if (other_sessions_matter && !was_cut && waited_ms >= kOthersPatienceMs && is_in_use(database, worker_pid(slot))) {
      ConditionVariableCancelSleep();
      return false;
    }
    if (!was_cut && waited_ms >= kDrainPatienceMs) {
      cut_off(slot);
      was_cut = true;
    }
    ConditionVariableTimedSleep(&slot->changed, kLookAgainMs, wait_event("Wee5CronWorkerStop"));
  }
  ConditionVariableCancelSleep();
  return true;
}

}  // namespace

bool has_prepared_transactions(Oid database) {
  if (max_prepared_xacts == 0) return false;
  Oid type = OIDOID;
  Datum value = ObjectIdGetDatum(database);
  PushActiveSnapshot(GetTransactionSnapshot());
  SPI_connect();
  int result =
      SPI_execute_with_args("SELECT FROM pg_catalog.pg_prepared_xact() p WHERE p.dbid OPERATOR(pg_catalog.=) $1", 1,
                            &type, &value, nullptr, true, 1);
  if (result != SPI_OK_SELECT) elog(ERROR, "could not query: %s", SPI_result_code_string(result));
  bool has = SPI_processed > 0;
  SPI_finish();
  PopActiveSnapshot();
  return has;
}

bool may_end_sessions(Oid database) {
  if (registry == nullptr) return true;
  LWLockAcquire(registry->lock, LW_SHARED);
  WorkerSlot* slot = find_locked(database);
  int worker = slot != nullptr ? slot->pid : 0;
  LWLockRelease(registry->lock);
  return !other_is_connected(database, worker, may_not_be_ended);
}

void hold_database(Oid database, bool other_sessions_matter) {
  if (registry == nullptr) return;
  WorkerSlot* slot = begin_hold(database);
  if (slot == nullptr) return;
  if (wait_until_gone(database, slot, other_sessions_matter))
    report_hold(slot);
  else
    release(database);
}

void release_held_databases() {
  if (registry == nullptr) return;
  ListCell* cell;
  foreach (cell, held) end_hold(lfirst_oid(cell));
  list_free(held);
  held = NIL;
}

}  // namespace wee5::pg
