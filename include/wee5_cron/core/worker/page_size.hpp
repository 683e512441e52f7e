#pragma once

#include <algorithm>
#include <cstdint>

namespace wee5::core {

// How many rows the worker reads or deletes in one step of its chores. During a step it does not serve the network, so
// a step shall take some milliseconds, on whatever machine.
inline constexpr int kFirstPageSize = 250;
inline constexpr int kLeastPageSize = 16;
inline constexpr int kMostPageSize = 1000;
inline constexpr std::int64_t kShortStepUs = 1'000;
inline constexpr std::int64_t kLongStepUs = 4'000;

// The size of the next step, after one of this size took so long.
constexpr int next_page_size(int page_size, std::int64_t took_us) noexcept {
  if (took_us > kLongStepUs) return std::max(page_size / 2, kLeastPageSize);
  if (took_us < kShortStepUs) return std::min(page_size * 2, kMostPageSize);
  return page_size;
}

}  // namespace wee5::core
