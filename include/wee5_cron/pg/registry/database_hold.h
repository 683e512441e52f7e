#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// A statement needs a database to itself. Its worker takes no new calls from now on, and goes when its requests have
// ended. They have ten seconds; then they are cut off, unless `other_sessions_matter` and there are some, so that the
// statement fails anyway: then the worker goes on and nothing was cut. Several statements may hold one database.
void hold_database(Oid database, bool other_sessions_matter);
// Lets go of all databases that this backend holds. Never raises.
void release_held_databases();

}  // namespace wee5::pg
