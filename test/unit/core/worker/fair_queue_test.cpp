#include "wee5_cron/core/worker/fair_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
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

TEST(FairQueue, ALimitHoldsForItsRoute) {
  FairQueue<Item> queue(8);
  queue.set_limits({{"a", 2}, {"c", 1}});
  push(queue, "a", 0, 5);
  EXPECT_TRUE(queue.can_take());
  EXPECT_EQ(take_all(queue), "a0 a1 ");
  EXPECT_FALSE(queue.can_take());
  push(queue, "b", 0, 2);
  push(queue, "c", 0, 2);
  EXPECT_TRUE(queue.can_take());
  EXPECT_EQ(take_all(queue), "b0 c0 b1 ");
  EXPECT_FALSE(queue.can_take());
  queue.release("a");
  EXPECT_EQ(take_all(queue), "a2 ");
  queue.set_limits({{"a", 3}});
  EXPECT_EQ(take_all(queue), "c1 a3 ");
  EXPECT_EQ(queue.waiting(), 1U);
  queue.set_limits({});
  EXPECT_EQ(take_all(queue), "a4 ");
}

TEST(FairQueue, ASingleRouteMayTakeAllSlots) {
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

TEST(FairQueue, ASlotStaysFreeIfAllWaitingRoutesHoldTheirShare) {
  FairQueue<Item> queue(5);
  push(queue, "a", 0, 9);
  push(queue, "b", 0, 9);
  EXPECT_EQ(take_all(queue), "a0 b0 a1 b1 ");
  EXPECT_EQ(queue.in_flight(), 4U);
  push(queue, "c", 0, 1);
  EXPECT_EQ(take_all(queue), "c0 ");
}

TEST(FairQueue, AWaitingRouteIsAloneWhateverIsInFlight) {
  FairQueue<Item> queue(4);
  push(queue, "a", 0, 1);
  push(queue, "b", 0, 5);
  EXPECT_EQ(take_all(queue), "a0 b0 b1 b2 ");
}

TEST(FairQueue, OneSlotServesAllRoutesInTurn) {
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

TEST(FairQueue, ClearForgetsWaitingCallsAndCountsThoseInFlight) {
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

TEST(FairQueue, AnExtraReleaseChangesNothing) {
  FairQueue<Item> queue(2);
  queue.release("unknown");
  push(queue, "a", 0, 1);
  queue.release("a");
  EXPECT_EQ(queue.in_flight(), 0U);
  EXPECT_EQ(take_all(queue), "a0 ");
}

TEST(FairQueue, ItemsMayBeMoveOnly) {
  FairQueue<std::unique_ptr<int>> queue(1);
  queue.push("a", std::make_unique<int>(5));
  EXPECT_EQ(**queue.take(), 5);
}

// A queue, and the plain rules with which the test compares it.
class Model {
 public:
  explicit Model(std::size_t slots) : slots_(slots), queue_(slots) {}

  void push(const std::string& route, int number) {
    queue_.push(route, {route, number});
    waiting_[route].push_back(number);
  }
  void release(const std::string& route) {
    if (flying_[route] == 0) return;
    queue_.release(route);
    --flying_[route];
    --total_flying_;
  }
  void take(bool others_wait) {
    const std::size_t share = routes_waiting() > 1 || others_wait ? std::max<std::size_t>(1, slots_ / 2) : slots_;
    bool may_take = false;
    for (const auto& [name, items] : waiting_) may_take = may_take || (!items.empty() && flying_[name] < share);
    may_take = may_take && total_flying_ < slots_;
    ASSERT_EQ(queue_.can_take(others_wait), may_take);
    const auto item = queue_.take(others_wait);
    ASSERT_EQ(item.has_value(), may_take);
    if (!item) return;
    std::vector<int>& items = waiting_[item->route];
    ASSERT_EQ(item->number, items.front());  // the order within a route
    ASSERT_LT(flying_[item->route], share);
    items.erase(items.begin());
    ++flying_[item->route];
    ++total_flying_;
  }
  void remove(const std::string& route, int number) {
    std::vector<int>& items = waiting_[route];
    const auto found = std::find(items.begin(), items.end(), number);
    const auto is_it = [&](const Item& other) { return other.route == route && other.number == number; };
    ASSERT_EQ(queue_.contains(is_it), found != items.end());
    const auto item = queue_.remove(is_it);
    ASSERT_FALSE(queue_.contains(is_it));
    ASSERT_EQ(item.has_value(), found != items.end());
    if (item) items.erase(found);
  }
  void expect_the_same() {
    std::size_t total_waiting = 0;
    for (const auto& [name, items] : waiting_) {
      total_waiting += items.size();
      ASSERT_EQ(queue_.waiting_of(name), items.size());
    }
    ASSERT_EQ(queue_.waiting(), total_waiting);
    ASSERT_EQ(queue_.in_flight(), total_flying_);
    const std::string* only = queue_.only_route();
    ASSERT_EQ(only != nullptr, routes_waiting() == 1);
    if (only != nullptr) {
      ASSERT_FALSE(waiting_[*only].empty());
    }
  }

 private:
  std::size_t routes_waiting() const {
    return static_cast<std::size_t>(
        std::count_if(waiting_.begin(), waiting_.end(), [](const auto& route) { return !route.second.empty(); }));
  }

  std::size_t slots_;
  FairQueue<Item> queue_;
  std::map<std::string, std::vector<int>> waiting_;
  std::map<std::string, std::size_t> flying_;
  std::size_t total_flying_ = 0;
};

TEST(FairQueue, KeepsItsRulesWhateverHappens) {
  std::mt19937 random(20261123);
  for (int round = 0; round < 30; ++round) {
    Model model(1 + random() % 9);
    for (int step = 0, number = 0; step < 2000; ++step) {
      const std::string route(1, static_cast<char>('a' + random() % 5));
      const auto choice = random() % 8;
      if (choice < 3) {
        model.push(route, number++);
      } else if (choice < 5) {
        model.release(route);
      } else if (choice == 5) {
        // One that waits, or has waited.
        model.remove(route, std::max(0, number - 1 - static_cast<int>(random() % 12)));
      } else {
        model.take(random() % 4 == 0);
      }
      model.expect_the_same();
      if (HasFatalFailure()) return;
    }
  }
}

// Whenever the queue considers a route, it looks the route up.
struct CountingHash {
  static inline std::size_t lookups = 0;
  std::size_t operator()(const std::string& route) const {
    ++lookups;
    return std::hash<std::string>()(route);
  }
};

TEST(FairQueue, DoesNotLookAtAllRoutesForEachStep) {
  constexpr int kRoutes = 10'000;
  FairQueue<int, CountingHash> queue(257);
  for (int i = 0; i < 2000; ++i) queue.push("slow-a", i);
  for (int i = 0; i < 2000; ++i) queue.push("slow-b", i);
  for (int i = 0; i < 256; ++i) queue.take();
  for (int i = 0; i < kRoutes; ++i) queue.push("/r/" + std::to_string(i), i);
  CountingHash::lookups = 0;
  for (int taken = 0; taken < kRoutes; ++taken) {
    ASSERT_TRUE(queue.can_take());
    const auto item = queue.take();
    ASSERT_TRUE(item);
    queue.release("/r/" + std::to_string(*item));
  }
  // The two slow ones, which hold their share, and the one whose turn it is, for each of the three.
  EXPECT_LE(CountingHash::lookups, 12U * kRoutes);
}

}  // namespace
}  // namespace wee5::core
