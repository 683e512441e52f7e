// Changes the slot of a database: its state, its owner, and when its worker is started again.

#include "wee5_cron/pg/registry/worker_registry_memory.h"

namespace wee5::pg {

namespace {

void give_slot(WorkerSlot* slot, Oid database) {
  slot->database = database;
  registry->databases[slot - registry->slots] = database;
}

}  // namespace

Change change_state(WorkerSlot* slot, WorkerEvent event) {
  uint32 before = pg_atomic_read_u32(&slot->state);
  WorkerState after = core::next_state(static_cast<WorkerState>(before), event);
  while (static_cast<uint32>(after) != before &&
         !pg_atomic_compare_exchange_u32(&slot->state, &before, static_cast<uint32>(after)))
    after = core::next_state(static_cast<WorkerState>(before), event);
  Change change = {static_cast<WorkerState>(before), after};
  // The launcher knows what it does itself, and a database that got no process has waited since before.
  if (event == WorkerEvent::kLaunched || event == WorkerEvent::kLaunchFailed) return change;
  if (after == WorkerState::kWaiting && change.before != after)
    pg_atomic_write_u64(&slot->waiting_since, static_cast<uint64>(GetCurrentTimestamp()));
  if (core::concerns_launcher(change.before, after)) wake_launcher_locked();
  return change;
}

int find_index(Oid database) {
  // At the end of transactions a backend asks for the slot of its database, which rarely moves.
  static int hint = 0;
  if (registry->databases[hint] == database) return hint;
  int found = 0;
  while (found < registry->size && registry->databases[found] != database) ++found;
  if (found == registry->size) return -1;
  hint = found;
  return found;
}

WorkerSlot* find_locked(Oid database) {
  int found = find_index(database);
  return found < 0 ? nullptr : &registry->slots[found];
}

WorkerSlot* take_slot_locked(Oid database) {
  WorkerSlot* slot = find_locked(InvalidOid);
  if (slot == nullptr) return nullptr;
  clear_slot_locked(slot);
  give_slot(slot, database);
  return slot;
}

void clear_slot_locked(WorkerSlot* slot) {
  give_slot(slot, InvalidOid);
  slot->pid = 0;
  slot->latch = nullptr;
  slot->holders = 0;
  slot->cut = false;
  slot->failures = 0;
  slot->start_after = 0;
  slot->started_at = 0;
  memset(&slot->handover, 0, sizeof(slot->handover));
  pg_atomic_write_u32(&slot->asked, 0);
  pg_atomic_write_u32(&slot->first_look, 0);
  pg_atomic_write_u64(&slot->waiting_since, 0);
  pg_atomic_write_u64(&slot->at_rest_since, 0);
  pg_atomic_write_u64(&slot->due_at, 0);
  pg_atomic_write_u32(&slot->work_pending, 0);
  slot->announced.count = 0;
  slot->announced.look_from = kNothing;
  pg_atomic_write_u32(&slot->cron_job_table, InvalidOid);
  pg_atomic_write_u32(&slot->jobs_changed, 0);
  pg_atomic_write_u32(&slot->in_flight, 0);
  pg_atomic_write_u64(&slot->sent, 0);
  pg_atomic_write_u64(&slot->succeeded, 0);
  pg_atomic_write_u64(&slot->failed, 0);
  slot->last_error[0] = '\0';
  slot->earlier_sql_reported = false;
}

void wake_launcher_locked() {
  pg_atomic_write_u32(&registry->launcher_pending, 1);
  if (registry->launcher_latch != nullptr) SetLatch(registry->launcher_latch);
}

void wake_worker_locked(WorkerSlot* slot) {
  pg_atomic_write_u32(&slot->work_pending, 1);
  if (slot->latch != nullptr) SetLatch(slot->latch);
}

void count_failure_locked(WorkerSlot* slot) {
  // At once after the first failure (somebody terminated the worker), then after 1, 2, 4 ... 32 seconds.
  int wait_ms = slot->failures == 0 ? 0 : 1000 << Min(slot->failures - 1, 5);
  slot->start_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);
  ++slot->failures;
}

}  // namespace wee5::pg
