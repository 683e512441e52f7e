#pragma once

// The registry's shared memory, for the files that change it: worker_registry.cpp (everybody's side and the
// launcher's), worker_attachment.cpp (the worker's) and database_hold.cpp.

#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

struct Registry {
  LWLock* lock;
  Latch* launcher_latch;
  uint32 launches;
  pg_atomic_uint32 launcher_pending;
  pg_atomic_uint32 left_out;        // a database found no free slot
  pg_atomic_uint32 more_may_leave;  // as core::TurnPlan has it
  pg_atomic_uint32 calls_are_off;   // wee5_cron.enabled is off
  pg_atomic_uint64 ended_at;        // when a process ended last
  pg_atomic_uint64 flush_wanted;    // a log position
  int size;
  WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
};

extern Registry* registry;

struct Change {
  WorkerState before;
  WorkerState after;
};

// The only way in which a state changes. Tells the launcher where the change is of its concern: under the lock, in
// whichever mode. What the worker says of itself needs no lock.
Change change_state(WorkerSlot* slot, WorkerEvent event);

WorkerSlot* find_locked(Oid database);
// A free slot, for that database from now on; NULL: there is none.
WorkerSlot* take_slot_locked(Oid database);
void clear_slot_locked(WorkerSlot* slot);
void wake_launcher_locked();
void wake_worker_locked(WorkerSlot* slot);
// A worker that ended badly is started again later and later.
void count_failure_locked(WorkerSlot* slot);

}  // namespace wee5::pg
