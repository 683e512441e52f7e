#pragma once

namespace wee5::pg {

// Registers the transaction callback; once, from _PG_init (it is never deduplicated nor freed).
void install_wake();

// The worker of this database shall look at the whole ledger when the current transaction commits.
void wake_worker_at_commit();
// The same for a call that this transaction made: the worker looks at its row only.
void announce_call_at_commit(long long id);
// The worker of this database shall look at pg_cron's jobs when the current transaction commits.
void note_jobs_changed();
// The worker of another database shall look, of which something changed (it was created, or allows connections again).
void wake_database_at_commit(unsigned int database);

}  // namespace wee5::pg
