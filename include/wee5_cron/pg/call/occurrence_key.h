#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/ledger/insert_call.h"

namespace wee5::pg {

// The idempotency key of the call that a job makes for a tick (core/request/occurrence.hpp). `row` has the job's name,
// the tick, method, path and body; `owner` is the job's; `schedule` is in the server's encoding. NULL if the call gets
// a random key: it has no name, tick or arming id, or its schedule is `N seconds`, whose ticks differ between servers.
// Palloc'd.
pg_uuid_t* occurrence_key(const NewInvocation* row, Oid owner, const char* schedule);

}  // namespace wee5::pg
