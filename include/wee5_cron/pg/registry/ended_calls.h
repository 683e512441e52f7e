#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Tells sessions in wait_for() that their call has ended. A fixed number of condition variables in shared memory serves
// all databases; the call's id picks one. Two calls may share a variable, so a session that wakes up looks again.

// Requests and sets up the shared memory (preload only).
void install_ended_calls();

// The variable of a call of this database; NULL where the library is not preloaded.
ConditionVariable* ended_call_variable(int64 id);

// Remembers that this transaction ends the call. Never raises.
void note_ended_call(int64 id);
// Wakes the sessions that wait for the remembered calls. Call it when the transaction has committed: before that, they
// would look and find nothing new. Never raises.
void announce_ended_calls();
// Forgets them; the transaction was rolled back.
void forget_ended_calls();

}  // namespace wee5::pg
