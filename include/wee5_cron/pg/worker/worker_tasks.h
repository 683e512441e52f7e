#pragma once

// What the worker does, and what it knows between two looks. When it does what is said in worker.cpp.

#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/worker/descriptors.h"
#include "wee5_cron/pg/worker/worker_turn.h"

namespace wee5::pg::worker {

inline constexpr int64 kAskAgainUs = 100'000;  // the launcher for a flush

// Trivially destructible, freed by an exit callback: exit() runs destructors of static objects at a bad time.
extern delivery::Dispatcher* dispatcher;
extern WorkerSlot* slot;
extern MemoryContext turn_context;
extern WorkerSettings process_settings;
extern RequestCapacity capacity;  // how many requests the process has descriptors for

extern Outlook outlook;  // what of the ledger is still to be looked at
extern int64 flush_asked_us;
// Times in microseconds since 2000; 0: not due.
extern int64 settings_read_us;
extern uint64 settings_current_until;  // transactions ended
extern int64 round_wanted_at_us;       // when a round may follow the wakes that came too soon for it
extern int64 locked_at_us;             // results whose rows were locked by somebody else are tried again
extern bool retries_due;               // calls whose next attempt may be due
extern bool cancels_due;               // calls that may have to be given up; looked at with the next turn,
extern bool more_cancels;              // which is now
extern int64 next_attempt_us;          // when one is
extern int64 retry_at_us;              // blocked until then
extern bool draining;                  // no new calls are taken, what is on the wire ends

// Work beside the ledger, in transactions of its own.
struct Chore {
  const char* name;
  int64 (*run)();  // says when it is due again, 0: not by itself
  int64 at_us;     // when it is due
  int64 wait_us;   // after a failure
};
extern Chore harvest, runs, watch, alerts, history;
inline Chore* const chores[kChores] = {&runs, &harvest, &watch, &history, &alerts};

inline bool due(int64 at_us, int64 now) { return at_us != 0 && at_us <= now; }

inline void report(WorkerEvent found) { registry_report(slot, found); }

// Nothing keeps the worker from its work any more: last_error says at most that descriptors are short.
void clear_error();
// The same when the worker leaves, since a worker that sleeps lacks no descriptors.
void withdraw_shortage();

void run_or_exit(CppFailure* failure, bool done);

// A turn, with what follows from it.
void take_turn(bool read_ledger);
Turn* new_turn(bool read_ledger);
// False after an ERROR, which is told and logged.
bool protected_turn(Turn* turn);

// Calls are announced by whoever makes them through our functions. What somebody wrote into the ledger himself is found
// by a round, which follows each wake, at most once a second. This is the only poll there is, and only under load: an
// idle worker makes none. It costs most where an old snapshot keeps what has ended in the index.
void look_everywhere_in_time();
void look_everywhere_now();  // without the pause between two rounds

// A call that is sent at most once leaves when a synchronous standby, too, has it that it was begun.
void send_claimed_calls();

// The launcher is still busy with the log of the batch before, or a synchronous standby is, and there is room. However
// long the disk or the standby takes: who waited for it here could not serve the network.
bool batch_before_in_the_way();

// Does a chore that is due; after an ERROR, again later and later. Results on the wire do not wait for it.
void do_chore(Chore* chore);

}  // namespace wee5::pg::worker
