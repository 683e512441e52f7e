#include "wee5_cron/core/worker/unread_calls.hpp"

#include <algorithm>

namespace wee5::core {

std::vector<UnreadCalls::Range> UnreadCalls::ranges() {
  std::vector<Range> both;
  if (ahead_ != kEnd) both.push_back({ahead_, kEnd});
  if (again_.from != kEnd) both.push_back(again_);
  if (again_first_) std::reverse(both.begin(), both.end());
  again_first_ = !again_first_;
  return both;
}

void UnreadCalls::read(std::int64_t from, std::int64_t next, std::int64_t end) noexcept {
  if (end != kEnd) {
    if (again_.from != from || again_.end != end) return;  // a range that was read in the meantime
    again_.from = next;
    if (next >= end) finish_again();
    return;
  }
  if (ahead_ < from) return;  // calls before `from` are unread, too
  if (next == kEnd) {
    read_to_the_end(from);
    return;
  }
  const std::int64_t read_before = again_.from == kEnd ? 0 : again_.end;
  if (next >= (ahead_ == kEnd ? read_before : ahead_))
    ahead_ = next;
  else
    read_again_later(next);
}

void UnreadCalls::read_to_the_end(std::int64_t from) noexcept {
  ahead_ = kEnd;
  if (from <= later_) later_ = kEnd;
  if (from <= again_.from) finish_again();
}

void UnreadCalls::read_again_later(std::int64_t id) noexcept {
  if (again_.from == kEnd)
    again_ = {id, ahead_};
  else if (id < again_.from || id >= again_.end)
    later_ = std::min(later_, id);
}

void UnreadCalls::finish_again() noexcept {
  again_ = {};
  if (later_ == kEnd) return;
  if (ahead_ == kEnd)
    ahead_ = later_;
  else
    again_ = {later_, ahead_};
  later_ = kEnd;
}

}  // namespace wee5::core
