#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// core::JobCommand in plain memory. Texts are palloc'd, in the server's encoding; NULL: there is none.
struct CommandRead {
  bool calls_us;
  bool is_plain;
  bool harvests;
  char* endpoint_path;
  const char* functions[3];  // the first that is NULL ends them
  char* other_schema;
  char* other_path;
};
// `command`: in the server's encoding.
void read_command(char* command, CommandRead* read);

}  // namespace wee5::pg
