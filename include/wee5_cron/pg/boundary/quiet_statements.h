#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Keeps auto_explain and debug_print_* from logging the statements that follow, until the current nest level of
// settings (NewGUCNestLevel) ends. Their output holds the values in a statement: a plan those that went into it, and
// auto_explain from PostgreSQL 16 on its parameters. Every role may switch them on and have LOG messages sent to itself
// with client_min_messages, so a caller could read the secret among the parameters.
inline void silence_statements() {
  struct Setting {
    const char* name;
    const char* silent;
  };
  static const Setting settings[] = {{"auto_explain.log_min_duration", "-1"},
                                     {"debug_print_plan", "off"},
                                     {"debug_print_rewritten", "off"},
                                     {"debug_print_parse", "off"}};
  for (const Setting& setting : settings)
    if (GetConfigOption(setting.name, true, false) != nullptr)
      set_config_option(setting.name, setting.silent, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace wee5::pg
