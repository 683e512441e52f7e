#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Around each utility statement. CREATE, ALTER and DROP SUBSCRIPTION decide whether the ledger comes from another
// database: before a subscription ends, the mark of this database is taken away, so that it stays disarmed.
void before_subscription_changes(Node* statement);
// Whether the statement may make the database begin, or cease, to make calls: then the worker is to look.
bool may_change_permit(Node* statement);

}  // namespace wee5::pg
