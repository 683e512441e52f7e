// A database that receives another one's ledger must not make its calls, not even after the subscription ends: the
// publisher goes on calling. The worker removes the armed mark when it sees the subscription. This code does it for
// subscriptions that end before that, and for databases without a worker.

#include "wee5_cron/pg/hooks/subscription_watch.h"

#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/ledger/armed.h"

namespace wee5::pg {

void before_subscription_changes(Node* statement) {
  if (!IsA(statement, AlterSubscriptionStmt) && !IsA(statement, DropSubscriptionStmt)) return;
  if (!IsTransactionState() || RecoveryInProgress() || XactReadOnly || !ActiveSnapshotSet()) return;
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  if (OidIsValid(extension.oid)) disarm_subscriber(&extension);
}

bool may_change_permit(Node* statement) {
  if (IsA(statement, RenameStmt)) return reinterpret_cast<RenameStmt*>(statement)->renameType == OBJECT_SCHEMA;
  return IsA(statement, CreateSubscriptionStmt) || IsA(statement, AlterSubscriptionStmt) ||
         IsA(statement, DropSubscriptionStmt);
}

}  // namespace wee5::pg
