#pragma once

namespace wee5::pg {

// Registers the transaction callback. Call it once, from _PG_init: Postgres neither deduplicates nor frees callbacks.
void install_wake();

// When the current transaction commits, wakes the worker of this database, to read the whole ledger.
void wake_worker_at_commit();
// The same for a call that this transaction made: the worker reads only its row.
void announce_call_at_commit(long long id);
// When the current transaction commits, has the worker of this database look at pg_cron's jobs.
void note_jobs_changed();
// When the current transaction commits, requests a worker for another database, which was created or allows connections
// again.
void wake_database_at_commit(unsigned int database);

}  // namespace wee5::pg
