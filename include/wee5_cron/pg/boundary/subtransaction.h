#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Runs `work` in a subtransaction. If it raises an ERROR, rolls the subtransaction back, copies the error to *error (in
// the current memory context), and returns false. `work` must have no local with a destructor.
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
    work();
    ReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    done = true;
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
