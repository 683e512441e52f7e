#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Which calls a call must not overlap with: the words of the ledger's column `exclusive`.
inline constexpr const char* kExclusivePath = "path";    // those of exactly its path
inline constexpr const char* kExclusiveRoute = "route";  // those of its path, whatever the query

// Whether the sender has call `id` in memory.
using HeldTest = bool (*)(int64 id, const void* context);

// An unfinished call that the call of `path` would overlap with; 0: none. It counts if it is committed, or written by
// this transaction. `role` is the owner of the call: a call by a role whose app has another address is in nobody's way.
// Texts are in the server's encoding.
//   call_id 0: the call has no row yet, and every unfinished call counts.
//   Else that call waits to be sent. Calls that were queued before it count, and calls that have been sent. `is_held`,
//   or NULL, knows of calls that the ledger does not show as sent yet; it is called with `context`.
int64 find_unfinished_beside(const char* path, const char* exclusive, const char* role, int64 call_id, HeldTest is_held,
                             const void* context);

// Until the transaction ends, nobody else can queue a call of this path on pg_net. False, without waiting, if another
// transaction is doing so: its call is not visible yet.
bool lock_path(const char* path);

// Error and hint of a call that is skipped because call `beside` has not ended. Palloc'd.
char* overlap_error(const char* path, int64 beside);
char* overlap_hint(const char* path);

}  // namespace wee5::pg
