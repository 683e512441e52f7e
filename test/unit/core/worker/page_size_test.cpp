#include "wee5_cron/core/worker/page_size.hpp"

#include <gtest/gtest.h>

namespace wee5::core {
namespace {

TEST(PageSize, StaysWhileAStepTakesSomeMilliseconds) {
  for (const std::int64_t took : {kShortStepUs, std::int64_t{2'000}, kLongStepUs})
    EXPECT_EQ(next_page_size(kFirstPageSize, took), kFirstPageSize);
}

TEST(PageSize, AStepThatTookTooLongIsHalved) {
  EXPECT_EQ(next_page_size(kFirstPageSize, kLongStepUs + 1), kFirstPageSize / 2);
}

TEST(PageSize, AShortStepIsDoubled) { EXPECT_EQ(next_page_size(kFirstPageSize, 0), 2 * kFirstPageSize); }

TEST(PageSize, HasBounds) {
  int size = kFirstPageSize;
  for (int step = 0; step < 20; ++step) size = next_page_size(size, 60'000'000);
  EXPECT_EQ(size, kLeastPageSize);
  for (int step = 0; step < 20; ++step) size = next_page_size(size, 1);
  EXPECT_EQ(size, kMostPageSize);
}

// 40 us a row, as on a slow disk: no step is longer than twice the long one.
TEST(PageSize, FindsTheSizeForTheMachine) {
  int size = kFirstPageSize;
  for (int step = 0; step < 10; ++step) size = next_page_size(size, size * 40);
  EXPECT_LE(size * 40, kLongStepUs);
  EXPECT_GE(size * 40, kShortStepUs);
}

}  // namespace
}  // namespace wee5::core
