#pragma once

#include "wee5_cron/core/outcome/outcome.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/ledger/overlap.h"

// The calls of $ids that have not ended and whose rows nobody else holds locked, as a subquery that locks them. It goes
// by the primary key: after statistics from a time when nothing was open, Postgres takes an index of the open rows for
// an empty one, and would read all of it for each call.
#define WEE5_OPEN_AND_FREE(ids)                                              \
  "SELECT f.id FROM (SELECT l.id, l.finished_at FROM wee5_cron.invocation l" \
  "                  WHERE l.id = ANY (" ids                                 \
  ") OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED) f"                              \
  " WHERE f.finished_at IS NULL"

namespace wee5::pg {

// The error of a call that ended without an answer: one text, whoever records the end. `path` and the result are in the
// server's encoding, palloc'd; `detail` is that of core::Observation.
char* outcome_error(core::Reason reason, const char* path, const char* detail);

// For the worker, in a transaction with an open SPI connection. These functions end calls that are not on the wire.
// They skip calls that have ended, and rows that another transaction has locked.

// Ends a call that gives way to call `overlapping`. False where its row is locked.
bool skip_for_overlap(int64 id, const char* path, int64 overlapping);
// The same for a call that may wait until the other one has ended (overlap = queue): it is skipped if one waits
// already.
bool wait_or_skip(const OverlapQuery* query, int64 overlapping);
// Ends a call whose row cannot be read; `error` says why. False where its row is locked.
bool end_unreadable(int64 id, const char* error);
// False where its row is locked.
bool end_cancelled(int64 id, const char* path);
// Writes the row of an attempt that a crash or a restart cut off. The call goes on.
void record_lost_attempt(int64 id, int attempt, const char* path);

}  // namespace wee5::pg
