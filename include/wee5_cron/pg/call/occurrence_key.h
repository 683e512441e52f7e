#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/ledger/ledger.h"

namespace wee5::pg {

// The idempotency key of the call that a job makes for a tick; core/occurrence.hpp says what it is made of. `row` is
// the call's, with the job's name, the tick, method, path and body; `owner` is the job's, `schedule` in the server's
// encoding. NULL where a call gets a random key: without a name, a tick or an arming id, or by a schedule of so many
// seconds, whose ticks are not the same on two servers. Palloc'd.
pg_uuid_t* occurrence_key(const NewInvocation* row, Oid owner, const char* schedule);

}  // namespace wee5::pg
