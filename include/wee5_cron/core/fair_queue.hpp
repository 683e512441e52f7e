#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace wee5::core {

// Who goes on the wire next. Routes take turns, and no route holds more than half of the slots while another one
// waits. Items of one route keep their order. Not thread-safe.
template <class Item>
class FairQueue {
 public:
  explicit FairQueue(std::size_t slots) : slots_(slots) {}

  void set_slots(std::size_t slots) noexcept { slots_ = slots; }
  void push(std::string_view route, Item item);
  // The next item that may go on the wire now, counted as its route's until release(); nullopt where all slots are
  // taken, nothing waits, or whatever waits has reached its route's share.
  std::optional<Item> take();
  void release(std::string_view route);

  std::size_t waiting() const noexcept { return waiting_; }
  std::size_t waiting_of(std::string_view route) const;
  std::size_t in_flight() const noexcept { return in_flight_; }
  // Forgets what waits; what is in flight stays counted.
  void clear_waiting();

 private:
  struct Route {
    std::deque<Item> waiting;
    std::size_t in_flight = 0;
  };
  std::size_t slots_;
  std::size_t waiting_ = 0;
  std::size_t in_flight_ = 0;
  std::unordered_map<std::string, Route> routes_;  // an entry lives while something of it waits or is in flight
  std::list<std::string> turns_;                   // routes with something waiting, next first
};

// TEMPLATE DEFINITIONS
}  // namespace wee5::core
