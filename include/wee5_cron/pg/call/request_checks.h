#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Raises 22023 for a jsonb whose text, which is what is sent, is larger than wee5_cron.max_request_bytes, and an
// encoding's error for one that cannot be sent as UTF-8: the caller's errors, not the worker's.
void check_body_bytes(Datum body);

}  // namespace wee5::pg
