#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// How far a walk through the history has come. A worker that ends hands it over to the next one.
struct HistoryWalk {
  bool under_way;
  bool learnt;  // the newest calls are noted, which stay
  int64 looked_to;
  bool looked_to_known;
  int64 walked_to;
  int64 next_due_us;
  int keep_succeeded_min;
  int keep_failed_min;
};

}  // namespace wee5::pg
