// The registry's functions for a worker, which attaches to the slot of its database, reads requests there, and
// detaches.

#include "wee5_cron/pg/registry/worker_registry_memory.h"

namespace wee5::pg {

namespace {

Oid my_database = InvalidOid;
uint32 my_launch = 0;
WorkerSlot* my_slot = nullptr;
bool extension_was_absent = false;

WorkerEvent how_it_ended(int code, WorkerSlot* slot) {
  if (code != 0) return WorkerEvent::kDied;
  // Somebody may have created the extension since this worker looked. Then a new worker looks again.
  if (pg_atomic_read_u32(&slot->work_pending) != 0 || pg_atomic_read_u32(&slot->jobs_changed) != 0)
    return WorkerEvent::kEndedWithWorkLeft;
  return extension_was_absent ? WorkerEvent::kEndedWithoutLedger : WorkerEvent::kEnded;
}

void detach_locked(WorkerSlot* slot, int code) {
  slot->pid = 0;
  slot->launch = 0;
  pg_atomic_write_u32(&slot->in_flight, 0);
  pg_atomic_write_u32(&slot->asked, 0);
  pg_atomic_write_u64(&slot->at_rest_since, 0);
  WorkerEvent event = how_it_ended(code, slot);
  if (event == WorkerEvent::kDied) {
    count_failure_locked(slot);
    slot->handover.known = false;
  }
  pg_atomic_write_u64(&registry->ended_at, static_cast<uint64>(GetCurrentTimestamp()));
  if (change_state(slot, event).after == WorkerState::kNone) clear_slot_locked(slot);
  wake_launcher_locked();
}

// When the process ends, even if it never attached, for example after an ERROR while it connected to the database. Runs
// after Postgres has taken the process out of its process array. A statement that waits for the worker to end, such as
// DROP DATABASE ... WITH (FORCE), would otherwise still find it there.
void detach_on_exit(int code, Datum arg) {
  (void)arg;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(my_database);
  bool mine = slot != nullptr && slot->launch == my_launch;
  if (mine) detach_locked(slot, code);
  my_slot = nullptr;
  LWLockRelease(registry->lock);
  if (mine) ConditionVariableBroadcast(&slot->changed);
}

// Runs before that, because nobody may set a latch whose owner is gone.
void withdraw_latch(int code, Datum arg) {
  (void)code;
  (void)arg;
  if (my_slot == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  my_slot->latch = nullptr;
  LWLockRelease(registry->lock);
}

}  // namespace

void registry_expect_worker(Oid database, uint32 launch) {
  my_database = database;
  my_launch = launch;
  on_shmem_exit(detach_on_exit, 0);
}

WorkerSlot* registry_attach_worker() {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(my_database);
  if (slot != nullptr && slot->launch == my_launch &&
      change_state(slot, WorkerEvent::kAttached).after == WorkerState::kStarting) {
    slot->pid = MyProcPid;
    slot->latch = MyLatch;
    pg_atomic_write_u32(&slot->first_look, 0);
    slot->started_at = GetCurrentTimestamp();
    pg_atomic_write_u32(&slot->asked, 0);
    pg_atomic_write_u64(&slot->at_rest_since, 0);
    pg_atomic_write_u64(&slot->due_at, 0);
    pg_atomic_write_u32(&slot->in_flight, 0);
    // It reads everything that is due, and looks at the jobs if they changed.
    pg_atomic_write_u32(&slot->work_pending, 0);
    if (pg_atomic_exchange_u32(&slot->jobs_changed, 0) != 0) slot->handover.known = false;
    slot->announced.count = 0;
    slot->announced.look_from = kNothing;
    slot->last_error[0] = '\0';
    my_slot = slot;
  }
  LWLockRelease(registry->lock);
  if (my_slot == nullptr) return nullptr;
  ConditionVariableBroadcast(&slot->changed);
  before_shmem_exit(withdraw_latch, 0);
  return my_slot;
}

void registry_note_absent() { extension_was_absent = true; }

void registry_report(WorkerSlot* slot, WorkerEvent found) { change_state(slot, found); }

LeaveRequest registry_leave_request(WorkerSlot* slot) {
  if (state_of(slot) == WorkerState::kStoppingHeld) {
    LWLockAcquire(registry->lock, LW_SHARED);
    bool cut = slot->cut;
    LWLockRelease(registry->lock);
    return cut ? LeaveRequest::kCut : LeaveRequest::kDrain;
  }
  switch (static_cast<core::GiveWay>(pg_atomic_read_u32(&slot->asked))) {
    case core::GiveWay::kAtRest:
      return LeaveRequest::kAtRest;
    case core::GiveWay::kDrained:
      return LeaveRequest::kDrain;
    case core::GiveWay::kNo:
      break;
  }
  return LeaveRequest::kNone;
}

bool registry_database_waits(WorkerSlot* slot) {
  return pg_atomic_read_u32(&slot->asked) != 0 || pg_atomic_read_u32(&registry->more_may_leave) != 0;
}

bool registry_may_leave(WorkerSlot* slot) {
  if (pg_atomic_read_u32(&slot->asked) != 0) return true;
  uint32 wanted = pg_atomic_read_u32(&registry->more_may_leave);
  while (wanted > 0)
    if (pg_atomic_compare_exchange_u32(&registry->more_may_leave, &wanted, wanted - 1)) return true;
  return false;
}

void registry_decline(WorkerSlot* slot) {
  uint32 ask = static_cast<uint32>(core::GiveWay::kAtRest);
  if (!pg_atomic_compare_exchange_u32(&slot->asked, &ask, static_cast<uint32>(core::GiveWay::kNo))) return;
  LWLockAcquire(registry->lock, LW_SHARED);
  wake_launcher_locked();
  LWLockRelease(registry->lock);
}

void registry_read_handover(WorkerSlot* slot, WorkerHandover* handover) {
  LWLockAcquire(registry->lock, LW_SHARED);
  *handover = slot->handover;
  LWLockRelease(registry->lock);
}

void registry_write_handover(WorkerSlot* slot, const WorkerHandover* handover) {
  int64 due_at = handover->next_attempt_us;
  for (int64 task_due_us : handover->tasks_due_us)
    if (task_due_us != 0 && (due_at == 0 || task_due_us < due_at)) due_at = task_due_us;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  slot->handover = *handover;
  pg_atomic_write_u64(&slot->due_at, static_cast<uint64>(due_at));
  LWLockRelease(registry->lock);
}

bool registry_ask_for_flush(XLogRecPtr position) {
  uint64 wanted = pg_atomic_read_u64(&registry->flush_wanted);
  while (wanted < position && !pg_atomic_compare_exchange_u64(&registry->flush_wanted, &wanted, position)) {
  }
  LWLockAcquire(registry->lock, LW_SHARED);
  Latch* latch = registry->launcher_latch;
  if (latch != nullptr) SetLatch(latch);
  LWLockRelease(registry->lock);
  return latch != nullptr;
}

void registry_take_announcements(WorkerSlot* slot, Announcements* taken) {
  LWLockAcquire(&slot->announced_lock, LW_EXCLUSIVE);
  taken->count = slot->announced.count;
  memcpy(taken->ranges, slot->announced.ranges, sizeof(IdRange) * static_cast<Size>(taken->count));
  taken->look_from = slot->announced.look_from;
  slot->announced.count = 0;
  slot->announced.look_from = kNothing;
  LWLockRelease(&slot->announced_lock);
}

void registry_watch(Oid relation) { pg_atomic_write_u32(&my_slot->cron_job_table, relation); }

void registry_set_error(WorkerSlot* slot, const char* message) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  strlcpy(slot->last_error, message, sizeof(slot->last_error));
  LWLockRelease(registry->lock);
}

void registry_note_success(WorkerSlot* slot) {
  // While a worker is attached, nobody else changes this.
  if (slot->failures == 0) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  slot->failures = 0;
  LWLockRelease(registry->lock);
}

}  // namespace wee5::pg
