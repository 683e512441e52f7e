#pragma once

#include "wee5_cron/pg/worker/worker.h"

namespace wee5::pg {

// Whether a session that committed at this position of the log, with its usual synchronous_commit, would still wait for
// a synchronous standby.
bool standby_lacks(XLogRecPtr position);

// Whether as many synchronous standbys are connected as a commit needs. If not, a commit waits until they are: this may
// be a primary that was cut off, while another one was promoted.
bool standbys_are_there();

// Whether a commit would not return. This may be a primary that was isolated: another one may send its calls by now. So
// no request leaves that the standbys could not learn of. Asked outside of the worker's transactions, in which commits
// wait for nothing.
bool is_cut_off(Worker* worker);

// Whether calls that were read may not be sent yet. A session that is cancelled, or ends because the server stops,
// waits for no standby any more, and what it has committed is visible. Until this is false, no further calls are read:
// then it would stay true as long as there are new ones.
bool standby_lacks_calls(const Worker* worker);

}  // namespace wee5::pg
