#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// For each path below which id all its calls have ended, as far as this process has found out. While somebody holds an
// old snapshot, calls that ended stay in the index of unfinished ones, and each look for a call in the way would visit
// all of them again.
//
// An id is drawn by a transaction that has its transaction id already (insert_invocation() sees to that). So when a
// look finds no unfinished call below `below`, what may still appear there belongs to transactions that the look's
// snapshot sees as running: their ids lie below its xmax. When they all have ended and a later look finds nothing there
// either, nothing will.
//
// A user may do what calls do not: draw ids in advance, open a call again. So what is known is forgotten after a while.

// All calls of the path with lower ids have ended; 0: not known. `ledger`: the ledger's file, a TRUNCATE makes a new
// one.
int64 path_floor(Oid ledger, const char* path);
// A look from the floor on found no unfinished call with an id below `below`, all of which had been drawn before
// `snapshot` was taken.
void learn_path_floor(Oid ledger, const char* path, int64 below, Snapshot snapshot);

}  // namespace wee5::pg
