#pragma once

#include <cstdint>

#include "wee5_cron/core/jobs/cron_schedule.hpp"

namespace wee5::pg {

// How the installed pg_cron reads a schedule, and its clock. Call load_cron_clock() first: it may raise. The others
// never do, so C++ can call them. The settings of pg_cron tell what it understands; its version number does not.
void load_cron_clock();
core::CronDialect cron_dialect();
// The wall clock that pg_cron compares schedules with: converts unix seconds to a minute in cron.timezone, or in GMT if
// pg_cron has no such setting (before 1.5).
core::LocalMinute cron_wall_clock(std::int64_t unix_seconds);

}  // namespace wee5::pg
