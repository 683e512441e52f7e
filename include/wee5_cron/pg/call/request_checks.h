#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Raises 22023 for a jsonb whose text, which is what is sent, is larger than wee5_cron.max_request_bytes, and an
// encoding's error for one that cannot be sent as UTF-8: the caller's errors, not the worker's.
void check_body_bytes(Datum body);

// The time for which a call is made that asks for `at`: a time that has passed is now. Raises 22023 for an infinite
// time and for one that is more than 10 years away.
TimestampTz due_time(TimestampTz at);
// Raises 22023 for a key that is too long.
void check_key(const char* key);

}  // namespace wee5::pg
