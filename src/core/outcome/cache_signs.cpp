#include "wee5_cron/core/outcome/cache_signs.hpp"

#include <algorithm>

#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

// In a list, the first member counts. Anything but a number of seconds is no sign. The number may have any length.
bool is_above_zero(std::string_view age) noexcept {
  const std::string_view seconds = without_blanks_around(age.substr(0, age.find(',')));
  return std::all_of(seconds.begin(), seconds.end(), is_digit) &&
         seconds.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

void CacheSigns::read_line(std::string_view line) noexcept {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = without_blanks_around(line.substr(colon + 1));
  if (equals_ignoring_case(name, "x-vercel-cache")) {
    vercel_hit_ = vercel_hit_ || equals_ignoring_case(value, "hit");
    vercel_stale_ = vercel_stale_ || equals_ignoring_case(value, "stale");
  } else if (equals_ignoring_case(name, "x-nextjs-cache")) {
    nextjs_hit_ = nextjs_hit_ || equals_ignoring_case(value, "hit");
  } else if (equals_ignoring_case(name, "age") && !age_known_) {
    // Several lines form one list.
    age_known_ = true;
    aged_ = is_above_zero(value);
  }
}

std::string CacheSigns::text() const {
  std::string signs;
  const auto add = [&signs](bool there, const char* sign) {
    if (!there) return;
    if (!signs.empty()) signs += ", ";
    signs += sign;
  };
  add(vercel_hit_, "x-vercel-cache: HIT");
  add(vercel_stale_, "x-vercel-cache: STALE");
  add(nextjs_hit_, "x-nextjs-cache: HIT");
  add(aged_, "Age above 0");
  return signs;
}

}  // namespace wee5::core
