#pragma once

#include "wee5_cron/delivery/engine.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// Counts failures in a row, in the transaction that booked these results; true where somebody is to be told. Nothing is
// done for successes while nothing fails.
bool note_outcomes(const delivery::Result* results, int count);

// Tells what is to be told, as a chore.
int64 tell_alerts(const WorkerSettings* base);

}  // namespace wee5::pg
