#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Postgres counts microseconds from 2000, core and delivery from 1970.
inline constexpr int64 kUnixEpochUs = static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

inline int64 unix_us_of(TimestampTz time) { return time + kUnixEpochUs; }
inline TimestampTz timestamp_of_unix_us(int64 unix_us) { return unix_us - kUnixEpochUs; }

// A time as RFC 3339 in UTC, palloc'd: 2026-01-31T12:30:00Z.
inline char* rfc3339(TimestampTz time) {
  constexpr Size kBytes = 32;
  pg_time_t seconds = timestamptz_to_time_t(time);
  char* text = static_cast<char*>(palloc(kBytes));
  if (pg_strftime(text, kBytes, "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&seconds)) == 0) text[0] = '\0';
  return text;
}

}  // namespace wee5::pg
