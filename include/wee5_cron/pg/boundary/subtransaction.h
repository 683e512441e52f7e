#pragma once

#include <type_traits>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Runs `work` in a subtransaction. If it raises an ERROR, rolls the subtransaction back, copies the error to *error (in
// the current memory context), and returns false. If `work` itself returns false, the subtransaction is rolled back,
// too, and *error is null. `work` must have no local with a destructor.
template <class Work>
bool in_subtransaction(Work work, ErrorData** error) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  volatile bool done = false;
  *error = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    bool keep = true;
    if constexpr (std::is_same_v<decltype(work()), bool>)
      keep = work();
    else
      work();
    if (keep)
      ReleaseCurrentSubTransaction();
    else
      RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    done = keep;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    *error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
  }
  PG_END_TRY();
  return done;
}

}  // namespace wee5::pg
