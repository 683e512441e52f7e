#pragma once

#include "wee5_cron/delivery/engine/engine.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Records results of the worker: the row of each call, and one for each attempt. Skips calls that are gone or ended.
// Puts the ids of rows that somebody else holds locked into `locked`, which has room for `count`, and returns how many.
// `directly`: without a statement where that is possible. In a transaction, with an open SPI connection.
int record_results(const delivery::Result* results, int count, bool directly, int64* locked);

// Raises if a user's trigger or rule discards updates of the ledger. Otherwise the worker would silently repeat them
// for ever. `ids`: the calls whose rows were not updated.
void refuse_discarded_updates(const int64* ids, int count);

// The values that a result puts into the ledger, whether it is written directly or by statement.
enum ResultValue {
  kResultId,
  kResultAttempt,
  kResultStatus,
  kResultReason,
  kResultError,
  kResultHint,
  kResultHttpStatus,
  kResultStartedAt,  // NULL: the attempt was not begun, and gets no row
  kResultFinishedAt,
  kResultUrl,  // NULL: the row keeps its own
  kResultContentType,
  kResultBody,
  kResultTruncated,
  kResultDnsMs,
  kResultConnectMs,
  kResultTlsMs,
  kResultFirstByteMs,
  kResultTotalMs,
  kResultNextAttemptAt,    // NULL: the call has ended
  kResultKeepLastOutcome,  // true: nothing was sent, so the row keeps the outcome of its last attempt
  kResultValues
};
struct BoundResult {
  Datum values[kResultValues];
  bool nulls[kResultValues];
};
void bind_result(const delivery::Result* result, BoundResult* bound);

// Records results row by row, without a statement, at a third of its cost. Sets left[i] for results that the statement
// must record, because another transaction has locked or changed the row. Returns false, and does nothing, if a user
// altered the tables, for example by adding a trigger. Then the statement must record all results.
bool record_directly(const delivery::Result* results, int count, bool* left);

}  // namespace wee5::pg
