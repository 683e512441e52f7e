#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Prepares a statement once for the life of the process. Call it with SPI connected. If a table is dropped and created
// again, the plan finds the new one by its name.
inline SPIPlanPtr kept_plan(SPIPlanPtr* plan, const char* statement, int count, Oid* types) {
  if (*plan == nullptr) {
    SPIPlanPtr fresh = SPI_prepare(statement, count, types);
    if (fresh == nullptr) elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
    SPI_keepplan(fresh);
    *plan = fresh;
  }
  return *plan;
}

}  // namespace wee5::pg
