#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// Deletes from cron.job what the table wee5_cron.job, `job_table`, remembers as made by us. Called while that table is
// being dropped, when its index, its defaults and the functions around it may be gone already.
void remove_our_cron_jobs(Oid job_table);

}  // namespace wee5::pg
