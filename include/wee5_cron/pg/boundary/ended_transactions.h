#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// For what a call looks up in a table again and again: whether it can have changed since it was read. Nothing that
// others write is seen before their transaction has ended, and those that end are counted.

// Their number, which stands in every new snapshot: take it before reading. 0: not known, where the snapshot is not
// new.
inline uint64 ended_transactions() { return GetLatestSnapshot()->snapXactCompletionCount; }

// Whether this transaction may have changed rows of the table itself: it holds the lock for that until it ends, or
// until the change is rolled back. `database`: InvalidOid for a catalog that all databases share.
inline bool changed_here(Oid database, Oid table) {
  return holds_lock(database, table, RowExclusiveLock) || holds_lock(database, table, AccessExclusiveLock);
}

}  // namespace wee5::pg
