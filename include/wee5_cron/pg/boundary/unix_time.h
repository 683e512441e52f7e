#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Postgres counts microseconds from 2000, core and delivery from 1970.
inline constexpr int64 kUnixEpochUs = static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

inline int64 unix_us_of(TimestampTz time) { return time + kUnixEpochUs; }
inline TimestampTz timestamp_of_unix_us(int64 unix_us) { return unix_us - kUnixEpochUs; }
// Ticks are whole seconds.
inline int64 unix_seconds_of(TimestampTz time) { return timestamptz_to_time_t(time); }
inline TimestampTz timestamp_of_unix_seconds(int64 unix_seconds) {
  return time_t_to_timestamptz(static_cast<pg_time_t>(unix_seconds));
}

// The length of an interval. A month has 30 days, as in Postgres. Not every interval fits into an int64.
inline double microseconds_of(const Interval* interval) {
  double days = static_cast<double>(interval->month) * DAYS_PER_MONTH + interval->day;
  return days * static_cast<double>(USECS_PER_DAY) + static_cast<double>(interval->time);
}

// A time as RFC 3339 in UTC, palloc'd: 2026-01-31T12:30:00Z.
inline char* rfc3339(TimestampTz time) {
  constexpr Size kBytes = 32;
  pg_time_t seconds = timestamptz_to_time_t(time);
  char* text = static_cast<char*>(palloc(kBytes));
  if (pg_strftime(text, kBytes, "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&seconds)) == 0) text[0] = '\0';
  return text;
}

}  // namespace wee5::pg
