#include "wee5_cron/core/outcome/percentile.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace wee5::core {
namespace {

double percentile_of(std::vector<double> values, double fraction) { return percentile(values, fraction); }

TEST(Percentile, OneValueIsEachPercentile) {
  for (const double fraction : {0.0, 0.5, 0.95, 1.0}) EXPECT_EQ(percentile_of({7}, fraction), 7);
}

TEST(Percentile, LiesBetweenTwoValues) {
  EXPECT_EQ(percentile_of({4, 1}, 0.5), 2.5);
  EXPECT_EQ(percentile_of({1, 2, 3, 4}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile_of({10, 20}, 0.95), 19.5);
}

TEST(Percentile, IsAValueWhereItFallsOnOne) {
  EXPECT_EQ(percentile_of({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(percentile_of({3, 1, 2}, 0), 1);
  EXPECT_EQ(percentile_of({3, 1, 2}, 1), 3);
}

TEST(Percentile, EqualValues) { EXPECT_EQ(percentile_of({5, 5, 5, 5}, 0.95), 5); }

TEST(Percentile, InfiniteAndNaNAreAbove) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(percentile_of({nan, 1, infinity}, 0), 1);
  EXPECT_EQ(percentile_of({nan, 1, infinity}, 0.5), infinity);
  EXPECT_TRUE(std::isnan(percentile_of({nan, 1, infinity}, 1)));
}

TEST(Percentile, AgreesWithSortedValues) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    std::vector<double> values(1 + random() % 300);
    for (double& value : values) value = random() % 50;
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    for (const double fraction : {0.0, 0.25, 0.5, 0.95, 1.0}) {
      const double place = fraction * static_cast<double>(sorted.size() - 1);
      const double low = sorted[static_cast<std::size_t>(place)];
      const double high = sorted[static_cast<std::size_t>(std::ceil(place))];
      EXPECT_EQ(percentile_of(values, fraction), low + (place - std::floor(place)) * (high - low));
    }
  }
}

}  // namespace
}  // namespace wee5::core
