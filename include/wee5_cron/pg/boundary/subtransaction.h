#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Runs `work` in a subtransaction. Where it raises an ERROR, what it did is rolled back, *error says what it was (in
// the current memory context), and the result is false. `work` holds nothing with a destructor.
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
