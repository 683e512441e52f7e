// Feeds any text as a job's schedule. The minutes that it yields must match it.
// Input: a line with the time, any text; the rest is the schedule.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "promise.hpp"
#include "wee5_cron/core/jobs/cron_schedule.hpp"

namespace {

using wee5::core::CronSchedule;
using wee5::fuzz::take_line;

constexpr std::int64_t kHundredYears = 3'155'760'000;

void agrees_with_itself(const CronSchedule& schedule, std::int64_t at) {
  const auto newest = schedule.newest_at_or_before(at, wee5::core::utc_clock);
  const auto next = schedule.next_after(at, wee5::core::utc_clock);
  if (newest) WEE5_PROMISE(*newest <= at && *newest % 60 == 0 && schedule.matches(*newest, wee5::core::utc_clock));
  if (next) WEE5_PROMISE(*next > at && *next % 60 == 0 && schedule.matches(*next, wee5::core::utc_clock));
  if (schedule.interval_seconds() != 0 || schedule.at_reboot()) {
    WEE5_PROMISE(!newest && !next);
    WEE5_PROMISE(schedule.interval_seconds() >= 0 && schedule.interval_seconds() < 60);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t seed = std::hash<std::string_view>{}(take_line(input));
  const std::int64_t at = static_cast<std::int64_t>(seed % static_cast<std::size_t>(kHundredYears));
  for (const bool last_day : {false, true}) {
    for (const bool seconds : {false, true}) {
      if (const auto schedule = CronSchedule::parse(input, {last_day, seconds})) agrees_with_itself(*schedule, at);
    }
  }
  return 0;
}
