#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a session that committed at `position` of the log would still wait for a synchronous standby, by its
// synchronous_commit outside of a transaction of ours. A standby that is not connected, or that the server has given up
// (wal_sender_timeout), is not waited for: calls go on without it.
bool standby_lacks(XLogRecPtr position);

}  // namespace wee5::pg
