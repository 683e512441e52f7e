#include "wee5_cron/pg/registry/worker_registry_memory.h"

namespace wee5::pg {

Registry* registry = nullptr;

namespace {

constexpr int kMinimumSlots = 512;
constexpr int64 kJustEndedUs = 1'000'000;

shmem_startup_hook_type previous_startup_hook = nullptr;
SharedMemoryRequestHook previous_request_hook = nullptr;

int slots_wanted() { return Max(kMinimumSlots, max_worker_processes); }

Size registry_bytes() {
  Size slots = static_cast<Size>(slots_wanted());
  return add_size(offsetof(Registry, slots), mul_size(slots, sizeof(WorkerSlot) + sizeof(Oid)));
}

void init_slot(WorkerSlot* slot, int tranche) {
  pg_atomic_init_u32(&slot->state, static_cast<uint32>(WorkerState::kNone));
  pg_atomic_init_u32(&slot->asked, 0);
  pg_atomic_init_u32(&slot->first_look, 0);
  pg_atomic_init_u64(&slot->waiting_since, 0);
  pg_atomic_init_u64(&slot->at_rest_since, 0);
  pg_atomic_init_u64(&slot->due_at, 0);
  pg_atomic_init_u32(&slot->work_pending, 0);
  pg_atomic_init_u32(&slot->cron_job_table, InvalidOid);
  pg_atomic_init_u32(&slot->jobs_changed, 0);
  pg_atomic_init_u32(&slot->in_flight, 0);
  pg_atomic_init_u64(&slot->sent, 0);
  pg_atomic_init_u64(&slot->succeeded, 0);
  pg_atomic_init_u64(&slot->failed, 0);
  ConditionVariableInit(&slot->changed);
  LWLockInitialize(&slot->announced_lock, tranche);
  slot->launch = 0;
  clear_slot_locked(slot);
}

void request_memory() {
  if (previous_request_hook != nullptr) previous_request_hook();
  RequestAddinShmemSpace(registry_bytes());
  RequestNamedLWLockTranche("wee5_cron", 1);
}

void set_up_memory() {
  if (previous_startup_hook != nullptr) previous_startup_hook();
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  registry = static_cast<Registry*>(ShmemInitStruct("wee5_cron", registry_bytes(), &found));
  if (!found) {
    registry->lock = &GetNamedLWLockTranche("wee5_cron")->lock;
    registry->launcher_latch = nullptr;
    registry->launches = 0;
    pg_atomic_init_u32(&registry->launcher_pending, 0);
    pg_atomic_init_u32(&registry->left_out, 0);
    pg_atomic_init_u32(&registry->more_may_leave, 0);
    pg_atomic_init_u32(&registry->calls_are_off, 0);
    pg_atomic_init_u64(&registry->ended_at, 0);
    pg_atomic_init_u64(&registry->flush_wanted, 0);
    registry->size = slots_wanted();
    registry->databases = reinterpret_cast<Oid*>(&registry->slots[registry->size]);
    for (int i = 0; i < registry->size; ++i) init_slot(&registry->slots[i], registry->lock->tranche);
  }
  LWLockRelease(AddinShmemInitLock);
}

void announce(WorkerSlot* slot, IdRange range) {
  Announcements* announced = &slot->announced;
  LWLockAcquire(&slot->announced_lock, LW_EXCLUSIVE);
  if (range.first > 0 && announced->count < kAnnouncements)
    announced->ranges[announced->count++] = range;
  else
    announced->look_from = Min(announced->look_from, range.first);
  LWLockRelease(&slot->announced_lock);
}

constexpr IdRange kAllIds = {0, kNothing};

void want_locked(WorkerSlot* slot, IdRange range) {
  announce(slot, range);
  wake_worker_locked(slot);
  pg_atomic_write_u32(&slot->first_look, 0);
  change_state(slot, WorkerEvent::kWanted);
}

void forget_launcher(int code, Datum arg) {
  (void)code;
  (void)arg;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  registry->launcher_latch = nullptr;
  LWLockRelease(registry->lock);
}

}  // namespace

void install_registry() {
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = set_up_memory;
  previous_request_hook = on_shared_memory_request(request_memory);
}

bool registry_exists() { return registry != nullptr; }
int registry_size() { return registry != nullptr ? registry->size : 0; }
WorkerSlot* registry_slot(int index) { return &registry->slots[index]; }
LWLock* registry_lock() { return registry->lock; }

WorkerSlot* registry_find(Oid database) {
  if (registry == nullptr) return nullptr;
  LWLockAcquire(registry->lock, LW_SHARED);
  WorkerSlot* slot = find_locked(database);
  LWLockRelease(registry->lock);
  return slot;
}

void registry_wake(Oid database) { registry_announce(database, kAllIds.first, kAllIds.last); }

void registry_announce(Oid database, int64 first, int64 last) {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_SHARED);
  WorkerSlot* slot = find_locked(database);
  if (slot != nullptr) want_locked(slot, {first, last});
  LWLockRelease(registry->lock);
  if (slot == nullptr) registry_request_worker(database);
}

void registry_request_worker(Oid database) {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot == nullptr) slot = take_slot_locked(database);
  if (slot != nullptr) {
    slot->start_after = 0;
    want_locked(slot, kAllIds);
  } else {
    pg_atomic_write_u32(&registry->left_out, 1);
    wake_launcher_locked();
  }
  LWLockRelease(registry->lock);
}

void registry_switch_calls(bool on) {
  if (registry != nullptr) pg_atomic_write_u32(&registry->calls_are_off, on ? 0 : 1);
}

bool registry_calls_are_off() { return registry != nullptr && pg_atomic_read_u32(&registry->calls_are_off) != 0; }

// Called at every commit that writes, hence without the lock. What it reads changes when a worker comes or goes. A
// wrong answer costs a superfluous wake, or misses one that the worker's start makes up for.
Oid registry_watched_table() {
  if (registry == nullptr) return InvalidOid;
  int found = find_index(MyDatabaseId);
  return found < 0 ? InvalidOid : pg_atomic_read_u32(&registry->slots[found].cron_job_table);
}

bool registry_sees_pg_cron() {
  if (registry == nullptr) return false;
  for (int i = 0; i < registry->size; ++i)
    if (OidIsValid(registry->databases[i]) && pg_atomic_read_u32(&registry->slots[i].cron_job_table) != InvalidOid)
      return true;
  return false;
}

void registry_note_jobs_changed() {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_SHARED);
  WorkerSlot* slot = find_locked(MyDatabaseId);
  if (slot != nullptr) {
    pg_atomic_write_u32(&slot->jobs_changed, 1);
    if (slot->latch != nullptr) SetLatch(slot->latch);
    pg_atomic_write_u32(&slot->first_look, 0);
    change_state(slot, WorkerEvent::kWanted);
  }
  LWLockRelease(registry->lock);
}

bool registry_take_left_out() { return pg_atomic_exchange_u32(&registry->left_out, 0) != 0; }

bool registry_has_free_slot() {
  LWLockAcquire(registry->lock, LW_SHARED);
  bool has = find_locked(InvalidOid) != nullptr;
  LWLockRelease(registry->lock);
  return has;
}

bool registry_offer_slot(Oid database) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot == nullptr) {
    slot = take_slot_locked(database);
    if (slot != nullptr) {
      want_locked(slot, kAllIds);
      pg_atomic_write_u32(&slot->first_look, 1);
    }
  } else if (state_of(slot) == WorkerState::kReserved) {
    // A statement has the database to itself. A worker looks at it afterwards.
    change_state(slot, WorkerEvent::kWanted);
  }
  LWLockRelease(registry->lock);
  return slot != nullptr;
}

void registry_attach_launcher() {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  registry->launcher_latch = MyLatch;
  // A process that an earlier launcher started and that has not attached is not waited for: attaching will fail.
  for (int i = 0; i < registry->size; ++i) change_state(&registry->slots[i], WorkerEvent::kLauncherCame);
  LWLockRelease(registry->lock);
  before_shmem_exit(forget_launcher, 0);
}

bool registry_take_launcher_request() { return pg_atomic_exchange_u32(&registry->launcher_pending, 0) != 0; }

void registry_start_over() {
  uint64 now = static_cast<uint64>(GetCurrentTimestamp());
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  for (int i = 0; i < registry->size; ++i) {
    WorkerSlot* slot = &registry->slots[i];
    slot->start_after = 0;
    for (pg_atomic_uint64* since : {&slot->waiting_since, &slot->at_rest_since})
      if (pg_atomic_read_u64(since) != 0) pg_atomic_write_u64(since, now);
  }
  LWLockRelease(registry->lock);
}

void registry_view_places(core::WorkerPlace* places) {
  LWLockAcquire(registry->lock, LW_SHARED);
  for (int i = 0; i < registry->size; ++i) {
    WorkerSlot* slot = &registry->slots[i];
    core::WorkerPlace* place = &places[i];
    place->state = OidIsValid(slot->database) ? state_of(slot) : WorkerState::kNone;
    place->first_look = pg_atomic_read_u32(&slot->first_look) != 0;
    place->waiting_since = static_cast<int64>(pg_atomic_read_u64(&slot->waiting_since));
    place->start_after = slot->start_after;
    place->started_at = slot->started_at;
    place->at_rest_since = static_cast<int64>(pg_atomic_read_u64(&slot->at_rest_since));
    place->due_at = static_cast<int64>(pg_atomic_read_u64(&slot->due_at));
  }
  LWLockRelease(registry->lock);
}

uint32 registry_begin_launch(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  uint32 launch = 0;
  if (change_state(slot, WorkerEvent::kLaunched).after == WorkerState::kLaunched) {
    if (++registry->launches == 0) ++registry->launches;
    slot->launch = launch = registry->launches;
  }
  LWLockRelease(registry->lock);
  return launch;
}

void registry_end_launch(WorkerSlot* slot, WorkerEvent event) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  if (core::is_launched(state_of(slot))) {
    slot->launch = 0;
    if (event == WorkerEvent::kDied) count_failure_locked(slot);
    change_state(slot, event);
  }
  LWLockRelease(registry->lock);
  ConditionVariableBroadcast(&slot->changed);
}

void registry_forget(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  if (change_state(slot, WorkerEvent::kDatabaseGone).after == WorkerState::kNone) clear_slot_locked(slot);
  LWLockRelease(registry->lock);
  ConditionVariableBroadcast(&slot->changed);
}

void registry_wake_due(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_SHARED);
  change_state(slot, WorkerEvent::kWanted);
  LWLockRelease(registry->lock);
}

void registry_wake_standstills() {
  LWLockAcquire(registry->lock, LW_SHARED);
  for (int i = 0; i < registry->size; ++i) {
    WorkerSlot* slot = &registry->slots[i];
    if (state_of(slot) == WorkerState::kAsleep && !slot->handover.known) change_state(slot, WorkerEvent::kWanted);
  }
  LWLockRelease(registry->lock);
}

void registry_note_no_process(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  if (state_of(slot) == WorkerState::kWaiting)
    strlcpy(slot->last_error, "waits for its turn: all background workers of max_worker_processes are in use",
            sizeof(slot->last_error));
  LWLockRelease(registry->lock);
}

void registry_ask(const core::GiveWay* asks, int more_may_leave) {
  LWLockAcquire(registry->lock, LW_SHARED);
  pg_atomic_write_u32(&registry->more_may_leave, static_cast<uint32>(more_may_leave));
  for (int i = 0; i < registry->size; ++i) {
    WorkerSlot* slot = &registry->slots[i];
    uint32 ask = static_cast<uint32>(asks[i]);
    if (pg_atomic_exchange_u32(&slot->asked, ask) != ask && slot->latch != nullptr) SetLatch(slot->latch);
  }
  LWLockRelease(registry->lock);
}

bool registry_process_just_ended() {
  int64 ended_at = static_cast<int64>(pg_atomic_read_u64(&registry->ended_at));
  return ended_at != 0 && GetCurrentTimestamp() - ended_at < kJustEndedUs;
}

void registry_flush_log() {
  static XLogRecPtr flushed = InvalidXLogRecPtr;
  XLogRecPtr wanted = pg_atomic_read_u64(&registry->flush_wanted);
  if (wanted <= flushed) return;
  XLogFlush(wanted);
  flushed = wanted;
}

}  // namespace wee5::pg
