#pragma once

#include "wee5_cron/delivery/engine.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a result is not the end of its call.
inline bool is_made_again(const delivery::Result* result) { return result->retry_at_us > 0; }

// What its row's status becomes.
inline const char* status_of(const delivery::Result* result) {
  if (result->outcome.succeeded) return "succeeded";
  if (is_made_again(result)) return "retrying";
  return result->outcome.reason == core::Reason::kCancelled ? "cancelled" : "failed";
}

// Books results row by row, without a statement. Sets left[i] for those that the statement has to book: somebody has
// the row locked or changed it meanwhile. False where the tables are not as the extension made them, a user's trigger
// being there, say: then nothing was done, and the statement has to book them all.
bool write_results(const delivery::Result* results, int count, bool* left);

}  // namespace wee5::pg
