// What COMMIT waits for if there is a synchronous standby. The worker must not wait, so it checks instead.

#include "wee5_cron/pg/worker/synchronous_standby.h"

namespace wee5::pg {

namespace {

// A synchronous standby that confirms nothing for so long counts as gone.
constexpr int64 kStandbyPatienceUs = 500'000;

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

bool is_silent(Worker* worker) {
  // Standbys confirm the log in its order.
  if (!standby_lacks(Max(worker->unflushed_commit, worker->calls_read_at))) {
    worker->unconfirmed_since_us = 0;
    return false;
  }
  int64 now = now_us();
  if (worker->unconfirmed_since_us == 0) worker->unconfirmed_since_us = now;
  return now - worker->unconfirmed_since_us > kStandbyPatienceUs;
}

}  // namespace

bool standby_lacks(XLogRecPtr position) { return commits_wait() && confirmed_to() < position; }

bool standbys_are_there() {
  if (!commits_wait()) return true;
  SyncRepStandbyData* standbys = nullptr;
  int count = SyncRepGetCandidateStandbys(&standbys);
  if (standbys != nullptr) pfree(standbys);
  return count >= SyncRepConfig->num_sync;
}

bool is_cut_off(Worker* worker) { return !standbys_are_there() || is_silent(worker); }

bool standby_lacks_calls(const Worker* worker) { return standby_lacks(worker->calls_read_at); }

}  // namespace wee5::pg
