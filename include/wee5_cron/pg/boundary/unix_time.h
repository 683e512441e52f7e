#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Postgres counts microseconds from 2000, core and delivery from 1970.
inline constexpr int64 kUnixEpochUs = static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

inline int64 unix_us_of(TimestampTz time) { return time + kUnixEpochUs; }
inline TimestampTz timestamp_of_unix_us(int64 unix_us) { return unix_us - kUnixEpochUs; }

}  // namespace wee5::pg
