#include "wee5_cron/core/worker/worker_scheduling.hpp"

#include <algorithm>

namespace wee5::core {

namespace {

bool can_start(const WorkerPlace& place, std::int64_t now_us) noexcept {
  return place.state == WorkerState::kWaiting && place.start_after <= now_us;
}

bool goes_first(const WorkerPlace& one, const WorkerPlace& other) noexcept {
  if (one.first_look != other.first_look) return other.first_look;
  return one.waiting_since < other.waiting_since;
}

void sooner(std::int64_t* at, std::int64_t candidate) noexcept {
  if (candidate != 0 && (*at == 0 || candidate < *at)) *at = candidate;
}

// The place with the earliest time among those that are not asked yet; -1: there is none. 0 is no time.
template <class Time>
int earliest(const WorkerPlace* places, int count, const GiveWay* asks, Time time) noexcept {
  int best = -1;
  for (int i = 0; i < count; ++i) {
    if (asks[i] != GiveWay::kNo || time(places[i]) == 0) continue;
    if (best < 0 || time(places[i]) < time(places[best])) best = i;
  }
  return best;
}

bool is_leaving(WorkerState state) noexcept {
  return state == WorkerState::kStopping || state == WorkerState::kStoppingHeld;
}

struct Waiters {
  int patient = 0;         // places that have waited long enough for a worker at rest to go
  std::int64_t turns = 0;  // how many busy workers are to be asked
};

// First looks are made one at a time, so they count as one.
Waiters count_waiters(const WorkerPlace* places, int count, std::int64_t now_us, TurnPlan* plan) noexcept {
  Waiters asked;
  Waiters looks;
  for (int i = 0; i < count; ++i) {
    if (!can_start(places[i], now_us)) continue;
    ++plan->waiting;
    const std::int64_t waited = now_us - places[i].waiting_since;
    if (waited < kPatienceUs) {
      sooner(&plan->look_again_at, places[i].waiting_since + kPatienceUs);
      continue;
    }
    const std::int64_t turns = waited / kTurnUs;
    sooner(&plan->look_again_at, places[i].waiting_since + (turns + 1) * kTurnUs);
    if (places[i].first_look) {
      looks.patient = 1;
      looks.turns = std::max(looks.turns, turns);
    } else {
      ++asked.patient;
      asked.turns += turns;
    }
  }
  return {std::min(asked.patient, kLaunchesAtOnce) + looks.patient, asked.turns + looks.turns};
}

// Asks at most `most` workers to give way, those with the earliest `since` first. Returns how many it asked.
template <class Since>
std::int64_t ask_longest(const WorkerPlace* places, int count, GiveWay* asks, std::int64_t most, GiveWay how,
                         Since since) noexcept {
  std::int64_t asked = 0;
  while (asked < most) {
    const int longest = earliest(places, count, asks, since);
    if (longest < 0) break;
    asks[longest] = how;
    ++asked;
  }
  return asked;
}

}  // namespace

int next_to_launch(const WorkerPlace* places, int count, std::int64_t now_us) noexcept {
  int launched = 0;
  int looks = 0;
  for (int i = 0; i < count; ++i) {
    if (!is_launched(places[i].state)) continue;
    ++launched;
    if (places[i].first_look) ++looks;
  }
  if (launched >= kLaunchesAtOnce) return -1;
  int best = -1;
  for (int i = 0; i < count; ++i) {
    if (!can_start(places[i], now_us) || (places[i].first_look && looks > 0)) continue;
    if (best < 0 || goes_first(places[i], places[best])) best = i;
  }
  return best;
}

TurnPlan plan_turns(const WorkerPlace* places, int count, std::int64_t now_us, GiveWay* asks) noexcept {
  TurnPlan plan;
  std::fill_n(asks, count, GiveWay::kNo);
  const Waiters waiters = count_waiters(places, count, now_us, &plan);
  const std::int64_t leaving =
      std::count_if(places, places + count, [](const WorkerPlace& place) { return is_leaving(place.state); });
  const std::int64_t wanted = waiters.patient - leaving;
  const std::int64_t at_rest = ask_longest(places, count, asks, wanted, GiveWay::kAtRest, [](const WorkerPlace& place) {
    return has_process(place.state) && !is_leaving(place.state) ? place.at_rest_since : 0;
  });
  plan.more_may_leave = static_cast<int>(std::max<std::int64_t>(wanted - at_rest, 0));
  const std::int64_t turns = waiters.turns - leaving - at_rest;
  const std::int64_t at_work =
      ask_longest(places, count, asks, turns, GiveWay::kDrained, [now_us](const WorkerPlace& place) {
        const bool busy = has_process(place.state) && !is_leaving(place.state) && place.at_rest_since == 0;
        return busy && place.started_at + kTurnUs <= now_us ? place.started_at : 0;
      });
  for (int i = 0; turns > at_work && i < count; ++i)
    if (has_process(places[i].state) && places[i].started_at + kTurnUs > now_us)
      sooner(&plan.look_again_at, places[i].started_at + kTurnUs);
  return plan;
}

std::int64_t next_due_at(const WorkerPlace* places, int count, std::int64_t now_us) noexcept {
  std::int64_t next = 0;
  for (int i = 0; i < count; ++i) {
    if (places[i].state == WorkerState::kAsleep) sooner(&next, places[i].due_at);
    if (places[i].state == WorkerState::kWaiting && places[i].start_after > now_us)
      sooner(&next, places[i].start_after);
  }
  return next;
}

}  // namespace wee5::core
