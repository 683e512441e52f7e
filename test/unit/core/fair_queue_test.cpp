#include "wee5_cron/core/fair_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace wee5::core {
namespace {

struct Item {
  std::string route;
  int number;
};

void push(FairQueue<Item>& queue, const std::string& route, int first, int count) {
  for (int i = first; i < first + count; ++i) queue.push(route, {route, i});
}

std::string take_all(FairQueue<Item>& queue) {
  std::string taken;
  while (const auto item = queue.take()) taken += item->route + std::to_string(item->number) + " ";
  return taken;
}

TEST(FairQueue, ARouteAloneMayTakeAllSlots) {
  FairQueue<Item> queue(4);
  push(queue, "a", 0, 6);
  EXPECT_EQ(take_all(queue), "a0 a1 a2 a3 ");
  EXPECT_EQ(queue.in_flight(), 4U);
  EXPECT_EQ(queue.waiting(), 2U);
  EXPECT_EQ(queue.waiting_of("a"), 2U);
  queue.release("a");
  EXPECT_EQ(take_all(queue), "a4 ");
}

TEST(FairQueue, RoutesTakeTurns) {
  FairQueue<Item> queue(6);
  push(queue, "a", 0, 3);
  push(queue, "b", 0, 2);
  push(queue, "c", 0, 1);
  EXPECT_EQ(take_all(queue), "a0 b0 c0 a1 b1 a2 ");
}

TEST(FairQueue, NoRouteHoldsMoreThanHalfWhileAnotherWaits) {
  FairQueue<Item> queue(8);
  push(queue, "slow", 0, 100);
  EXPECT_EQ(take_all(queue).size(), std::string("slow0 ").size() * 8);
  push(queue, "fast", 0, 100);
  for (int i = 0; i < 4; ++i) {
    queue.release("slow");
    const auto item = queue.take();
    ASSERT_TRUE(item);
    EXPECT_EQ(item->route, "fast");
  }
  // Half and half: what is released goes back to the same route.
  queue.release("slow");
  EXPECT_EQ(queue.take()->route, "slow");
  queue.release("fast");
  EXPECT_EQ(queue.take()->route, "fast");
}

TEST(FairQueue, ASlotStaysFreeWhereAllThatWaitHoldTheirShare) {
  FairQueue<Item> queue(5);
  push(queue, "a", 0, 9);
  push(queue, "b", 0, 9);
  EXPECT_EQ(take_all(queue), "a0 b0 a1 b1 ");
  EXPECT_EQ(queue.in_flight(), 4U);
  push(queue, "c", 0, 1);
  EXPECT_EQ(take_all(queue), "c0 ");
}

TEST(FairQueue, OneWaitingRouteIsAloneWhoeverIsInFlight) {
  FairQueue<Item> queue(4);
  push(queue, "a", 0, 1);
  push(queue, "b", 0, 5);
  EXPECT_EQ(take_all(queue), "a0 b0 b1 b2 ");
}

TEST(FairQueue, OneSlotServesAllInTurn) {
  FairQueue<Item> queue(1);
  push(queue, "a", 0, 2);
  push(queue, "b", 0, 2);
  std::string order;
  while (const auto item = queue.take()) {
    order += item->route;
    EXPECT_FALSE(queue.take());
    queue.release(item->route);
  }
  EXPECT_EQ(order, "abab");
  EXPECT_EQ(queue.in_flight(), 0U);
}

TEST(FairQueue, SlotsCanChangeMeanwhile) {
  FairQueue<Item> queue(4);
  push(queue, "a", 0, 10);
  take_all(queue);
  queue.set_slots(2);
  queue.release("a");
  queue.release("a");
  EXPECT_FALSE(queue.take());
  queue.release("a");
  EXPECT_TRUE(queue.take());
  queue.set_slots(0);
  EXPECT_FALSE(queue.take());
  queue.set_slots(8);
  EXPECT_EQ(take_all(queue), "a5 a6 a7 a8 a9 ");
}

TEST(FairQueue, ClearForgetsWhatWaitsAndCountsWhatFlies) {
  FairQueue<Item> queue(2);
  push(queue, "a", 0, 3);
  push(queue, "b", 0, 3);
  take_all(queue);
  queue.clear_waiting();
  EXPECT_EQ(queue.waiting(), 0U);
  EXPECT_EQ(queue.waiting_of("b"), 0U);
  EXPECT_EQ(queue.in_flight(), 2U);
  EXPECT_FALSE(queue.take());
  push(queue, "b", 7, 1);
  EXPECT_FALSE(queue.take());
  queue.release("a");
  EXPECT_EQ(take_all(queue), "b7 ");
}

TEST(FairQueue, AReleaseTooManyChangesNothing) {
  FairQueue<Item> queue(2);
  queue.release("unknown");
  push(queue, "a", 0, 1);
  queue.release("a");
  EXPECT_EQ(queue.in_flight(), 0U);
  EXPECT_EQ(take_all(queue), "a0 ");
}

TEST(FairQueue, ItemsMayBeMovable) {
  FairQueue<std::unique_ptr<int>> queue(1);
  queue.push("a", std::make_unique<int>(5));
  EXPECT_EQ(**queue.take(), 5);
}

// Random pushes, takes and releases against the rules themselves.
TEST(FairQueue, KeepsItsRulesWhateverHappens) {
  std::mt19937 random(20261123);
  for (int round = 0; round < 60; ++round) {
    const std::size_t slots = 1 + random() % 9;
    FairQueue<Item> queue(slots);
    std::map<std::string, std::vector<int>> waiting;
    std::map<std::string, std::size_t> flying;
    std::size_t total_flying = 0;
    for (int step = 0, number = 0; step < 2000; ++step) {
      const std::string route(1, static_cast<char>('a' + random() % 5));
      const auto choice = random() % 3;
      if (choice == 0) {
        queue.push(route, {route, number});
        waiting[route].push_back(number++);
      } else if (choice == 1 && flying[route] > 0) {
        queue.release(route);
        --flying[route];
        --total_flying;
      } else if (choice == 2) {
        std::size_t routes_waiting = 0;
        bool may_take = false;
        for (const auto& [name, items] : waiting) routes_waiting += items.empty() ? 0 : 1;
        const std::size_t share = routes_waiting > 1 ? std::max<std::size_t>(1, slots / 2) : slots;
        for (const auto& [name, items] : waiting) may_take = may_take || (!items.empty() && flying[name] < share);
        may_take = may_take && total_flying < slots;
        const auto item = queue.take();
        ASSERT_EQ(item.has_value(), may_take);
        if (!item) continue;
        ASSERT_EQ(item->number, waiting[item->route].front());  // the order within a route
        ASSERT_LT(flying[item->route], share);
        waiting[item->route].erase(waiting[item->route].begin());
        ++flying[item->route];
        ++total_flying;
      }
      ASSERT_EQ(queue.in_flight(), total_flying);
    }
  }
}

// 100,000 routes: with a scan of all of them at each step this would take longer than ctest lets a test run.
TEST(FairQueue, DoesNotLookAtAllRoutesForEachStep) {
  FairQueue<int> queue(257);
  for (int i = 0; i < 2000; ++i) queue.push("slow-a", i);
  for (int i = 0; i < 2000; ++i) queue.push("slow-b", i);
  for (int i = 0; i < 256; ++i) queue.take();
  for (int i = 0; i < 100'000; ++i) queue.push("/r/" + std::to_string(i), i);
  int taken = 0;
  for (; taken < 100'000; ++taken) {
    const auto item = queue.take();
    ASSERT_TRUE(item);
    queue.release("/r/" + std::to_string(*item));
  }
  EXPECT_EQ(taken, 100'000);
}

}  // namespace
}  // namespace wee5::core
