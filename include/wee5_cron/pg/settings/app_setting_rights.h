#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Whether a statement stores settings that count for calls later: ALTER ROLE and ALTER DATABASE ... SET and RESET, and
// a function's SET clause.
bool stores_settings(Node* statement);
// While such a statement runs, app.settings.* want the right that they always want where the secret is protected: what
// is stored decides where it goes, also for sessions whose own values count for nothing.
void ask_for_right_to_app_settings(bool ask);

// Tells who is refused app.settings.* what to do: that error is Postgres's own, and has no hint.
void install_app_setting_hint();

}  // namespace wee5::pg
