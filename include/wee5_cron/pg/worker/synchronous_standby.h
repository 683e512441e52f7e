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

// Whether calls are not to be read yet. A session that is cancelled, or ends because the server stops, waits for no
// standby any more, and what it has committed is visible. So calls are read once the standbys have confirmed what was
// visible when the worker first asked, or once it is_cut_off(). The caller forgets calls_visible_at when they are read.
bool standby_may_lack_calls(Worker* worker);

}  // namespace wee5::pg
