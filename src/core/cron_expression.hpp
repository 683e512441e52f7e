#pragma once

#include <bitset>
#include <optional>
#include <string_view>

#include "wee5_cron/core/cron_schedule.hpp"

namespace wee5::core {

// What a schedule's text says, before anything is asked of it. Bits count from the field's first value: day 1 and
// January are bit 0. Wide enough for whatever the reader sets.
struct CronExpression {
  using Bits = std::bitset<64>;
  Bits minutes, hours, days, months, weekdays;
  bool day_star = false;
  bool weekday_star = false;
  bool last_day = false;
  bool at_reboot = false;
};

// Five fields or a word such as @hourly; nullopt where pg_cron refuses the text as such.
std::optional<CronExpression> read_cron_expression(std::string_view text, CronDialect dialect);

// The N of 'N seconds', 1..59; 0 where the text is no such interval.
int read_seconds_interval(std::string_view text);

}  // namespace wee5::core
