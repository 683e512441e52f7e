#pragma once

#include <cstdint>
#include <string_view>

namespace wee5::core {

// The state of a database's worker, or why the database has none. It changes only by next_state().
enum class WorkerState : std::uint32_t {
  kNone,          // no database has this slot
  kReserved,      // a statement needs the database to itself; no worker was requested
  kHeld,          // the same, and a worker starts afterwards
  kAsleep,        // there is no process, and nothing to do before the time that the last worker handed over
  kWaiting,       // a worker is wanted and has no process yet
  kLaunched,      // a process was started and has not attached
  kLaunchedHeld,  // the same, and it may not attach
  kStarting,      // the worker has attached and done nothing yet
  kIdle,          // no request is in flight
  kSending,       // requests are in flight, or the worker reads or writes the ledger
  kBlocked,       // the worker cannot use the ledger
  kIncompatible,  // the library does not serve this version of the SQL
  kStopping,      // the worker takes no new calls and ends
  kStoppingHeld   // the same, for a statement that needs the database to itself
};
inline constexpr int kWorkerStates = 14;

enum class WorkerEvent {
  kWanted,        // there is work, or there may be
  kHeld,          // a statement needs the database to itself, the first of them
  kReleased,      // the last of these statements is over
  kLaunched,      // the launcher starts a process
  kLaunchFailed,  // Postgres has no process for it
  kLauncherCame,  // a new launcher, which does not know the processes of the one before
  kAttached,
  kFoundIdle,  // the worker reports what it is doing, with this event and the next three
  kFoundSending,
  kFoundBlocked,
  kFoundIncompatible,
  kStops,
  kEnded,               // the process ended of its own accord
  kEndedWithWorkLeft,   // the same, and there is new work
  kEndedWithoutLedger,  // the same, because the database lacks the extension
  kDied,                // the process ended in any other way
  kDatabaseGone
};
inline constexpr int kWorkerEvents = 17;

// The state after the event. Defined for every pair; the state stays the same if the event means nothing in it.
WorkerState next_state(WorkerState state, WorkerEvent event) noexcept;

// Whether a process is attached, and whether one was started and has not attached.
bool has_process(WorkerState state) noexcept;
bool is_launched(WorkerState state) noexcept;
// Whether a statement has the database to itself.
bool is_held(WorkerState state) noexcept;
// Whether the launcher has to act on this change: a process is wanted, or a place for one may have become free.
bool concerns_launcher(WorkerState before, WorkerState after) noexcept;

// The word in wee5_cron.worker.state.
std::string_view state_name(WorkerState state) noexcept;

}  // namespace wee5::core
