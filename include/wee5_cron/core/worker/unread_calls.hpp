#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace wee5::core {

// Which due calls of a route are still to be read from the ledger, by id. More come all the time: new calls behind all
// others, and calls that are due again in between. Each of the two kinds is read in order and to its end, so that
// neither keeps the other waiting, however many come.
class UnreadCalls {
 public:
  static constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();

  // The ids from `from` up to `end`, without it.
  struct Range {
    std::int64_t from = kEnd;
    std::int64_t end = kEnd;
  };

  bool none() const noexcept { return ahead_ == kEnd && again_.from == kEnd; }
  // The ranges to read next: at most two. They change places with each call, since there may be room for one call only.
  std::vector<Range> ranges();
  // The calls from `from` up to `next` were read, and those behind may be unread. kEnd: all were read. `end` is the one
  // of ranges() if one of these was read.
  void read(std::int64_t from, std::int64_t next, std::int64_t end = kEnd) noexcept;

 private:
  void read_to_the_end(std::int64_t from) noexcept;
  void read_again_later(std::int64_t id) noexcept;
  void finish_again() noexcept;

  std::int64_t ahead_ = kEnd;  // every call from here on is unread
  Range again_;                // calls before that which are due again; from == kEnd: none
  std::int64_t later_ = kEnd;  // where the next such range begins, up to ahead_. It waits until again_ is read.
  bool again_first_ = false;
};

}  // namespace wee5::core
