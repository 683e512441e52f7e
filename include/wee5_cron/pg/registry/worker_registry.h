#pragma once

#include "wee5_cron/core/worker/worker_scheduling.hpp"
#include "wee5_cron/core/worker/worker_state.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/registry/history_walk.h"

namespace wee5::pg {

using core::WorkerEvent;
using core::WorkerState;

inline constexpr int kLastErrorBytes = 512;

// The calls that committed transactions announce to the worker, so that it reads only these. Each transaction announces
// the range of its ids, or, if there are too many transactions, the lowest id of all of them. Commits come in any
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
  int64 look_from;  // every id from here on may be new; 0: all, kNothing: none but the ranges
};

// A look at pg_cron's jobs, which is made in parts.
struct JobWatch {
  bool under_way;
  int64 watched_to;     // the jobid after which the next part begins
  int64 look_again_us;  // when the next tick has to be judged, as far as known; 0: never
};

// What a worker hands over to the next worker of its database: when it has something to do again, and how far it has
// come. Postgres times in microseconds; 0: when something happens.
inline constexpr int kBackgroundTasks = 5;
struct WorkerHandover {
  bool known;  // false: the next worker does everything at once
  int64 next_attempt_us;
  int64 tasks_due_us[kBackgroundTasks];
  HistoryWalk history;
  JobWatch job_watch;
};

// A database that has, or may have, a worker. Plain memory, shared by all processes. Any process may read the atomics
// at any time. `state` changes only through change_state(). The announcements have a lock of their own; everything else
// is read and changed under the registry's lock.
struct WorkerSlot {
  Oid database;   // InvalidOid: the slot is free
  int pid;        // of the attached worker, 0: none
  Latch* latch;   // the worker's, NULL: none
  uint32 launch;  // number of the process that may attach
  int holders;    // statements that need the database to themselves
  bool cut;       // one of them waits no longer for requests in flight
  int failures;   // workers in a row that ended badly: the launcher waits longer after each
  TimestampTz start_after;
  TimestampTz started_at;
  WorkerHandover handover;
  pg_atomic_uint32 state;          // WorkerState
  pg_atomic_uint32 asked;          // core::GiveWay
  pg_atomic_uint32 first_look;     // only the launcher wants a worker, to look for the extension
  pg_atomic_uint64 waiting_since;  // TimestampTz, as the next two
  pg_atomic_uint64 at_rest_since;
  pg_atomic_uint64 due_at;
  pg_atomic_uint32 work_pending;  // set before the latch and cleared before the ledger is read, so no wake is lost
  LWLock announced_lock;
  Announcements announced;          // written before work_pending
  pg_atomic_uint32 cron_job_table;  // the oid of cron.job in this database, as a worker saw it; 0: not known
  pg_atomic_uint32 jobs_changed;    // that table was changed
  pg_atomic_uint32 in_flight;
  // Since the server started, by all workers of the database.
  pg_atomic_uint64 sent;
  pg_atomic_uint64 succeeded;
  pg_atomic_uint64 failed;
  ConditionVariable changed;  // the worker came or went
  char last_error[kLastErrorBytes];
  bool earlier_sql_reported;  // only the worker reads and writes it
};

inline WorkerState state_of(WorkerSlot* slot) { return static_cast<WorkerState>(pg_atomic_read_u32(&slot->state)); }

// Installs the hooks that request and set up the shared memory; during the preload only.
void install_registry();
bool registry_exists();
int registry_size();
WorkerSlot* registry_slot(int index);
LWLock* registry_lock();

// For backends.
// Whether the worker of some database has found pg_cron in it.
bool registry_sees_pg_cron();
// There is work: wakes the worker, or requests one. Never raises.
void registry_wake(Oid database);                               // anywhere in the ledger
void registry_announce(Oid database, int64 first, int64 last);  // calls with ids in this range
// Requests a worker to look whether the database has the extension. If no slot is free, the launcher is told that a
// database was left out.
void registry_request_worker(Oid database);
WorkerSlot* registry_find(Oid database);
// Whether wee5_cron.enabled is on, as the launcher saw it last. A session sees a reload only when its command ends, so
// a command that waits asks here.
void registry_switch_calls(bool on);
bool registry_calls_are_off();

// The table of this database whose changes its worker wants to hear of; InvalidOid: none.
Oid registry_watched_table();
void registry_note_jobs_changed();  // that table has changed: wakes the worker. Never raises.

// For the launcher.
void registry_attach_launcher();
bool registry_take_launcher_request();
void registry_flush_log();  // as far as the workers asked for it
bool registry_take_left_out();
bool registry_has_free_slot();
// Like registry_request_worker(), but does nothing for a database that has a slot. False: no slot is free.
bool registry_offer_slot(Oid database);
void registry_view_places(core::WorkerPlace* places);  // one for each slot
// Somebody has set the clock: the times since which slots wait or rest begin anew, and no slot waits for a later start.
void registry_start_over();
// The number for the process that is to be started there; 0: no process is wanted there any more.
uint32 registry_begin_launch(WorkerSlot* slot);
void registry_end_launch(WorkerSlot* slot, WorkerEvent event);  // there is no process, or it ended unseen
void registry_forget(WorkerSlot* slot);                         // its database is gone
void registry_wake_due(WorkerSlot* slot);                       // the time has come that its worker handed over
void registry_wake_standstills();                               // a setting may have kept workers from working
void registry_note_no_process(WorkerSlot* slot);                // says so in last_error
void registry_ask(const core::GiveWay* asks, int more_may_leave);
bool registry_process_just_ended();  // whose place Postgres is about to free

// For the worker. Call registry_expect_worker() before the connection to the database: exit callbacks run in reverse
// order, and the worker's has to run after the connection's. Attaching fails for a process that is not the expected
// one, and while the database is held.
void registry_expect_worker(Oid database, uint32 launch);
WorkerSlot* registry_attach_worker();
void registry_note_absent();  // the database lacks the extension: the slot becomes free when the worker ends
void registry_report(WorkerSlot* slot, WorkerEvent found);  // what the worker is doing. Takes no lock.
enum class LeaveRequest { kNone, kAtRest, kDrain, kCut };
LeaveRequest registry_leave_request(WorkerSlot* slot);
bool registry_database_waits(WorkerSlot* slot);  // for a process
bool registry_may_leave(WorkerSlot* slot);       // a database waits, and no worker has rested for longer
void registry_decline(WorkerSlot* slot);         // the worker was asked to leave at rest, and is at work
void registry_read_handover(WorkerSlot* slot, WorkerHandover* handover);
void registry_write_handover(WorkerSlot* slot, const WorkerHandover* handover);
// Has the launcher flush the log up to this position, so that the worker need not wait for the disk. False if there is
// no launcher.
bool registry_ask_for_flush(XLogRecPtr position);
void registry_take_announcements(WorkerSlot* slot, Announcements* taken);
void registry_watch(Oid relation);  // pg_cron's table of jobs
void registry_set_error(WorkerSlot* slot, const char* message);
void registry_note_success(WorkerSlot* slot);

}  // namespace wee5::pg
