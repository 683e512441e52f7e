#include "wee5_cron/pg/ledger/path_floor.h"

namespace wee5::pg {

namespace {

constexpr uint32 kPaths = 64;
constexpr int64 kForgottenAfterUs = 10 * USECS_PER_SEC;

struct PathFloor {
  char* path;  // NULL: free
  Oid ledger;
  int64 floor;
  int64 candidate;  // becomes the floor when all transactions before candidate_xmax have ended; 0: none
  TransactionId candidate_xmax;
  TimestampTz known_since;
};
PathFloor floors[kPaths];

PathFloor* place_of(const char* path) {
  uint32 hash = DatumGetUInt32(hash_any(reinterpret_cast<const unsigned char*>(path), static_cast<int>(strlen(path))));
  return &floors[hash % kPaths];
}

bool is_of(const PathFloor* known, Oid ledger, const char* path) {
  return known->path != nullptr && known->ledger == ledger && strcmp(known->path, path) == 0;
}

}  // namespace

int64 path_floor(Oid ledger, const char* path) {
  PathFloor* known = place_of(path);
  TimestampTz now = GetCurrentTimestamp();
  if (!is_of(known, ledger, path)) return 0;
  TimestampTz age = now - known->known_since;
  if (age >= 0 && age < kForgottenAfterUs) return known->floor;
  known->floor = 0;
  known->candidate = 0;
  known->known_since = now;
  return 0;
}

void learn_path_floor(Oid ledger, const char* path, int64 below, Snapshot snapshot) {
  PathFloor* known = place_of(path);
  if (!is_of(known, ledger, path)) {
    char* copy = MemoryContextStrdup(TopMemoryContext, path);
    if (known->path != nullptr) pfree(known->path);
    *known = {copy, ledger, 0, 0, InvalidTransactionId, GetCurrentTimestamp()};
  }
  if (known->candidate != 0 && TransactionIdPrecedesOrEquals(known->candidate_xmax, snapshot->xmin)) {
    known->floor = Max(known->floor, Min(known->candidate, below));
    known->candidate = 0;
  }
  if (known->candidate == 0) {
    known->candidate = below;
    known->candidate_xmax = snapshot->xmax;
  } else {
    known->candidate = Min(known->candidate, below);
  }
}

}  // namespace wee5::pg
