#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Which calls a call may not overlap with; the words of the ledger's column `exclusive`.
inline constexpr const char* kExclusivePath = "path";    // those of exactly its path
inline constexpr const char* kExclusiveRoute = "route";  // those of its path, whatever the query

using HeldTest = bool (*)(int64 id, const void* context);

// A call that has not ended and that the call of `path` would overlap with, as it is committed now or written by this
// transaction; 0: none. `role`: whose call it is; a call by a role whose app has another
// address is in nobody's way. Texts in the server's encoding.
//   call_id 0: the call is not written yet, so whatever has not ended counts.
//   else: that call waits to be sent; what was queued before it counts, and what is sent already. `held`, or NULL,
//   knows
//         what the ledger does not say yet, of his `context`.
int64 find_unfinished_beside(const char* path, const char* exclusive, const char* role, int64 call_id, HeldTest is_held,
                             const void* context);

// Keeps others from queueing a call of this path on pg_net until the transaction ends. False, without waiting, where
// somebody else does so: what he queues is not to be seen yet.
bool lock_path(const char* path);

// What is said about a call that is skipped beside call `beside`. palloc'd.
char* overlap_error(const char* path, int64 beside);
char* overlap_hint(const char* path);

}  // namespace wee5::pg
