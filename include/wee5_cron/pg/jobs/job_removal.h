#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Removes from pg_cron the jobs that wee5_cron.job (`job_table`) remembers as ours. Called while that table is being
// dropped: its index, its defaults and the functions around it may be gone already.
void remove_our_cron_jobs(Oid job_table);

// Clears the jobids in wee5_cron.job. Called while cron.job is being dropped: if pg_cron is created again, it gives the
// same ids to other jobs.
void forget_cron_jobids();

}  // namespace wee5::pg
