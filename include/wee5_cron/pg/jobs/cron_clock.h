#pragma once

#include <cstdint>

#include "wee5_cron/core/cron_schedule.hpp"

namespace wee5::pg {

// How the installed pg_cron reads a schedule, told by its settings and never by its version. load_cron_clock() first:
// it may raise, the other two never do and can be used in C++.
void load_cron_clock();
core::CronDialect cron_dialect();
// The wall clock that pg_cron compares with: unix seconds to a minute in cron.timezone, or in GMT where pg_cron has no
// such setting (before 1.5).
core::LocalMinute cron_wall_clock(std::int64_t unix_seconds);

}  // namespace wee5::pg
