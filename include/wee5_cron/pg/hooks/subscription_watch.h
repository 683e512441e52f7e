#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Called before each utility statement. If it may end a subscription that fills the ledger, removes this database's
// armed mark first, so that the database stays disarmed afterwards.
void before_subscription_changes(Node* statement);
// Whether the statement may start or stop the calls of this database, so that the worker must look.
bool may_change_permit(Node* statement);

}  // namespace wee5::pg
