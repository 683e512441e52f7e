// What COMMIT waits for if there is a synchronous standby. The worker must not wait, so it checks instead.

#include "wee5_cron/pg/worker/synchronous_standby.h"

namespace wee5::pg {

namespace {

int wait_mode() {
  switch (synchronous_commit) {
    case SYNCHRONOUS_COMMIT_REMOTE_WRITE:
      return SYNC_REP_WAIT_WRITE;
    case SYNCHRONOUS_COMMIT_REMOTE_APPLY:
      return SYNC_REP_WAIT_APPLY;
    default:
      return SYNC_REP_WAIT_FLUSH;
  }
}

// The log position that the synchronous standbys have confirmed. Postgres advances it whether a session waits or not.
XLogRecPtr confirmed_to() {
  LWLockAcquire(SyncRepLock, LW_SHARED);
  XLogRecPtr position = WalSndCtl->lsn[wait_mode()];
  LWLockRelease(SyncRepLock);
  return position;
}

// SyncRepConfig: synchronous_standby_names, NULL if it is empty.
bool commits_wait() { return SyncRepRequested() && SyncRepConfig != nullptr; }

}  // namespace

bool standby_lacks(XLogRecPtr position) { return commits_wait() && confirmed_to() < position; }

bool standbys_are_there() {
  if (!commits_wait()) return true;
  SyncRepStandbyData* standbys = nullptr;
  int count = SyncRepGetCandidateStandbys(&standbys);
  if (standbys != nullptr) pfree(standbys);
  return count >= SyncRepConfig->num_sync;
}

}  // namespace wee5::pg
