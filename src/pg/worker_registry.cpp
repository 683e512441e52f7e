#include "wee5_cron/pg/worker_registry.h"

namespace wee5::pg {

namespace {

constexpr int kMinimumSlots = 512;
constexpr long kHoldPatienceMs = 10'000;

struct Registry {
  LWLock* lock;
  Latch* launcher_latch;
  pg_atomic_uint32 launcher_pending;
  pg_atomic_uint32 left_out;      // a database found no free slot
  pg_atomic_uint64 flush_wanted;  // a log position
  int size;
  WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
};

Registry* registry = nullptr;
WorkerSlot* my_slot = nullptr;  // of a worker
bool extension_was_absent = false;

shmem_startup_hook_type previous_startup_hook = nullptr;
SharedMemoryRequestHook previous_request_hook = nullptr;

int slots_wanted() { return Max(kMinimumSlots, max_worker_processes); }

Size registry_bytes() {
  return add_size(offsetof(Registry, slots), mul_size(static_cast<Size>(slots_wanted()), sizeof(WorkerSlot)));
}

void clear_slot(WorkerSlot* slot) {
  slot->database = InvalidOid;
  slot->pid = 0;
  slot->latch = nullptr;
  slot->launched = false;
  slot->held_by = 0;
  slot->failures = 0;
  slot->start_after = 0;
  slot->started_at = 0;
  pg_atomic_write_u32(&slot->work_pending, 0);
  SpinLockAcquire(&slot->announced_lock);
  slot->announced.count = 0;
  slot->announced.look_from = kNothing;
  SpinLockRelease(&slot->announced_lock);
  pg_atomic_write_u32(&slot->cron_job_table, InvalidOid);
  pg_atomic_write_u32(&slot->jobs_changed, 0);
  pg_atomic_write_u32(&slot->state, static_cast<uint32>(WorkerState::kWanted));
  pg_atomic_write_u32(&slot->in_flight, 0);
  pg_atomic_write_u64(&slot->sent, 0);
  pg_atomic_write_u64(&slot->succeeded, 0);
  pg_atomic_write_u64(&slot->failed, 0);
  slot->last_error[0] = '\0';
}

void init_slot(WorkerSlot* slot) {
  pg_atomic_init_u32(&slot->work_pending, 0);
  pg_atomic_init_u32(&slot->cron_job_table, InvalidOid);
  pg_atomic_init_u32(&slot->jobs_changed, 0);
  pg_atomic_init_u32(&slot->state, 0);
  pg_atomic_init_u32(&slot->in_flight, 0);
  pg_atomic_init_u64(&slot->sent, 0);
  pg_atomic_init_u64(&slot->succeeded, 0);
  pg_atomic_init_u64(&slot->failed, 0);
  ConditionVariableInit(&slot->changed);
  SpinLockInit(&slot->announced_lock);
  clear_slot(slot);
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
    pg_atomic_init_u32(&registry->launcher_pending, 0);
    pg_atomic_init_u32(&registry->left_out, 0);
    pg_atomic_init_u64(&registry->flush_wanted, 0);
    registry->size = slots_wanted();
    for (int i = 0; i < registry->size; ++i) init_slot(&registry->slots[i]);
  }
  LWLockRelease(AddinShmemInitLock);
}

WorkerSlot* find_locked(Oid database) {
  // A backend asks for its own at every commit: it is mostly where it was.
  static int hint = 0;
  if (registry->slots[hint].database == database) return &registry->slots[hint];
  for (int i = 0; i < registry->size; ++i)
    if (registry->slots[i].database == database) {
      hint = i;
      return &registry->slots[i];
    }
  return nullptr;
}

void wake_launcher_locked() {
  pg_atomic_write_u32(&registry->launcher_pending, 1);
  if (registry->launcher_latch != nullptr) SetLatch(registry->launcher_latch);
}

void announce(WorkerSlot* slot, IdRange range) {
  Announcements* announced = &slot->announced;
  SpinLockAcquire(&slot->announced_lock);
  if (range.first > 0 && announced->count < kAnnouncements)
    announced->ranges[announced->count++] = range;
  else
    announced->look_from = Min(announced->look_from, range.first);
  SpinLockRelease(&slot->announced_lock);
}

void wake_worker_locked(WorkerSlot* slot, IdRange range) {
  announce(slot, range);
  pg_atomic_write_u32(&slot->work_pending, 1);
  if (slot->latch != nullptr) SetLatch(slot->latch);
}

constexpr IdRange kAllIds = {0, kNothing};

// A free slot, for that database from now on; NULL: there is none.
WorkerSlot* take_slot_locked(Oid database) {
  WorkerSlot* slot = find_locked(InvalidOid);
  if (slot == nullptr) return nullptr;
  clear_slot(slot);
  slot->database = database;
  return slot;
}

void forget_launcher(int code, Datum arg) {
  (void)code;
  (void)arg;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  registry->launcher_latch = nullptr;
  LWLockRelease(registry->lock);
}

// A worker's end. Runs after Postgres took the process out of its process array: who waits for the worker to be gone
// (DROP DATABASE ... WITH (FORCE), say) would otherwise still find it there.
void detach_on_exit(int code, Datum arg) {
  (void)arg;
  WorkerSlot* slot = my_slot;
  if (slot == nullptr) return;
  my_slot = nullptr;
  if (code != 0) registry_count_failure(slot);
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  slot->pid = 0;
  pg_atomic_write_u32(&slot->in_flight, 0);
  pg_atomic_write_u32(&slot->state, static_cast<uint32>(WorkerState::kWanted));
  // Somebody may have created the extension again since we looked: then a new worker looks again.
  bool wanted_again = pg_atomic_read_u32(&slot->work_pending) != 0;
  if (extension_was_absent && !wanted_again && slot->held_by == 0) clear_slot(slot);
  wake_launcher_locked();
  LWLockRelease(registry->lock);
  ConditionVariableBroadcast(&slot->changed);
}

// Earlier than that: a latch that is no longer its owner's must not be set.
void withdraw_latch(int code, Datum arg) {
  (void)code;
  (void)arg;
  if (my_slot == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  my_slot->latch = nullptr;
  LWLockRelease(registry->lock);
}

}  // namespace

const char* worker_state_name(WorkerState state) {
  switch (state) {
    case WorkerState::kWanted:
    case WorkerState::kStarting:
      return "starting";
    case WorkerState::kIdle:
      return "idle";
    case WorkerState::kSending:
      return "sending";
    case WorkerState::kBlocked:
      return "blocked";
    case WorkerState::kIncompatible:
      return "incompatible";
    case WorkerState::kStopping:
      return "stopping";
  }
  return "starting";
}

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
  if (slot != nullptr) wake_worker_locked(slot, {first, last});
  LWLockRelease(registry->lock);
  if (slot == nullptr) registry_want(database);
}

void registry_take_announcements(WorkerSlot* slot, Announcements* taken) {
  SpinLockAcquire(&slot->announced_lock);
  taken->count = slot->announced.count;
  memcpy(taken->ranges, slot->announced.ranges, sizeof(IdRange) * static_cast<Size>(taken->count));
  taken->look_from = slot->announced.look_from;
  slot->announced.count = 0;
  slot->announced.look_from = kNothing;
  SpinLockRelease(&slot->announced_lock);
}

// Asked while invalidation messages are read, so without the lock. What it reads changes when a worker comes or goes; a
// wrong answer is a wake too many, or one that the worker's start makes up for.
bool registry_watches(Oid relation) {
  if (registry == nullptr) return false;
  for (int i = 0; i < registry->size; ++i)
    if (registry->slots[i].database == MyDatabaseId)
      return pg_atomic_read_u32(&registry->slots[i].cron_job_table) == relation;
  return false;
}

bool registry_sees_pg_cron() {
  if (registry == nullptr) return false;
  for (int i = 0; i < registry->size; ++i)
    if (OidIsValid(registry->slots[i].database) && pg_atomic_read_u32(&registry->slots[i].cron_job_table) != InvalidOid)
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
  }
  LWLockRelease(registry->lock);
}

void registry_want(Oid database) {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot == nullptr) slot = take_slot_locked(database);
  if (slot != nullptr) {
    slot->start_after = 0;
    wake_worker_locked(slot, kAllIds);
  } else {
    pg_atomic_write_u32(&registry->left_out, 1);
  }
  wake_launcher_locked();
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
    if (slot != nullptr) wake_worker_locked(slot, kAllIds);
  }
  LWLockRelease(registry->lock);
  return slot != nullptr;
}

void registry_hold(Oid database) {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(database);
  if (slot != nullptr && slot->held_by == 0) slot->held_by = MyProcPid;
  if (slot != nullptr) wake_worker_locked(slot, kAllIds);
  LWLockRelease(registry->lock);
  if (slot == nullptr) return;

  TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kHoldPatienceMs);
  ConditionVariablePrepareToSleep(&slot->changed);
  for (;;) {
    LWLockAcquire(registry->lock, LW_SHARED);
    bool gone = slot->database != database || (slot->pid == 0 && !slot->launched);
    LWLockRelease(registry->lock);
    if (gone || GetCurrentTimestamp() >= deadline) break;
    ConditionVariableTimedSleep(&slot->changed, 1000, wait_event("Wee5CronWorkerStop"));
  }
  ConditionVariableCancelSleep();
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  if (slot->database == database && slot->held_by == MyProcPid)
    snprintf(slot->last_error, sizeof(slot->last_error),
             "stopped for a statement that needs the database to itself, of process %d", MyProcPid);
  LWLockRelease(registry->lock);
}

void registry_release_mine() {
  if (registry == nullptr) return;
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  for (int i = 0; i < registry->size; ++i) {
    WorkerSlot* slot = &registry->slots[i];
    if (slot->held_by != MyProcPid) continue;
    slot->held_by = 0;
    slot->start_after = 0;
    wake_launcher_locked();
  }
  LWLockRelease(registry->lock);
}

void registry_attach_launcher() {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  registry->launcher_latch = MyLatch;
  // What an earlier launcher started without seeing it attach is not this one's: it is told apart when it attaches.
  for (int i = 0; i < registry->size; ++i) registry->slots[i].launched = false;
  LWLockRelease(registry->lock);
  before_shmem_exit(forget_launcher, 0);
}

bool registry_take_launcher_request() { return pg_atomic_exchange_u32(&registry->launcher_pending, 0) != 0; }

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

void registry_flush_log() {
  static XLogRecPtr flushed = InvalidXLogRecPtr;
  XLogRecPtr wanted = pg_atomic_read_u64(&registry->flush_wanted);
  if (wanted <= flushed) return;
  XLogFlush(wanted);
  flushed = wanted;
}

void registry_count_failure(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  slot->launched = false;
  // At once after the first (somebody terminated it), then 1, 2, 4 ... 32 seconds later.
  int wait_ms = slot->failures == 0 ? 0 : 1000 << Min(slot->failures - 1, 5);
  slot->start_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);
  ++slot->failures;
  LWLockRelease(registry->lock);
  ConditionVariableBroadcast(&slot->changed);
}

void registry_forget(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  if (slot->pid == 0) clear_slot(slot);
  LWLockRelease(registry->lock);
  ConditionVariableBroadcast(&slot->changed);
}

void registry_expect_worker() { on_shmem_exit(detach_on_exit, 0); }

WorkerSlot* registry_attach_worker() {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  WorkerSlot* slot = find_locked(MyDatabaseId);
  if (slot != nullptr) slot->launched = false;
  if (slot != nullptr && slot->pid == 0 && slot->held_by == 0) {
    slot->pid = MyProcPid;
    slot->latch = MyLatch;
    slot->started_at = GetCurrentTimestamp();
    pg_atomic_write_u32(&slot->state, static_cast<uint32>(WorkerState::kStarting));
    pg_atomic_write_u32(&slot->work_pending, 1);
    pg_atomic_write_u32(&slot->in_flight, 0);
    pg_atomic_write_u64(&slot->sent, 0);
    pg_atomic_write_u64(&slot->succeeded, 0);
    pg_atomic_write_u64(&slot->failed, 0);
    slot->last_error[0] = '\0';
    my_slot = slot;
  }
  LWLockRelease(registry->lock);
  if (slot != nullptr) ConditionVariableBroadcast(&slot->changed);
  if (my_slot != nullptr) before_shmem_exit(withdraw_latch, 0);
  return my_slot;
}

void registry_note_absent() { extension_was_absent = true; }

bool registry_held(WorkerSlot* slot) {
  LWLockAcquire(registry->lock, LW_SHARED);
  bool held = slot->held_by != 0;
  LWLockRelease(registry->lock);
  return held;
}

void registry_watch(Oid relation) { pg_atomic_write_u32(&my_slot->cron_job_table, relation); }

void registry_set_error(WorkerSlot* slot, const char* message) {
  LWLockAcquire(registry->lock, LW_EXCLUSIVE);
  strlcpy(slot->last_error, message, sizeof(slot->last_error));
  LWLockRelease(registry->lock);
}

}  // namespace wee5::pg
