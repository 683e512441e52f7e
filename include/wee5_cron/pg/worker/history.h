#pragma once

#include "wee5_cron/pg/registry/history_walk.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// Pruning: the worker walks through the ledger, page by page, and deletes calls whose retention is over. Times are
// Postgres's, in microseconds; 0: none.

// Prunes one page, in the worker's transaction; returns when the next page is due. `process_settings`: the settings
// without what is stored for the database.
int64 prune_some_history(const WorkerSettings* process_settings, HistoryWalk* walk);

// When the next walk is due after a turn that found these settings and perhaps new calls. `due_us`: when it was due
// before.
int64 history_due_us(const WorkerSettings* settings, HistoryWalk* walk, int64 due_us);

}  // namespace wee5::pg
