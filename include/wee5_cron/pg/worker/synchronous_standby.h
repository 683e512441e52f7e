#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a session that committed at this position of the log, with its usual synchronous_commit, would still wait for
// a synchronous standby. A standby that is not connected, or that the server has given up (wal_sender_timeout), is not
// waited for: calls are made without it.
bool standby_lacks(XLogRecPtr position);

}  // namespace wee5::pg
