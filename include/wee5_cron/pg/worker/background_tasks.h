#pragma once

#include "wee5_cron/pg/worker/worker.h"

namespace wee5::pg {

// The places of the tasks in Worker::tasks, which is also the order in which they run.
enum TaskIndex { kBindRuns, kHarvestPgNet, kWatchJobs, kPruneHistory, kTellAlerts };
static_assert(kTellAlerts + 1 == kBackgroundTasks);

inline constexpr int64 kTaskPauseUs = 1'000'000;  // between two runs of a task that is not done

// The tasks of a worker that was left nothing by the one before.
void init_background_tasks(Worker* worker);

// All jobs are to be looked at again, from the first one on.
void look_at_all_jobs(Worker* worker);

// Runs the tasks that are due. One that fails is run again, at growing intervals; results do not wait for it.
void run_due_tasks(Worker* worker, int64 now);

}  // namespace wee5::pg
