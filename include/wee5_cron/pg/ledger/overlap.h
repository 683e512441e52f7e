#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Which calls a call must not overlap with: the values of the ledger's column `exclusive`.
inline constexpr const char* kExclusivePath = "path";    // those of exactly its path
inline constexpr const char* kExclusiveRoute = "route";  // those of its path, whatever the query

// Whether the sender has call `id` in memory.
using HeldTest = bool (*)(int64 id, const void* context);

// A call that is about to be queued or sent. Texts are in the server's encoding.
struct OverlapQuery {
  const char* path;
  const char* exclusive;
  const char* role;     // that made the call
  const char* key;      // of a new call; NULL: none
  int64 call_id;        // 0: the call has no row yet
  int64 besides;        // a call that does not count; 0: all do
  TimestampTz made_at;  // of a call that has a row: requested_at
  bool has_due_at;      // of a call that has a row
  TimestampTz due_at;
  HeldTest is_held;     // NULL, or knows calls that the ledger does not show as sent yet
  const void* context;  // of is_held
};

// Returns the id of an unfinished call that this one would overlap with; 0: none. Looks at calls that are committed or
// were made by this transaction. Ignores calls that wait for their time, calls by roles whose app has another address,
// and calls that a new call with their key replaces.
//   A call without a row overlaps with every unfinished call.
//   Else the call waits to be sent. It overlaps with calls that were queued before it, and with calls that were sent.
//   A call with a time of its own counts as queued at that time.
int64 find_overlapping_call(const OverlapQuery* query);

// Until the transaction ends, nobody else can queue a call of this path on pg_net. False, without waiting, if another
// transaction is doing so: its call is not visible yet.
bool lock_path(const char* path);

// The call `overlapping` is in the way of a call that may wait for its end (overlap = queue). Returns another one that
// is in the way as well, so that the call is skipped; 0: the call waits.
int64 find_call_that_waits(const OverlapQuery* query, int64 overlapping);

// Error and hint of a call that is skipped because call `overlapping` has not ended. Palloc'd.
char* overlap_error(const char* path, int64 overlapping);
char* overlap_hint(const char* path);

}  // namespace wee5::pg
