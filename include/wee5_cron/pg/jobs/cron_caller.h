#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Who is calling, where pg_cron is: "by a job" gives labels and overlap, never rights.
struct CronCaller {
  bool by_job;            // this session is one of pg_cron's
  bool pg_cron_here;      // pg_cron is installed in this database, so its run can be looked up
  char* job_name;         // NULL: not known, or not one job
  char* schedule;         // of that job; NULL: not known
  bool has_scheduled_at;  // the tick that the call is for is known
  TimestampTz scheduled_at;
};
// `path`: as called. Runs SQL as the current user.
void identify_caller(CronCaller* caller, const char* path);

}  // namespace wee5::pg
