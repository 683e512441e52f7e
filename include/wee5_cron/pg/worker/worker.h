#pragma once

// The state of a worker process, and what its parts share. worker.cpp has the loop.

#include "wee5_cron/delivery/dispatch/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/worker/descriptors.h"
#include "wee5_cron/pg/worker/worker_ledger.h"

namespace wee5::pg {

struct Worker;

// Work in addition to the calls, such as deleting old rows. Each task has its own transactions, so that trouble with
// other extensions' tables does not affect the ledger.
struct BackgroundTask {
  const char* purpose;           // completes "wee5_cron worker cannot"
  int64 (*run)(Worker* worker);  // returns when the task is due again; 0: when something happens
  int64 due_us;
  int64 backoff_us;  // 0: the last run succeeded
};

// When the worker has something to do without being woken. Postgres time in microseconds; 0: nothing to do.
struct WorkerTimers {
  int64 round_us;           // a round through the ledger is wanted and comes too soon
  int64 next_attempt_us;    // the next retry of a call is due
  int64 locked_results_us;  // results whose rows somebody held locked are written again
  int64 ledger_retry_us;    // the ledger could not be used; PG_INT64_MAX: until something wakes the worker
};

// Lives in TopMemoryContext from the start of the process to its end.
struct Worker {
  delivery::Dispatcher* dispatcher;  // deleted by an exit callback
  WorkerSlot* slot;
  MemoryContext turn_context;  // reset before each turn and each background task
  WorkerSettings process_settings;
  uint64 sent_before;  // requests of the workers before this one
  Oid extension;       // the extension whose ledger the dispatcher's calls come from
  bool draining;       // no new calls are taken, and requests in flight end
  bool was_paused;     // the last turn found the database disarmed, or cut off from its synchronous standbys

  RequestCapacity capacity;
  int shortage_reported_for;       // the max_in_flight that exceeds the capacity
  char shortage[kLastErrorBytes];  // empty: there are descriptors enough

  // What the next turn has to look at.
  PendingReads pending;
  bool retries_due;   // the next attempt of some call may be due
  bool cancels_due;   // cancel() may have been called
  bool more_cancels;  // more cancellations wait than one turn handles

  // Until when the settings of the last turn may be used without reading them again.
  int64 settings_read_us;
  uint64 settings_valid_until;  // transactions ended

  // Batches of results are flushed to disk by the launcher.
  XLogRecPtr unflushed_commit;  // of the last batch
  XLogRecPtr claims_commit;     // of the calls that are claimed and not sent yet
  int64 flush_requested_us;
  XLogRecPtr calls_read_at;    // the end of the log when calls were last read
  int64 unconfirmed_since_us;  // since when synchronous standbys lack one of these; 0: they have them

  WorkerTimers timers;
  int64 ledger_backoff_us;   // 0: the last turn succeeded
  int64 results_backoff_us;  // 0: no results wait for locked rows
  int64 round_began_us;      // 0: no round is under way
  int64 next_round_us;       // no round begins before

  BackgroundTask tasks[kBackgroundTasks];
  int alert_repeat_ms;  // as the task that sends alerts found it
  HistoryWalk history;
  JobWatch job_watch;
};

inline int64 now_us() { return GetCurrentTimestamp(); }
inline bool is_due(int64 at_us, int64 now) { return at_us != 0 && at_us <= now; }
inline void keep_earlier(int64* wake_us, int64 at_us) {
  if (at_us != 0 && at_us != PG_INT64_MAX && (*wake_us == 0 || at_us < *wake_us)) *wake_us = at_us;
}

inline void report_state(Worker* worker, WorkerEvent event) { registry_report(worker->slot, event); }

// Resets last_error. A lack of descriptors stays there until it ends.
inline void clear_error(Worker* worker) { registry_set_error(worker->slot, worker->shortage); }

// Runs C++ that does not depend on the ledger. If it fails nevertheless, because memory is short or libcurl is
// unusable, the process ends with the ERROR. A new process then continues from the ledger.
template <class Body>
void run_cpp_or_exit(Worker* worker, Body&& body) {
  CppFailure failure;
  if (run_cpp(&failure, body)) return;
  registry_set_error(worker->slot, failure.message);
  raise(&failure);
}

}  // namespace wee5::pg
