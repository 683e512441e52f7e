#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Keeps a database free of its worker, for a statement that needs the database to itself. The worker takes no new
// calls, and ends when its requests have ended. After ten seconds they are cut off, unless `other_sessions_matter` and
// there are other sessions: then the statement fails anyway, and the worker continues. Several statements may hold one
// database.
void hold_database(Oid database, bool other_sessions_matter);
// Transactions that were prepared in that database and have not ended. Statements that need it to themselves fail then.
bool has_prepared_transactions(Oid database);
// Whether the user may end the sessions that are connected to that database, apart from its worker.
bool may_end_sessions(Oid database);
// Releases all databases that this backend holds. Never raises.
void release_held_databases();

}  // namespace wee5::pg
