#include "wee5_cron/pg/wake.h"

#include "wee5_cron/pg/worker_registry.h"

namespace wee5::pg {

namespace {

bool wake_wanted = false;
Oid other_database = InvalidOid;
Oid held_database = InvalidOid;

// At COMMIT the rows are visible already, and it is too late for an error: nothing here can raise. A PREPARE forgets
// the wish; COMMIT PREPARED, possibly by another session, wakes through the utility hook.
void at_transaction_end(XactEvent event, void* arg) {
  (void)arg;
  switch (event) {
    case XACT_EVENT_COMMIT:
      if (wake_wanted) registry_wake(MyDatabaseId);
      if (OidIsValid(other_database)) registry_want(other_database);
      break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
      break;
    default:
      return;
  }
  if (OidIsValid(held_database)) registry_release(held_database);
  held_database = InvalidOid;
  wake_wanted = false;
  other_database = InvalidOid;
}

}  // namespace

void install_wake() { RegisterXactCallback(at_transaction_end, nullptr); }
void wake_worker_at_commit() { wake_wanted = true; }
void wake_database_at_commit(unsigned int database) { other_database = database; }

void release_database_at_end(unsigned int database) { held_database = database; }

}  // namespace wee5::pg
