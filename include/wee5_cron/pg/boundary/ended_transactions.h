#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// A call reads the same few rows as the call before. These functions tell whether they can have changed since: nobody
// sees what another transaction writes before that one has ended, and Postgres counts the transactions that end.

// How many transactions have ended. Every new snapshot carries this number: take it before you read. 0: not known,
// because the snapshot is not new.
inline uint64 ended_transactions() { return GetLatestSnapshot()->snapXactCompletionCount; }

// Whether this transaction may have changed rows of the table itself: if so, it holds a lock until it ends or rolls the
// change back. `database`: InvalidOid for a catalog that all databases share.
inline bool changed_here(Oid database, Oid table) {
  return holds_lock(database, table, RowExclusiveLock) || holds_lock(database, table, AccessExclusiveLock);
}

}  // namespace wee5::pg
