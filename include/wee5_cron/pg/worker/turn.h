#pragma once

#include "wee5_cron/pg/worker/worker.h"

namespace wee5::pg {

inline constexpr int64 kFlushPatienceUs = 100'000;  // after that the launcher is asked again for a flush

// One turn: the transaction, and what follows from it once it is committed.
void take_turn(Worker* worker, bool read_ledger);

// Records what has been answered, as the last thing before the process ends.
void record_last_results(Worker* worker);

// Functions of the extension announce the calls they make. Rows that somebody else inserts are found by a round through
// the whole ledger, which follows each wake, at most once a second. Only a busy worker makes rounds. They cost most
// where an old snapshot keeps ended calls in the index.
void request_round(Worker* worker);
// The same without the pause between two rounds.
void request_round_at_once(Worker* worker);

// A call that is sent at most once leaves when the synchronous standbys, too, know that it was begun.
void send_claimed_calls(Worker* worker);

// True while the log of the batch before is still being flushed by the launcher, or is not confirmed by a synchronous
// standby, and memory has room for more results. The worker never waits for either: it serves the network meanwhile.
bool previous_batch_is_unflushed(Worker* worker);

// The network was not served since then: the deadlines of requests move by that time.
void extend_deadlines(Worker* worker, int64 since_us);

// Ends the report of a lack of descriptors, for a worker that leaves.
void withdraw_shortage(Worker* worker);

}  // namespace wee5::pg
