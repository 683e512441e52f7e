#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// How far a walk through the history has come. A worker that ends hands it over to the next one. Times are Postgres's,
// in microseconds; 0: none.
struct HistoryWalk {
  bool begun;  // ever: the first walk is due at once
  bool under_way;
  bool learnt;    // the newest calls are noted, which stay
  int page_size;  // of the next step; 0: the first one
  int64 looked_to;
  bool looked_to_known;
  int64 walked_to;
  int64 next_due_us;
  int keep_succeeded_min;
  int keep_failed_min;
  int64 due_us;
  // Calls that a policy lets go before the settings do: a walk of their own, through the younger part of the ledger.
  bool brief;
  int64 brief_keep_us;  // of the policy that keeps its calls for the shortest time; 0: no policy says
  char policies[33];    // their fingerprint
  int64 brief_from;     // where the next walk begins
  int64 brief_pending;  // the first brief call that the walk has left; 0: none
  int64 brief_due_us;
};

}  // namespace wee5::pg
