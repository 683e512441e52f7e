#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Until the nest level of settings ends, nested statements are shown neither by auto_explain (whose plans have the
// values that went into them, and from PostgreSQL 16 on the parameters, too) nor by debug_print_plan and its like. Any
// role may switch those on, and has the LOG messages sent to itself with client_min_messages: the secret among the
// parameters would be the caller's.
inline void silence_statements() {
  struct Voice {
    const char* name;
    const char* silent;
  };
  static const Voice voices[] = {{"auto_explain.log_min_duration", "-1"},
                                 {"debug_print_plan", "off"},
                                 {"debug_print_rewritten", "off"},
                                 {"debug_print_parse", "off"}};
  for (const Voice& voice : voices)
    if (GetConfigOption(voice.name, true, false) != nullptr)
      set_config_option(voice.name, voice.silent, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace wee5::pg
