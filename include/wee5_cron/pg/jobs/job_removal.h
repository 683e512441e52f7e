#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Removes from pg_cron what the table wee5_cron.job, `job_table`, remembers as made by us. Called while that table is
// being dropped, when its index, its defaults and the functions around it may be gone already.
void remove_our_cron_jobs(Oid job_table);

// Called while cron.job is being dropped: a pg_cron that is made again hands the same jobids out to other jobs.
void forget_cron_jobids();

}  // namespace wee5::pg
