#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a statement stores settings for later calls: ALTER ROLE or ALTER DATABASE ... SET or RESET, or a function
// with a SET clause.
bool stores_settings(Node* statement);
// While such a statement runs (true to false), storing app.settings.* needs a superuser or GRANT SET even if every role
// may SET them in its session: a stored value decides where the secret goes.
void ask_for_right_to_app_settings(bool ask);

// Adds a hint to Postgres's own error for a role that may not set app.settings.*.
void install_app_setting_hint();

}  // namespace wee5::pg
