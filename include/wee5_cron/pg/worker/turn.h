#pragma once

#include "wee5_cron/pg/worker/worker.h"

namespace wee5::pg {

inline constexpr int64 kFlushPatienceUs = 100'000;  // after that the launcher is asked again for a flush

// One turn: the transaction, and what follows from it once it is committed.
void take_turn(Worker* worker, bool read_ledger);

// Records the answers that have come, as the last thing before the process ends.
void record_last_results(Worker* worker);

// Functions of the extension announce the calls they make. Rows that somebody else inserts are found by a round through
// the whole ledger, which follows each wake, at most once a second. Only a busy worker makes rounds. They cost most
// where an old snapshot keeps ended calls in the index.
void request_round(Worker* worker);
// The same without the pause between two rounds.
void request_round_at_once(Worker* worker);

// A call that is sent at most once leaves when the synchronous standbys, too, know that it was begun.
void send_claimed_calls(Worker* worker);

// True while the launcher still flushes the log of the previous batch, or a synchronous standby has not confirmed it,
// and memory has room for more results. The worker never waits for either: it serves the network meanwhile.
bool previous_batch_is_unflushed(Worker* worker);

// Moves the deadlines of requests by the time since `since_us`, in which the worker did not serve the network.
void extend_deadlines(Worker* worker, int64 since_us);

// Ends the report of a lack of descriptors, for a worker that leaves.
void withdraw_shortage(Worker* worker);

}  // namespace wee5::pg
