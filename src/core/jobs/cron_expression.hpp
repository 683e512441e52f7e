#pragma once

#include <bitset>
#include <optional>
#include <string_view>

#include "wee5_cron/core/jobs/cron_schedule.hpp"

namespace wee5::core {

// The fields of a schedule as they were read. Bits count from the field's first value: day 1 and January are bit 0. A
// field has more bits than values, because pg_cron's parser may set bits beyond the last value.
struct CronExpression {
  using Bits = std::bitset<64>;
  Bits minutes, hours, days, months, weekdays;
  bool day_star = false;
  bool weekday_star = false;
  bool last_day = false;
  bool at_reboot = false;
};

// Reads five fields or a word such as @hourly; nullopt if pg_cron refuses the text as either.
std::optional<CronExpression> read_cron_expression(std::string_view text, CronDialect dialect);

// The N of 'N seconds', 1..59; 0 if the text is no such interval.
int read_seconds_interval(std::string_view text);

}  // namespace wee5::core
