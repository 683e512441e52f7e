#include "wee5_cron/core/worker/worker_state.hpp"

namespace wee5::core {

namespace {

WorkerState when_held(WorkerState state) noexcept {
  if (has_process(state)) return WorkerState::kStoppingHeld;
  switch (state) {
    case WorkerState::kNone:
      return WorkerState::kReserved;
    case WorkerState::kAsleep:
    case WorkerState::kWaiting:
      return WorkerState::kHeld;
    case WorkerState::kLaunched:
      return WorkerState::kLaunchedHeld;
    default:
      return state;
  }
}

WorkerState when_released(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::kReserved:
      return WorkerState::kNone;
    // The database may have another name now, or be gone: a worker has to look.
    case WorkerState::kHeld:
      return WorkerState::kWaiting;
    case WorkerState::kLaunchedHeld:
      return WorkerState::kLaunched;
    // The worker has not ended yet, and may go on.
    case WorkerState::kStoppingHeld:
      return WorkerState::kStarting;
    default:
      return state;
  }
}

// The worker reports what it is doing. A worker that stops goes on stopping, unless the statement that it stops for
// ends.
WorkerState when_found(WorkerState state, WorkerState found) noexcept {
  switch (state) {
    case WorkerState::kStarting:
    case WorkerState::kIdle:
    case WorkerState::kSending:
    case WorkerState::kBlocked:
    case WorkerState::kIncompatible:
      return found;
    default:
      return state;
  }
}

// A process has ended, attached or not. `afterwards`: the state that follows unless the database is held.
WorkerState when_ended(WorkerState state, WorkerState afterwards) noexcept {
  if (state == WorkerState::kLaunchedHeld || state == WorkerState::kStoppingHeld) return WorkerState::kHeld;
  return has_process(state) || state == WorkerState::kLaunched ? afterwards : state;
}

WorkerState when_wanted(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::kNone:
    case WorkerState::kAsleep:
      return WorkerState::kWaiting;
    case WorkerState::kReserved:
      return WorkerState::kHeld;
    default:
      return state;
  }
}

WorkerState when_launcher_came(WorkerState state) noexcept {
  if (state == WorkerState::kLaunched) return WorkerState::kWaiting;
  return state == WorkerState::kLaunchedHeld ? WorkerState::kHeld : state;
}

WorkerState when_launch_failed(WorkerState state) noexcept { return when_launcher_came(state); }

WorkerState when_database_gone(WorkerState state) noexcept {
  return state == WorkerState::kWaiting || state == WorkerState::kAsleep ? WorkerState::kNone : state;
}

}  // namespace

WorkerState next_state(WorkerState state, WorkerEvent event) noexcept {
  switch (event) {
    case WorkerEvent::kWanted:
      return when_wanted(state);
    case WorkerEvent::kHeld:
      return when_held(state);
    case WorkerEvent::kReleased:
      return when_released(state);
    case WorkerEvent::kLaunched:
      return state == WorkerState::kWaiting ? WorkerState::kLaunched : state;
    case WorkerEvent::kLaunchFailed:
      return when_launch_failed(state);
    case WorkerEvent::kLauncherCame:
      return when_launcher_came(state);
    case WorkerEvent::kAttached:
      return state == WorkerState::kLaunched ? WorkerState::kStarting : state;
    case WorkerEvent::kFoundIdle:
      return when_found(state, WorkerState::kIdle);
    case WorkerEvent::kFoundSending:
      return when_found(state, WorkerState::kSending);
    case WorkerEvent::kFoundBlocked:
      return when_found(state, WorkerState::kBlocked);
    case WorkerEvent::kFoundIncompatible:
      return when_found(state, WorkerState::kIncompatible);
    case WorkerEvent::kStops:
      return when_found(state, WorkerState::kStopping);
    case WorkerEvent::kEnded:
      return when_ended(state, WorkerState::kAsleep);
    case WorkerEvent::kEndedWithoutLedger:
      return when_ended(state, WorkerState::kNone);
    case WorkerEvent::kEndedWithWorkLeft:
    case WorkerEvent::kDied:
      return when_ended(state, WorkerState::kWaiting);
    case WorkerEvent::kDatabaseGone:
      return when_database_gone(state);
  }
  return state;
}

bool has_process(WorkerState state) noexcept { return state >= WorkerState::kStarting; }

bool is_launched(WorkerState state) noexcept {
  return state == WorkerState::kLaunched || state == WorkerState::kLaunchedHeld;
}

bool is_held(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::kReserved:
    case WorkerState::kHeld:
    case WorkerState::kLaunchedHeld:
    case WorkerState::kStoppingHeld:
      return true;
    default:
      return false;
  }
}

bool concerns_launcher(WorkerState before, WorkerState after) noexcept {
  if (after == WorkerState::kWaiting) return true;
  return has_process(before) != has_process(after) || is_launched(before) != is_launched(after);
}

std::string_view state_name(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::kAsleep:
      return "asleep";
    case WorkerState::kIdle:
      return "idle";
    case WorkerState::kSending:
      return "sending";
    case WorkerState::kBlocked:
      return "blocked";
    case WorkerState::kIncompatible:
      return "incompatible";
    case WorkerState::kReserved:
    case WorkerState::kHeld:
    case WorkerState::kLaunchedHeld:
    case WorkerState::kStopping:
    case WorkerState::kStoppingHeld:
      return "stopping";
    case WorkerState::kNone:
    case WorkerState::kWaiting:
    case WorkerState::kLaunched:
    case WorkerState::kStarting:
      return "starting";
  }
  return "starting";
}

}  // namespace wee5::core
