#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// The words of wee5_cron.worker.state, in their order.
enum class WorkerState : uint32 { kWanted, kStarting, kIdle, kSending, kBlocked, kIncompatible, kStopping };
const char* worker_state_name(WorkerState state);

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

// A database that has, or may have, a worker. Plain memory shared by all processes; everything but the atomics is
// changed and read under the registry's lock.
struct WorkerSlot {
  Oid database;   // InvalidOid: the slot is free
  int pid;        // of the attached worker, 0: none
  Latch* latch;   // the worker's, NULL: none
  bool launched;  // the launcher has started a process that has not attached yet
  int held_by;    // pid of a backend that needs the database to itself, 0: none
  int failures;   // times in a row that a worker ended badly: the launcher waits longer each time
  TimestampTz start_after;
  TimestampTz started_at;
  pg_atomic_uint32 work_pending;  // set before the latch, cleared before the ledger is read: no wake can be lost
  slock_t announced_lock;
  Announcements announced;          // written before work_pending
  pg_atomic_uint32 cron_job_table;  // the worker's: the oid of cron.job in its database, 0: not known
  pg_atomic_uint32 jobs_changed;    // somebody changed that table
  pg_atomic_uint32 state;
  pg_atomic_uint32 in_flight;
  pg_atomic_uint64 sent;
  pg_atomic_uint64 succeeded;
  pg_atomic_uint64 failed;
  ConditionVariable changed;  // the worker came or went
  char last_error[kLastErrorBytes];
};

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
void registry_hold(Oid database);  // stops the database's worker, waits until it is gone and keeps it away
void registry_release_mine();      // lets the workers of all databases that this backend holds come back
WorkerSlot* registry_find(Oid database);
bool registry_watches(Oid relation);  // whether this database's worker wants to hear of changes of that table
void registry_note_jobs_changed();    // there was one: wakes the worker. Never raises.

// The launcher's side.
void registry_attach_launcher();
bool registry_take_launcher_request();
void registry_flush_log();  // as far as the workers asked for it
// A worker shall look whether the database has the extension; anybody may ask. Where no slot is free, the launcher is
// told that somebody was left out.
void registry_want(Oid database);
bool registry_take_left_out();
bool registry_has_free_slot();
bool registry_offer_slot(Oid database);  // as registry_want(), but nothing for one that has a slot; false: none is free
void registry_forget(WorkerSlot* slot);
void registry_count_failure(WorkerSlot* slot);  // its process ended badly, or could not be started: try again later

// The worker's side. registry_expect_worker() comes before the connection to the database: exit callbacks run last
// first, and its own has to run after the connection's. Attaching fails where another worker is there already or the
// database is held.
void registry_expect_worker();
WorkerSlot* registry_attach_worker();
void registry_note_absent();  // the database does not have the extension: the slot is free when the worker is gone
bool registry_held(WorkerSlot* slot);
// Has the log flushed up to this position by the launcher, so that the worker need not wait for the disk. False where
// there is no launcher to do it.
bool registry_ask_for_flush(XLogRecPtr position);
void registry_take_announcements(WorkerSlot* slot, Announcements* taken);
void registry_watch(Oid relation);  // pg_cron's table of jobs
void registry_set_error(WorkerSlot* slot, const char* message);

}  // namespace wee5::pg
