#pragma once

#include <chrono>
#include <cstdint>

namespace wee5::delivery {

// Microseconds since 1970.
inline std::int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace wee5::delivery
