#pragma once

#include "wee5_cron/core/worker_life.hpp"
#include "wee5_cron/core/worker_turns.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/registry/history_walk.h"

namespace wee5::pg {

using core::WorkerEvent;
using core::WorkerState;

inline constexpr int kLastErrorBytes = 512;

// What committed transactions tell the worker about the calls they made, so that it can look at these alone: each one
// the range of its ids, or, where there are too many transactions, the lowest id of all of them. Commits come in any
// order, so a range says nothing about ids below it.
inline constexpr int kAnnouncements = 64;
inline constexpr int64 kNothing = PG_INT64_MAX;
struct IdRange {
  int64 first;
  int64 last;
};
struct Announcements {
  int count;
  IdRange ranges[kAnnouncements];
  int64 look_from;  // any id from here on may be new; 0: all, kNothing: none beside the ranges
};

// What a worker leaves to the next one of its database: when it wanted to do something again, and how far it had come.
// Times in microseconds since 2000; 0: not by itself.
inline constexpr int kChores = 5;
struct LeftBehind {
  bool known;  // false: the next worker does everything at once
  int64 next_attempt_us;
  int64 chores_us[kChores];
  HistoryWalk history;
};

// A database that has, or may have, a worker. Plain memory shared by all processes. The atomics may be read by
// anybody at any time, and `state` changes by change_state() alone; all else is changed and read under the registry's
// lock, but for what was announced, which has a lock of its own.
struct WorkerSlot {
  Oid database;   // InvalidOid: the slot is free
  int pid;        // of the attached worker, 0: none
  Latch* latch;   // the worker's, NULL: none
  uint32 launch;  // number of the process that may attach
  int holders;    // statements that need the database to itself
  bool cut;       // one of them waits no longer for requests
  int failures;   // times in a row that a worker ended badly: the launcher waits longer each time
  TimestampTz start_after;
  TimestampTz started_at;
  LeftBehind left_behind;
  pg_atomic_uint32 state;          // WorkerState
  pg_atomic_uint32 asked;          // core::GiveWay
  pg_atomic_uint32 first_look;     // the launcher alone asked for a worker, to look
  pg_atomic_uint64 waiting_since;  // TimestampTz, as the next two
  pg_atomic_uint64 at_rest_since;
  pg_atomic_uint64 due_at;
  pg_atomic_uint32 work_pending;  // set before the latch, cleared before the ledger is read: no wake can be lost
  LWLock announced_lock;
  Announcements announced;          // written before work_pending
  pg_atomic_uint32 cron_job_table;  // the oid of cron.job in its database, as a worker saw it; 0: not known
  pg_atomic_uint32 jobs_changed;    // somebody changed that table
  pg_atomic_uint32 in_flight;
  // Since the server started, by all workers of the database.
  pg_atomic_uint64 sent;
  pg_atomic_uint64 succeeded;
  pg_atomic_uint64 failed;
  ConditionVariable changed;  // the worker came or went
  char last_error[kLastErrorBytes];
};

inline WorkerState state_of(WorkerSlot* slot) { return static_cast<WorkerState>(pg_atomic_read_u32(&slot->state)); }

// Shared memory: to be requested and set up by the hooks that install_registry() installs (preload only).
void install_registry();
bool registry_exists();
int registry_size();
WorkerSlot* registry_slot(int index);
LWLock* registry_lock();

// A backend's side.
// Whether the worker of some database has found pg_cron in it.
bool registry_sees_pg_cron();
// There is work: wakes the worker, or has one started. Never raises.
void registry_wake(Oid database);                               // anywhere in the ledger
void registry_announce(Oid database, int64 first, int64 last);  // calls with ids in this range
// Somebody shall look whether the database has the extension. Where no slot is free, the launcher is told that somebody
// was left out.
void registry_want(Oid database);
WorkerSlot* registry_find(Oid database);
// Whether wee5_cron.enabled is on, as the launcher saw it last. A session sees a reload only when its command ends, so
// a command that waits asks here.
void registry_switch_calls(bool on);
bool registry_calls_are_off();

// The table of this database whose changes its worker wants to hear of; InvalidOid: none.
Oid registry_watched_table();
void registry_note_jobs_changed();  // there was one: wakes the worker. Never raises.

// The launcher's side.
void registry_attach_launcher();
bool registry_take_launcher_request();
void registry_flush_log();  // as far as the workers asked for it
bool registry_take_left_out();
bool registry_has_free_slot();
bool registry_offer_slot(Oid database);  // as registry_want(), but nothing for one that has a slot; false: none is free
void registry_view_places(core::WorkerPlace* places);  // one for each slot
// The number for the process that is to be started there; 0: nobody is waited for there any more.
uint32 registry_begin_launch(WorkerSlot* slot);
void registry_end_launch(WorkerSlot* slot, WorkerEvent event);  // there is no process, or it ended unseen
void registry_forget(WorkerSlot* slot);                         // its database is gone
void registry_wake_due(WorkerSlot* slot);                       // the time has come that its worker left behind
void registry_wake_those_that_stood_still();                    // a setting may have kept them from working
void registry_note_no_process(WorkerSlot* slot);                // says so in last_error
void registry_ask(const core::GiveWay* asks, int more_may_leave);
bool registry_process_just_ended();  // whose place Postgres is about to free

// The worker's side. registry_expect_worker() comes before the connection to the database: exit callbacks run last
// first, and its own has to run after the connection's. Attaching fails for a process that is not the one waited for,
// and where the database is held.
void registry_expect_worker(Oid database, uint32 launch);
WorkerSlot* registry_attach_worker();
void registry_note_absent();  // the database does not have the extension: the slot is free when the worker is gone
void registry_report(WorkerSlot* slot, WorkerEvent found);  // what it is doing. Takes no lock.
void registry_left_behind(WorkerSlot* slot, LeftBehind* left);
enum class Asked { kNothing, kLeaveAtRest, kDrain, kCut };
Asked registry_asked(WorkerSlot* slot);
bool registry_somebody_waits(WorkerSlot* slot);
bool registry_may_leave(WorkerSlot* slot);  // somebody waits, and nobody has rested longer
void registry_decline(WorkerSlot* slot);    // it was asked to leave at rest, and is at work
void registry_leave_behind(WorkerSlot* slot, const LeftBehind* left);
// Has the log flushed up to this position by the launcher, so that the worker need not wait for the disk. False where
// there is no launcher to do it.
bool registry_ask_for_flush(XLogRecPtr position);
void registry_take_announcements(WorkerSlot* slot, Announcements* taken);
void registry_watch(Oid relation);  // pg_cron's table of jobs
void registry_set_error(WorkerSlot* slot, const char* message);
void registry_note_success(WorkerSlot* slot);

}  // namespace wee5::pg
