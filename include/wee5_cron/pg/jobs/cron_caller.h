#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Which job of pg_cron makes a call. A call "by a job" gets labels and the overlap rule for jobs, never rights: any
// client can name its application "pg_cron".
struct CronCaller {
  bool by_job;            // the session is one of pg_cron's
  bool pg_cron_here;      // pg_cron is in this database, so its history has the run
  char* job_name;         // NULL: not known, or several jobs have this command
  char* schedule;         // of that job; NULL: not known
  bool has_scheduled_at;  // the tick that the call is for is known
  TimestampTz scheduled_at;
};
// `path` is the path that is called. Runs SQL as the current user.
void identify_caller(CronCaller* caller, const char* path);

}  // namespace wee5::pg
