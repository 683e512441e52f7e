#pragma once

#include <cstdint>

#include "wee5_cron/core/worker_life.hpp"

namespace wee5::core {

// Databases take turns where there are fewer processes than databases with something to do. Times are microseconds of
// one clock; 0: never, or not so.
struct WorkerPlace {
  WorkerState state = WorkerState::kNone;
  bool first_look = false;         // nobody asked for a worker: the launcher looks whether the extension is there
  std::int64_t waiting_since = 0;  // kWaiting
  std::int64_t start_after = 0;    // after a failure: not before
  std::int64_t started_at = 0;     // the attached process
  std::int64_t at_rest_since = 0;  // the attached process has nothing on the wire and nothing that is due
  std::int64_t due_at = 0;         // kAsleep: when there is something to do again
};

enum class GiveWay : std::uint32_t {
  kNo,
  kAtRest,  // it goes, if it still has nothing to do
  kDrained  // it takes no new calls, lets its requests end, and goes
};

inline constexpr std::int64_t kPatienceUs = 100'000;  // a database waits so long before somebody at rest goes
inline constexpr std::int64_t kTurnUs = 10'000'000;   // and so long before somebody busy goes
inline constexpr int kLaunchesAtOnce = 4;             // processes that have not attached yet

// The place whose process is to be started next; -1: none at the moment. Whoever was asked for comes before first
// looks, of which there is one at a time; then whoever has waited longest.
int next_to_launch(const WorkerPlace* places, int count, std::int64_t now_us) noexcept;

// To be asked where somebody waits and no process is to be had.
struct TurnPlan {
  int waiting = 0;                 // places that could start now
  int more_may_leave = 0;          // beyond those that are asked: whoever comes to rest next may go
  std::int64_t look_again_at = 0;  // 0: nothing will change with time alone
};
// asks[i]: what the process at place i is asked from now on. Those at rest are asked first, the longest at rest before
// the others. Of the busy ones, the longest at work before the others: one for each database that has waited for a
// turn, two for one that has waited for two turns, and so on, as nobody knows how long requests take.
TurnPlan plan_turns(const WorkerPlace* places, int count, std::int64_t now_us, GiveWay* asks) noexcept;

// When the next of those that are asleep, or that failed, is due; 0: none.
std::int64_t next_due_at(const WorkerPlace* places, int count, std::int64_t now_us) noexcept;

}  // namespace wee5::core
