#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <iterator>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace wee5::core {

// Decides which call goes on the wire next. Routes take turns, and no route holds more than half of the slots while
// another one waits. Items of one route keep their order. Not thread-safe.
template <class Item, class Hash = std::hash<std::string>>
class FairQueue {
 public:
  explicit FairQueue(std::size_t slots) : slots_(slots) {}

  void set_slots(std::size_t slots) noexcept { slots_ = slots; }
  // How many items of a route may be in flight, for the routes that have a limit. Replaces the limits before.
  void set_limits(std::unordered_map<std::string, std::size_t, Hash> limits) { limits_ = std::move(limits); }
  void push(std::string_view route, Item item);
  // Takes the next item that may go on the wire now. It counts as in flight for its route until release(). nullopt if
  // all slots are taken, nothing waits, or every waiting route has reached its share or its limit. `others_wait`:
  // further routes are about to be pushed, so a route that waits here alone still keeps to its share.
  std::optional<Item> take(bool others_wait = false);
  void release(std::string_view route);
  // Whether take() would return an item.
  bool can_take(bool others_wait = false) const;
  // The route that waits if it is the only one; NULL if several or none do.
  const std::string* only_route() const noexcept { return turns_.size() == 1 ? &turns_.front() : nullptr; }
  // Removes and returns a waiting item for which `wanted` is true; nullopt if there is none.
  template <class Wanted>
  std::optional<Item> remove(Wanted wanted);

  // Whether there is such an item.
  template <class Wanted>
  bool contains(Wanted wanted) const;

  std::size_t waiting() const noexcept { return waiting_; }
  std::size_t waiting_of(std::string_view route) const;
  std::size_t in_flight() const noexcept { return in_flight_; }
  // Removes all waiting items. Items in flight stay counted.
  void clear_waiting();

 private:
  struct Route {
    std::deque<Item> waiting;
    std::size_t in_flight = 0;
  };
  bool below_limit(const std::string& route, std::size_t in_flight) const;

  std::size_t slots_;
  std::size_t waiting_ = 0;
  std::size_t in_flight_ = 0;
  std::unordered_map<std::string, Route, Hash> routes_;  // has an entry while the route waits or is in flight
  std::list<std::string> turns_;                         // routes with something waiting, next first
  std::unordered_map<std::string, std::size_t, Hash> limits_;
};

template <class Item, class Hash>
bool FairQueue<Item, Hash>::below_limit(const std::string& route, std::size_t in_flight) const {
  if (limits_.empty()) return true;
  const auto limit = limits_.find(route);
  return limit == limits_.end() || in_flight < limit->second;
}

template <class Item, class Hash>
void FairQueue<Item, Hash>::push(std::string_view route, Item item) {
  Route& entry = routes_[std::string(route)];
  if (entry.waiting.empty()) turns_.emplace_back(route);
  entry.waiting.push_back(std::move(item));
  ++waiting_;
}

template <class Item, class Hash>
bool FairQueue<Item, Hash>::can_take(bool others_wait) const {
  if (in_flight_ >= slots_ || turns_.empty()) return false;
  const bool alone = turns_.size() == 1 && !others_wait;
  const std::size_t share = std::max<std::size_t>(1, slots_ / 2);
  return std::any_of(turns_.begin(), turns_.end(), [&](const std::string& route) {
    const std::size_t in_flight = routes_.find(route)->second.in_flight;
    return (alone || in_flight < share) && below_limit(route, in_flight);
  });
}

template <class Item, class Hash>
std::optional<Item> FairQueue<Item, Hash>::take(bool others_wait) {
  if (in_flight_ >= slots_) return std::nullopt;
  const bool alone = turns_.size() == 1 && !others_wait;
  const std::size_t share = std::max<std::size_t>(1, slots_ / 2);
  // This loop is short however many routes wait: a route that has reached its share or limit has something in flight.
  for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
    Route& entry = routes_.find(*turn)->second;
    if ((!alone && entry.in_flight >= share) || !below_limit(*turn, entry.in_flight)) continue;
    Item item = std::move(entry.waiting.front());
    entry.waiting.pop_front();
    --waiting_;
    ++entry.in_flight;
    ++in_flight_;
    if (entry.waiting.empty()) {
      turns_.erase(turn);
    } else {
      turns_.splice(turns_.end(), turns_, turn);
    }
    return item;
  }
  return std::nullopt;
}

template <class Item, class Hash>
void FairQueue<Item, Hash>::release(std::string_view route) {
  const auto found = routes_.find(std::string(route));
  if (found == routes_.end() || found->second.in_flight == 0) return;
  --found->second.in_flight;
  --in_flight_;
  if (found->second.in_flight == 0 && found->second.waiting.empty()) routes_.erase(found);
}

template <class Item, class Hash>
template <class Wanted>
std::optional<Item> FairQueue<Item, Hash>::remove(Wanted wanted) {
  for (auto route = routes_.begin(); route != routes_.end(); ++route) {
    std::deque<Item>& items = route->second.waiting;
    const auto found = std::find_if(items.begin(), items.end(), wanted);
    if (found == items.end()) continue;
    Item item = std::move(*found);
    items.erase(found);
    --waiting_;
    if (items.empty()) {
      turns_.remove(route->first);
      if (route->second.in_flight == 0) routes_.erase(route);
    }
    return item;
  }
  return std::nullopt;
}

template <class Item, class Hash>
template <class Wanted>
bool FairQueue<Item, Hash>::contains(Wanted wanted) const {
  return std::any_of(routes_.begin(), routes_.end(), [&](const auto& route) {
    const std::deque<Item>& items = route.second.waiting;
    return std::any_of(items.begin(), items.end(), wanted);
  });
}

template <class Item, class Hash>
std::size_t FairQueue<Item, Hash>::waiting_of(std::string_view route) const {
  const auto found = routes_.find(std::string(route));
  return found == routes_.end() ? 0 : found->second.waiting.size();
}

template <class Item, class Hash>
void FairQueue<Item, Hash>::clear_waiting() {
  turns_.clear();
  waiting_ = 0;
  for (auto route = routes_.begin(); route != routes_.end();) {
    route->second.waiting.clear();
    route = route->second.in_flight == 0 ? routes_.erase(route) : std::next(route);
  }
}

}  // namespace wee5::core
