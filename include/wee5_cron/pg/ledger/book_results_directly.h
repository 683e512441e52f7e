#pragma once

#include "wee5_cron/delivery/engine.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Books results row by row, without a statement, at a third of its cost. Sets left[i] for results that the statement
// must book, because another transaction has locked or changed the row. Returns false, and does nothing, if a user
// altered the tables, for example by adding a trigger. Then the statement must book all results.
bool record_directly(const delivery::Result* results, int count, bool* left);

}  // namespace wee5::pg
