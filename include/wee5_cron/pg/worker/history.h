#pragma once

#include "wee5_cron/pg/registry/history_walk.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// The worker's walks through the ledger, deleting what is kept no longer. Times in microseconds since 2000, 0: none.

// One page of a walk, inside the worker's transaction; says when the next one is due. `base`: as in Turn.
int64 prune_some_history(const WorkerSettings* base);

// When the next walk is due, after a turn that found these settings and perhaps new calls; `due_us`: as it was known.
int64 history_due_us(const WorkerSettings* settings, int64 due_us);

// For the next worker of the database, which goes on with it.
HistoryWalk history_walk();
void resume_history(const HistoryWalk* left);

}  // namespace wee5::pg
