#include "wee5_cron/core/outcome/percentile.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace wee5::core {

double percentile(std::span<double> values, double fraction) noexcept {
  // As Postgres orders them. With < alone, NaN would be equal to everything.
  const auto below = [](double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
  const double place = fraction * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<std::size_t>(std::floor(place));
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(lower);
  std::nth_element(values.begin(), nth, values.end(), below);
  const double low = *nth;
  if (std::ceil(place) == static_cast<double>(lower)) return low;
  const double high = *std::min_element(nth + 1, values.end(), below);
  return low + (place - static_cast<double>(lower)) * (high - low);
}

}  // namespace wee5::core
