#pragma once

#include "wee5_cron/pg/boundary/compat.h"

extern "C" {
#include "utils/plancache.h"
}

namespace wee5::pg {

// Whether a rule has replaced the statement by nothing. Such a plan depends on no table, so Postgres does not make it
// anew when the rule is dropped.
inline bool does_nothing(SPIPlanPtr plan) {
  ListCell* cell;
  foreach (cell, SPI_plan_get_plan_sources(plan))
    if (static_cast<CachedPlanSource*>(lfirst(cell))->query_list != NIL) return false;
  return true;
}

// Prepares a statement once for the life of the process. Call it with SPI connected. If a table is dropped and created
// again, the plan finds the new one by its name.
inline SPIPlanPtr kept_plan(SPIPlanPtr* plan, const char* statement, int count, Oid* types) {
  if (*plan != nullptr && does_nothing(*plan)) {
    SPI_freeplan(*plan);
    *plan = nullptr;
  }
  if (*plan == nullptr) {
    SPIPlanPtr fresh = SPI_prepare(statement, count, types);
    if (fresh == nullptr) elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
    SPI_keepplan(fresh);
    *plan = fresh;
  }
  return *plan;
}

// Raises an ERROR unless the statement did what is expected, such as SPI_OK_SELECT. `most`: how many rows it may
// return; 0: any.
inline void execute_plan(SPIPlanPtr plan, Datum* values, const char* nulls, int expected, int64 most = 0) {
  int result = SPI_execute_plan(plan, values, nulls, false, most);
  if (result == SPI_OK_REWRITTEN)
    ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION), errmsg("a rule discards what wee5_cron writes")));
  if (result != expected) elog(ERROR, "unexpected result of a statement: %s", SPI_result_code_string(result));
}

// The same for a SELECT that always returns a row, whose columns selected_column() reads.
inline void select_row(SPIPlanPtr plan, Datum* values, const char* nulls) {
  execute_plan(plan, values, nulls, SPI_OK_SELECT, 1);
  if (SPI_processed != 1) elog(ERROR, "a statement returned no row");
}
inline Datum selected_column(const char* name, bool* is_null) {
  return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, SPI_fnumber(SPI_tuptable->tupdesc, name), is_null);
}

}  // namespace wee5::pg
