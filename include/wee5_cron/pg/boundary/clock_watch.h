#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// A process waits by a clock that nobody can set. If somebody sets the system clock meanwhile, the process must look
// again at what is due by that clock. Only a clock that is set counts, not one that is slewed.

// A descriptor that becomes readable when the system clock is set; PGINVALID_SOCKET: the kernel does not report it.
pgsocket open_clock_watch();
// Whether the clock was set since the last call.
bool clock_was_set(pgsocket watch);

}  // namespace wee5::pg
