#pragma once

#include "wee5_cron/delivery/engine/engine.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// Counts failures in a row, in the transaction that recorded these results; true if an alert is to be sent. Costs no
// statement as long as nothing fails.
bool note_outcomes(const delivery::Result* results, int count);

// Sends the alerts that are pending, in a background task. Returns when it is due again, because an alert is to be
// repeated; 0: when something happens. `process_settings`: the settings without what is stored for the database.
// *every_ms: wee5_cron.alert_repeat.
int64 send_alerts(const WorkerSettings* process_settings, int* every_ms);

}  // namespace wee5::pg
