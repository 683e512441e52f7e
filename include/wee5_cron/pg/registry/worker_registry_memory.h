#pragma once

// The registry's shared memory, for the files of this room: slot_state.cpp (a slot and its state), worker_registry.cpp
// (for backends and the launcher), worker_attachment.cpp (for the worker) and database_hold.cpp.

#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

struct Registry {
  LWLock* lock;
  Latch* launcher_latch;
  uint32 launches;
  pg_atomic_uint32 launcher_pending;
  pg_atomic_uint32 left_out;        // a database found no free slot
  pg_atomic_uint32 more_may_leave;  // of core::TurnPlan
  pg_atomic_uint32 calls_are_off;   // wee5_cron.enabled is off
  pg_atomic_uint64 ended_at;        // when a process last ended
  pg_atomic_uint64 flush_wanted;    // a log position
  // WorkerSlot::database of each slot, side by side: a search of the slots, at the end of transactions, reads one page
  // instead of a page for every two slots.
  Oid* databases;
  int size;
  WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
};

extern Registry* registry;

struct Change {
  WorkerState before;
  WorkerState after;
};

// The only function that changes a slot's state; core/worker/worker_state.hpp has the transitions. Wakes the launcher
// if the change concerns it. Needs the registry's lock in any mode, except for what a worker reports of itself.
Change change_state(WorkerSlot* slot, WorkerEvent event);

// The index of the slot; -1: none.
int find_index(Oid database);
WorkerSlot* find_locked(Oid database);
// Gives a free slot to the database; NULL: there is none.
WorkerSlot* take_slot_locked(Oid database);
void clear_slot_locked(WorkerSlot* slot);
void wake_launcher_locked();
void wake_worker_locked(WorkerSlot* slot);
// Delays the next start after a worker that ended badly, for longer each time.
void count_failure_locked(WorkerSlot* slot);

}  // namespace wee5::pg
