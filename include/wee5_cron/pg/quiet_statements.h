#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// Until the nest level of settings ends, auto_explain writes nothing: from PostgreSQL 16 on it would put the parameters
// of nested statements, the secret among them, into the log.
inline void silence_auto_explain() {
  if (GetConfigOption("auto_explain.log_min_duration", true, false) != nullptr)
    set_config_option("auto_explain.log_min_duration", "-1", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace wee5::pg
