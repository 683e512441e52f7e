#pragma once

#include <cstdint>
#include <string_view>

namespace wee5::core {

// What a database's worker is doing, or what keeps the database without one. One value says all of it, and next_state()
// alone says how it changes.
enum class WorkerState : std::uint32_t {
  kNone,          // no database has this place
  kReserved,      // a statement needs the database to itself; nobody has asked for a worker
  kHeld,          // the same; a worker starts afterwards
  kAsleep,        // no process, and nothing to do before the time that the worker left behind
  kWaiting,       // a worker is wanted and has no process yet
  kLaunched,      // a process was started and has not attached
  kLaunchedHeld,  // the same, and it may not attach
  kStarting,      // attached; nothing was looked at yet
  kIdle,          // nothing is on the wire
  kSending,       // requests are on the wire, or the ledger is being read or written
  kBlocked,       // it cannot work on the ledger
  kIncompatible,  // the SQL is of a version that the library does not serve
  kStopping,      // it takes no new calls and ends
  kStoppingHeld   // the same, for a statement that needs the database to itself
};
inline constexpr int kWorkerStates = 14;

enum class WorkerEvent {
  kWanted,        // there is work, or there may be
  kHeld,          // the first statement needs the database to itself
  kReleased,      // the last one of them is over
  kLaunched,      // the launcher has a process started
  kLaunchFailed,  // there is no process to be had
  kLauncherCame,  // another launcher, which cannot know what the one before it started
  kAttached,
  kFoundIdle,  // the worker says what it is doing
  kFoundSending,
  kFoundBlocked,
  kFoundIncompatible,
  kStops,
  kEnded,               // the process ended as it should
  kEndedWithWorkLeft,   // the same, and something has come meanwhile
  kEndedWithoutLedger,  // the same: the database does not have the extension
  kDied,                // the process ended in any other way
  kDatabaseGone
};
inline constexpr int kWorkerEvents = 17;

// What follows; the same state where the event means nothing there. Total: no pair is undefined.
WorkerState next_state(WorkerState state, WorkerEvent event) noexcept;

// Whether a process is attached, and whether one is on its way.
bool has_process(WorkerState state) noexcept;
bool is_launched(WorkerState state) noexcept;
// Whether a statement keeps the worker away.
bool is_held(WorkerState state) noexcept;
// Whether the launcher has to look after this change: a process is wanted, or a place for one may be free.
bool concerns_launcher(WorkerState before, WorkerState after) noexcept;

// The words of wee5_cron.worker.state.
std::string_view state_name(WorkerState state) noexcept;

}  // namespace wee5::core
