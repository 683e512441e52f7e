#include "wee5_cron/core/worker/unread_calls.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace {

using wee5::core::UnreadCalls;

constexpr std::int64_t kEnd = UnreadCalls::kEnd;

using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

Pairs ranges_of(UnreadCalls& unread) {
  Pairs pairs;
  for (const UnreadCalls::Range& range : unread.ranges()) pairs.emplace_back(range.from, range.end);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

// A ledger of one route, and a reader that has room for some calls at a time.
class Ledger {
 public:
  // The call is due. The reader has no room for it now.
  void announce(std::int64_t id) {
    due_.insert(id);
    unread_.read(id, id);
  }

  // Reads at most `room` calls from the first range.
  void read(std::size_t room) {
    const std::vector<UnreadCalls::Range> ranges = unread_.ranges();
    if (ranges.empty()) return;
    const UnreadCalls::Range range = ranges.front();
    const auto call = take(range.from, range.end, room);
    const bool ended = call == due_.end() || *call >= range.end;
    unread_.read(range.from, ended ? kEnd : *call, range.end);
  }

  // All calls from `from` on, as a reader that looks at all routes does.
  void look(std::int64_t from, std::size_t room) {
    const auto call = take(from, kEnd, room);
    unread_.read(from, call == due_.end() ? kEnd : *call);
  }

  std::vector<std::int64_t> take_read() { return std::exchange(read_, {}); }
  bool all_read() const { return due_.empty(); }
  UnreadCalls& unread() { return unread_; }

 private:
  // Takes calls from `from` up to `end`. Returns the next one.
  std::set<std::int64_t>::iterator take(std::int64_t from, std::int64_t end, std::size_t room) {
    auto call = due_.lower_bound(from);
    while (call != due_.end() && *call < end && room > 0) {
      read_.push_back(*call);
      call = due_.erase(call);
      --room;
    }
    return call;
  }

  UnreadCalls unread_;
  std::set<std::int64_t> due_;
  std::vector<std::int64_t> read_;
};

TEST(UnreadCalls, HasNoneAtFirst) {
  UnreadCalls unread;
  EXPECT_TRUE(unread.none());
  EXPECT_EQ(ranges_of(unread), Pairs{});
  unread.read(0, kEnd);
  EXPECT_TRUE(unread.none());
}

TEST(UnreadCalls, ContinuesWhereAReadStopped) {
  UnreadCalls unread;
  unread.read(0, 50);
  EXPECT_EQ(ranges_of(unread), (Pairs{{50, kEnd}}));
  unread.read(50, 80);
  EXPECT_EQ(ranges_of(unread), (Pairs{{80, kEnd}}));
  unread.read(80, kEnd);
  EXPECT_TRUE(unread.none());
}

TEST(UnreadCalls, KeepsItsPlaceWhenAnEarlierCallIsDueAgain) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(70, 70);
  EXPECT_EQ(ranges_of(unread), (Pairs{{50, kEnd}})) << "it comes anyway";
  unread.read(30, 30);
  unread.read(40, 40);
  EXPECT_EQ(ranges_of(unread), (Pairs{{30, 50}, {50, kEnd}}));
  unread.read(50, 60);
  EXPECT_EQ(ranges_of(unread), (Pairs{{30, 50}, {60, kEnd}}));
}

TEST(UnreadCalls, ReadsWhatIsDueAgainToItsEnd) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(30, 30);
  unread.read(30, 40, 50);
  unread.read(35, 35);
  unread.read(20, 20);
  EXPECT_EQ(ranges_of(unread), (Pairs{{40, 50}, {50, kEnd}})) << "35 and 20 wait for the next time";
  unread.read(50, 60);
  unread.read(40, kEnd, 50);
  EXPECT_EQ(ranges_of(unread), (Pairs{{20, 60}, {60, kEnd}}));
  unread.read(20, 60, 60);
  EXPECT_EQ(ranges_of(unread), (Pairs{{60, kEnd}}));
}

TEST(UnreadCalls, MayHaveOnlyCallsThatAreDueAgain) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(30, 30);
  unread.read(50, kEnd);
  EXPECT_EQ(ranges_of(unread), (Pairs{{30, 50}}));
  unread.read(10, 10);
  unread.read(90, 90);
  EXPECT_EQ(ranges_of(unread), (Pairs{{30, 50}, {90, kEnd}})) << "90 is new";
  unread.read(90, kEnd);
  unread.read(30, kEnd, 50);
  EXPECT_EQ(ranges_of(unread), (Pairs{{10, kEnd}}));
}

TEST(UnreadCalls, IgnoresAReadOfARangeThatHasChanged) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(30, 30);
  unread.read(29, kEnd, 50);
  unread.read(30, kEnd, 49);
  EXPECT_EQ(ranges_of(unread), (Pairs{{30, 50}, {50, kEnd}}));
}

TEST(UnreadCalls, AReadOfAllLeavesOnlyWhatItDidNotReach) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(30, 30);
  unread.read(10, 10);
  unread.read(20, kEnd);
  EXPECT_EQ(ranges_of(unread), (Pairs{{10, kEnd}}));
  unread.read(0, kEnd);
  EXPECT_TRUE(unread.none());
}

TEST(UnreadCalls, TakesTurnsWhichRangeIsFirst) {
  UnreadCalls unread;
  unread.read(0, 50);
  unread.read(30, 30);
  const std::int64_t first = unread.ranges().front().from;
  const std::int64_t second = unread.ranges().front().from;
  EXPECT_NE(first, second);
  EXPECT_EQ(unread.ranges().front().from, first);
}

// As when an app is away: each call that was read is due again soon, and far more are due than can be read.
TEST(UnreadCalls, CallsThatAreDueAgainDoNotKeepNewOnesWaiting) {
  Ledger ledger;
  std::set<std::int64_t> never_read;
  for (std::int64_t id = 1; id <= 1000; ++id) {
    ledger.announce(id);
    never_read.insert(id);
  }
  int reads = 0;
  while (!never_read.empty() && reads < 1000) {
    ++reads;
    ledger.read(10);
    for (const std::int64_t id : ledger.take_read()) {
      never_read.erase(id);
      ledger.announce(id);
    }
  }
  EXPECT_LE(reads, 2 * 1000 / 10 + 2);
}

// More new calls come than can be read.
TEST(UnreadCalls, NewCallsDoNotKeepThoseWaitingThatAreDueAgain) {
  Ledger ledger;
  std::int64_t id = 0;
  for (int reads = 0; reads < 100; ++reads) {
    for (int i = 0; i < 20; ++i) ledger.announce(++id);
    ledger.read(10);
    ledger.take_read();
  }
  ledger.announce(1);
  int waited = 0;
  for (int reads = 1; reads < 1000 && waited == 0; ++reads) {
    for (int i = 0; i < 20; ++i) ledger.announce(++id);
    ledger.read(10);
    const std::vector<std::int64_t> read = ledger.take_read();
    if (std::find(read.begin(), read.end(), 1) != read.end()) waited = reads;
  }
  EXPECT_GE(waited, 1);
  EXPECT_LE(waited, 2);
}

TEST(UnreadCalls, LoseNoCallWhateverComesInWhichOrder) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&random](int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random); };
    Ledger ledger;
    std::vector<std::int64_t> known;
    std::int64_t id = 0;
    for (int steps = 0; steps < 200; ++steps) {
      const int step = below(10);
      if (step < 4) {
        known.push_back(id += 1 + below(3));
        ledger.announce(known.back());
      } else if (step < 6 && !known.empty()) {
        ledger.announce(known[static_cast<std::size_t>(below(static_cast<int>(known.size())))]);
      } else if (step < 9) {
        ledger.read(static_cast<std::size_t>(below(4)));
      } else {
        ledger.look(below(static_cast<int>(id) + 2), static_cast<std::size_t>(below(4)));
      }
    }
    int reads = 0;
    for (; !ledger.unread().none() && reads < 1000; ++reads) ledger.read(3);
    ASSERT_TRUE(ledger.unread().none()) << "seed " << seed;
    ASSERT_TRUE(ledger.all_read()) << "seed " << seed;
  }
}

}  // namespace
