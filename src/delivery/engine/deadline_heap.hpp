#pragma once

#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

namespace wee5::delivery {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// Objects with a deadline, earliest first: a binary heap whose members know their place, so that a deadline can be
// moved or removed in O(log n). `Member` has the fields `TimePoint deadline` and `std::size_t heap_index`.
template <class Member>
class DeadlineHeap {
 public:
  bool empty() const noexcept { return members_.empty(); }
  std::size_t size() const noexcept { return members_.size(); }
  Member* earliest() const noexcept { return members_.front(); }
  auto begin() const noexcept { return members_.begin(); }
  auto end() const noexcept { return members_.end(); }

  void push(Member* member, TimePoint deadline) {
    members_.push_back(member);
    member->deadline = deadline;
    rise(members_.size() - 1);
  }

  void move_to(Member* member, TimePoint deadline) noexcept {
    const bool earlier = deadline < member->deadline;
    member->deadline = deadline;
    earlier ? rise(member->heap_index) : sink(member->heap_index);
  }

  void remove(Member* member) noexcept {
    const std::size_t hole = member->heap_index;
    Member* last = members_.back();
    members_.pop_back();
    if (last == member) return;
    const TimePoint deadline = last->deadline;
    last->deadline = member->deadline;
    place(last, hole);
    move_to(last, deadline);
  }

 private:
  void place(Member* member, std::size_t index) noexcept {
    members_[index] = member;
    member->heap_index = index;
  }

  void rise(std::size_t index) noexcept {
    Member* member = members_[index];
    while (index > 0) {
      const std::size_t parent = (index - 1) / 2;
      if (members_[parent]->deadline <= member->deadline) break;
      place(members_[parent], index);
      index = parent;
    }
    place(member, index);
  }

  void sink(std::size_t index) noexcept {
    Member* member = members_[index];
    for (std::size_t child = 2 * index + 1; child < members_.size(); child = 2 * index + 1) {
      if (child + 1 < members_.size() && members_[child + 1]->deadline < members_[child]->deadline) ++child;
      if (member->deadline <= members_[child]->deadline) break;
      place(members_[child], index);
      index = child;
    }
    place(member, index);
  }

  std::vector<Member*> members_;
};

}  // namespace wee5::delivery
