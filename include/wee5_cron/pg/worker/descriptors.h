#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// How many requests the process has open files for.
struct RequestCapacity {
  int requests;
  int64 file_limit;  // the most files that the process may have open
};

// Raises the process's limit of open files as far as the system lets it, and reserves descriptors for at most `wanted`
// requests at once. Call it once, when the worker starts.
RequestCapacity reserve_request_descriptors(int wanted);

// A limit of open files, set for the whole server, under which `wanted` requests fit.
int64 file_limit_for(int wanted);

}  // namespace wee5::pg
