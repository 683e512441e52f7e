#pragma once

#include <cstdint>

#include "wee5_cron/core/worker/worker_state.hpp"

namespace wee5::core {

// If there are fewer processes than databases with something to do, the databases take turns. Times are microseconds of
// one clock; 0: never.

// The parts of a database's slot that decide.
struct WorkerPlace {
  WorkerState state = WorkerState::kNone;
  bool first_look = false;         // only the launcher wants a worker, to look for the extension
  std::int64_t waiting_since = 0;  // in kWaiting
  std::int64_t start_after = 0;    // after a failure, no process is started before
  std::int64_t started_at = 0;     // when the attached process began
  std::int64_t at_rest_since = 0;  // since when the attached process has no request in flight and no call due
  std::int64_t due_at = 0;         // in kAsleep: when there is something to do again
};

enum class GiveWay : std::uint32_t {
  kNo,
  kAtRest,  // the worker ends if it still has nothing to do
  kDrained  // the worker takes no new calls, lets its requests end, and ends
};

inline constexpr std::int64_t kPatienceUs =
    100'000;  // how long a database waits before a worker at rest is asked to leave
inline constexpr std::int64_t kTurnUs = 10'000'000;  // and how long before a busy one is asked
inline constexpr int kLaunchesAtOnce = 4;            // processes that have not attached yet

// The place whose process is to be started next; -1: none at the moment. Requested workers come before first looks, of
// which there is one at a time. Among these the one that has waited longest comes first.
int next_to_launch(const WorkerPlace* places, int count, std::int64_t now_us) noexcept;

// Which workers give way if a database waits and there is no process for it.
struct TurnPlan {
  int waiting = 0;                 // places that could start now
  int more_may_leave = 0;          // how many more workers may leave as soon as they come to rest
  std::int64_t look_again_at = 0;  // 0: time alone will change nothing
};
// asks[i]: what the process at place i is asked from now on. Workers at rest are asked first, the longest at rest
// before the others. Then come busy ones, the longest at work before the others: one for each database that has waited
// for one turn, two for a database that has waited for two turns, and so on, since nobody knows how long requests take.
TurnPlan plan_turns(const WorkerPlace* places, int count, std::int64_t now_us, GiveWay* asks) noexcept;

// When the next database whose worker sleeps or failed is due; 0: none.
std::int64_t next_due_at(const WorkerPlace* places, int count, std::int64_t now_us) noexcept;

}  // namespace wee5::core
