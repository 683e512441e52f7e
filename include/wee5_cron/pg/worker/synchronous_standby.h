#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a session that committed at this position of the log, with its usual synchronous_commit, would still wait for
// a synchronous standby.
bool standby_lacks(XLogRecPtr position);

// Whether as many synchronous standbys are connected as a commit needs. If not, a commit waits until they are: this may
// be a primary that was cut off, while another one was promoted.
bool standbys_are_there();

}  // namespace wee5::pg
