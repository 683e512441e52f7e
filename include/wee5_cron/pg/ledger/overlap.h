#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Which calls a call must not overlap with: the values of the ledger's column `exclusive`.
inline constexpr const char* kExclusivePath = "path";    // those of exactly its path
inline constexpr const char* kExclusiveRoute = "route";  // those of its path, whatever the query

// Whether the sender has call `id` in memory.
using HeldTest = bool (*)(int64 id, const void* context);

// Returns the id of an unfinished call that the call of `path` would overlap with; 0: none. Looks at calls that are
// committed or were made by this transaction. Ignores calls by roles whose app has another address than that of `role`,
// which makes the call. Texts are in the server's encoding.
//   call_id 0: the call has no row yet, so every unfinished call overlaps with it.
//   Else: that call waits to be sent. It overlaps with calls that were queued before it, and with calls that were sent.
//   `is_held` may be NULL. It is called with `context`, and knows calls that the ledger does not show as sent yet.
int64 find_overlapping_call(const char* path, const char* exclusive, const char* role, int64 call_id, HeldTest is_held,
                            const void* context);

// Until the transaction ends, nobody else can queue a call of this path on pg_net. False, without waiting, if another
// transaction is doing so: its call is not visible yet.
bool lock_path(const char* path);

// Error and hint of a call that is skipped because call `overlapping` has not ended. Palloc'd.
char* overlap_error(const char* path, int64 overlapping);
char* overlap_hint(const char* path);

}  // namespace wee5::pg
