#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Remembers, for each path, an id below which all its calls have ended. While somebody holds an old snapshot, ended
// calls stay in the index of unfinished ones, and each search for an overlapping call would visit all of them again.
//
// A transaction has its transaction id before it draws an id for a call: insert_invocation() sees to that. Suppose that
// a search finds no unfinished call below `below`. A call that may still appear there belongs to a transaction that the
// search's snapshot shows as running, so its transaction id is below the snapshot's xmax. When all those have ended and
// a later search finds nothing either, nothing can appear any more.
//
// A user can break this: draw ids in advance, or open a call again. So the knowledge is discarded after a while.

// All calls of the path with lower ids have ended; 0: not known. `ledger` is the table's file, since TRUNCATE makes a
// new one.
int64 path_floor(Oid ledger, const char* path);
// A search from the floor on found no unfinished call with an id below `below`. All those ids were drawn before
// `snapshot`.
void learn_path_floor(Oid ledger, const char* path, int64 below, Snapshot snapshot);

}  // namespace wee5::pg
