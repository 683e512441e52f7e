#include "wee5_cron/core/worker/worker_scheduling.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace wee5::core {
namespace {

constexpr std::int64_t kMs = 1'000;
constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kNow = 1'000 * kSecond;

WorkerPlace waiting(std::int64_t since, bool first_look = false) {
  WorkerPlace place;
  place.state = WorkerState::kWaiting;
  place.waiting_since = since;
  place.first_look = first_look;
  return place;
}

WorkerPlace launched(bool first_look = false) {
  WorkerPlace place;
  place.state = WorkerState::kLaunched;
  place.first_look = first_look;
  return place;
}

WorkerPlace at_rest(std::int64_t since) {
  WorkerPlace place;
  place.state = WorkerState::kIdle;
  place.started_at = kNow - 100 * kSecond;
  place.at_rest_since = since;
  return place;
}

WorkerPlace busy(std::int64_t started_at) {
  WorkerPlace place;
  place.state = WorkerState::kSending;
  place.started_at = started_at;
  return place;
}

WorkerPlace in_state(WorkerState state) {
  WorkerPlace place;
  place.state = state;
  return place;
}

int next(const std::vector<WorkerPlace>& places) {
  return next_to_launch(places.data(), static_cast<int>(places.size()), kNow);
}

struct Planned {
  TurnPlan plan;
  std::vector<GiveWay> asks;
};

Planned plan(const std::vector<WorkerPlace>& places) {
  Planned planned;
  planned.asks.resize(places.size());
  planned.plan = plan_turns(places.data(), static_cast<int>(places.size()), kNow, planned.asks.data());
  return planned;
}

constexpr GiveWay kNo = GiveWay::kNo;
constexpr GiveWay kAtRest = GiveWay::kAtRest;
constexpr GiveWay kDrained = GiveWay::kDrained;
using Asks = std::vector<GiveWay>;

TEST(WorkerScheduling, TheDatabaseThatHasWaitedLongestIsLaunchedFirst) {
  EXPECT_EQ(next({waiting(kNow - 1), waiting(kNow - 5), waiting(kNow - 3)}), 1);
  EXPECT_EQ(next({}), -1);
  EXPECT_EQ(next({at_rest(kNow), in_state(WorkerState::kHeld), in_state(WorkerState::kAsleep)}), -1);
}

TEST(WorkerScheduling, RequestedWorkersComeBeforeFirstLooks) {
  EXPECT_EQ(next({waiting(kNow - 9, true), waiting(kNow - 1)}), 1);
}

TEST(WorkerScheduling, OnlyOneFirstLookRunsAtATime) {
  EXPECT_EQ(next({launched(true), waiting(kNow - 9, true)}), -1);
  EXPECT_EQ(next({launched(true), waiting(kNow - 9, true), waiting(kNow - 1)}), 2);
  EXPECT_EQ(next({launched(false), waiting(kNow - 9, true)}), 1);
}

TEST(WorkerScheduling, AtMostFourWorkersAreStarting) {
  EXPECT_EQ(next({launched(), launched(), launched(), waiting(kNow)}), 3);
  EXPECT_EQ(next({launched(), launched(), launched(), launched(), waiting(kNow)}), -1);
}

TEST(WorkerScheduling, AFailedWorkerIsNotLaunchedBeforeItsTime) {
  WorkerPlace failed = waiting(kNow - kSecond);
  failed.start_after = kNow + kSecond;
  EXPECT_EQ(next({failed}), -1);
  EXPECT_EQ(plan({failed, at_rest(1)}).asks, (Asks{kNo, kNo}));
  EXPECT_EQ(next_due_at(&failed, 1, kNow), kNow + kSecond);
  failed.start_after = kNow;
  EXPECT_EQ(next({failed}), 0);
  EXPECT_EQ(next_due_at(&failed, 1, kNow), 0);
}

TEST(WorkerScheduling, NoWorkerLeavesBeforeADatabaseHasWaitedATenthOfASecond) {
  const Planned planned = plan({waiting(kNow - 40 * kMs), at_rest(kNow - kSecond)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo}));
  EXPECT_EQ(planned.plan.waiting, 1);
  EXPECT_EQ(planned.plan.more_may_leave, 0);
  EXPECT_EQ(planned.plan.look_again_at, kNow + 60 * kMs);
}

TEST(WorkerScheduling, TheWorkerThatHasBeenIdleLongestLeavesFirst) {
  const Planned planned = plan(
      {at_rest(kNow - kSecond), waiting(kNow - 100 * kMs), at_rest(kNow - 3 * kSecond), at_rest(kNow - 2 * kSecond)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo, kAtRest, kNo}));
  EXPECT_EQ(planned.plan.more_may_leave, 0);
}

TEST(WorkerScheduling, OneWorkerLeavesForEachWaitingDatabase) {
  const Planned planned = plan({waiting(kNow - kSecond), waiting(kNow - kSecond), waiting(kNow - kSecond),
                                at_rest(kNow - 2), at_rest(kNow - 1), busy(kNow - kSecond)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo, kNo, kAtRest, kAtRest, kNo}));
  EXPECT_EQ(planned.plan.more_may_leave, 1);
}

TEST(WorkerScheduling, NoMoreWorkersLeaveThanCanBeLaunchedAtOnce) {
  std::vector<WorkerPlace> places(20, waiting(kNow - kSecond, true));
  for (int i = 1; i <= 10; ++i) places.push_back(at_rest(kNow - i));
  const auto asked = [](const Planned& planned) {
    return std::count(planned.asks.begin(), planned.asks.end(), kAtRest);
  };
  EXPECT_EQ(asked(plan(places)), 1);
  for (int i = 0; i < 8; ++i) places[static_cast<std::size_t>(i)].first_look = false;
  EXPECT_EQ(asked(plan(places)), 5);
}

TEST(WorkerScheduling, ManyFirstLooksMakeOnlyOneWorkerLeave) {
  std::vector<WorkerPlace> places(50, waiting(kNow - 10 * kSecond, true));
  places.push_back(busy(kNow - 100 * kSecond));
  places.push_back(busy(kNow - 200 * kSecond));
  const Planned planned = plan(places);
  EXPECT_EQ(std::count(planned.asks.begin(), planned.asks.end(), kDrained), 1);
  EXPECT_EQ(planned.asks.back(), kDrained);
}

TEST(WorkerScheduling, WorkersThatAreLeavingCount) {
  EXPECT_EQ(plan({waiting(kNow - kSecond), in_state(WorkerState::kStopping), at_rest(kNow - 1)}).asks,
            (Asks{kNo, kNo, kNo}));
  EXPECT_EQ(plan({waiting(kNow - kSecond), in_state(WorkerState::kStoppingHeld), at_rest(kNow - 1)}).asks,
            (Asks{kNo, kNo, kNo}));
}

TEST(WorkerScheduling, ABusyWorkerLeavesAfterTenSecondsOfWaiting) {
  EXPECT_EQ(plan({waiting(kNow - 9 * kSecond), busy(kNow - 100 * kSecond)}).asks, (Asks{kNo, kNo}));
  const Planned planned = plan({waiting(kNow - 10 * kSecond), busy(kNow - 100 * kSecond), busy(kNow - 200 * kSecond)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo, kDrained}));
  EXPECT_EQ(planned.plan.look_again_at, kNow + 10 * kSecond);
}

TEST(WorkerScheduling, ABusyWorkerHasItsOwnTenSecondsFirst) {
  const Planned planned = plan({waiting(kNow - 15 * kSecond), busy(kNow - 6 * kSecond)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo}));
  EXPECT_EQ(planned.plan.look_again_at, kNow + 4 * kSecond);
}

TEST(WorkerScheduling, TheLongerTheWaitTheMoreBusyWorkersAreAskedToLeave) {
  const std::vector<WorkerPlace> places = {waiting(kNow - 25 * kSecond), busy(kNow - 100 * kSecond),
                                           busy(kNow - 300 * kSecond), busy(kNow - 200 * kSecond)};
  EXPECT_EQ(plan(places).asks, (Asks{kNo, kNo, kDrained, kDrained}));
}

TEST(WorkerScheduling, NoWorkerIsAskedToLeaveIfNoDatabaseWaits) {
  const Planned planned = plan({at_rest(1), busy(1), in_state(WorkerState::kAsleep), in_state(WorkerState::kHeld)});
  EXPECT_EQ(planned.asks, (Asks{kNo, kNo, kNo, kNo}));
  EXPECT_EQ(planned.plan.waiting, 0);
  EXPECT_EQ(planned.plan.look_again_at, 0);
}

TEST(WorkerScheduling, ReturnsWhenTheNextSleepingWorkerIsDue) {
  std::vector<WorkerPlace> places(3, in_state(WorkerState::kAsleep));
  EXPECT_EQ(next_due_at(places.data(), 3, kNow), 0);
  places[1].due_at = kNow + 5;
  places[2].due_at = kNow + 3;
  EXPECT_EQ(next_due_at(places.data(), 3, kNow), kNow + 3);
}

// A hundred databases, three processes, each database with a call to make that takes a moment: all are served.
TEST(WorkerScheduling, ThreeProcessesServeAHundredDatabases) {
  constexpr int kDatabases = 100;
  constexpr int kProcesses = 3;
  std::vector<WorkerPlace> places(kDatabases, waiting(kNow, true));
  std::vector<GiveWay> asks(kDatabases);
  std::vector<bool> served(kDatabases);
  std::int64_t now = kNow;
  int running = 0;
  for (int step = 0; step < 1'000; ++step, now += 10 * kMs) {
    for (int i = 0; i < kDatabases; ++i) {
      WorkerPlace& place = places[static_cast<std::size_t>(i)];
      if (place.state == WorkerState::kLaunched) {
        place.state = next_state(place.state, WorkerEvent::kAttached);
        place.started_at = place.at_rest_since = now;
        served[static_cast<std::size_t>(i)] = true;
      } else if (asks[static_cast<std::size_t>(i)] == GiveWay::kAtRest && has_process(place.state)) {
        place.state = next_state(place.state, WorkerEvent::kEnded);
        place.at_rest_since = 0;
        --running;
      }
    }
    int chosen = next_to_launch(places.data(), kDatabases, now);
    for (; chosen >= 0 && running < kProcesses; ++running) {
      places[static_cast<std::size_t>(chosen)].state = WorkerState::kLaunched;
      chosen = next_to_launch(places.data(), kDatabases, now);
    }
    std::fill(asks.begin(), asks.end(), kNo);
    if (chosen >= 0) plan_turns(places.data(), kDatabases, now, asks.data());
  }
  for (int i = 0; i < kDatabases; ++i) EXPECT_TRUE(served[static_cast<std::size_t>(i)]) << i;
  EXPECT_EQ(running, kProcesses);
  EXPECT_EQ(plan_turns(places.data(), kDatabases, now, asks.data()).waiting, 0);
}

}  // namespace
}  // namespace wee5::core
