#pragma once

#include "wee5_cron/core/outcome.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// The error of a call that ended without an answer, as the ledger has it whoever books the end. `path` and the result
// in the server's encoding, palloc'd; `detail`: as in core::Observation.
char* outcome_error(core::Reason reason, const char* path, const char* detail);

}  // namespace wee5::pg
