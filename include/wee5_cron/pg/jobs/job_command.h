#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// core::JobCommand in plain memory. Texts are palloc'd, in the server's encoding; NULL: none.
struct CommandRead {
  bool calls_us;
  bool is_plain;
  bool harvests;
  char* endpoint_path;
  const char* functions[3];  // the first NULL ends the list
  char* other_schema;
  char* other_path;
};
// Reads a job's command, which is in the server's encoding.
void read_command(char* command, CommandRead* read);

}  // namespace wee5::pg
