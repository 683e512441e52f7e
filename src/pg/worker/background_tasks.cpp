// What the worker does in addition to the calls: pg_cron's runs, pg_net's answers, missed runs, history and alerts.

#include "wee5_cron/pg/worker/background_tasks.h"

#include "wee5_cron/pg/boundary/as_owner.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/worker/alerts.h"
#include "wee5_cron/pg/worker/history.h"
#include "wee5_cron/pg/worker/turn.h"
#include "wee5_cron/pg/worker/turn_transaction.h"

namespace wee5::pg {

namespace {

constexpr int64 kLastBackoffUs = 60'000'000;  // between two runs of a task that fails

// Runs `work` in a transaction of its own, if the ledger can be used. `work` returns when the task is due again.
template <class Work>
int64 run_in_transaction(Work work) {
  begin_worker_transaction();
  LedgerAccess access;
  open_ledger(&access);
  int64 again_us = 0;
  if (access.status == LedgerStatus::kReady)
    as_owner(access.extension.owner, [&again_us, &work] { again_us = work(); });
  if (access.status == LedgerStatus::kLocked) again_us = now_us() + kTaskPauseUs;
  commit_worker_transaction();
  return again_us;
}

int64 again_if(bool left) { return left ? now_us() + kTaskPauseUs : 0; }

int64 bind_runs(Worker* worker) {
  (void)worker;
  return run_in_transaction([] {
    SPI_execute("SELECT wee5_cron.bind_cron_runs()", false, 0);
    return again_if(cron_runs_unbound());
  });
}

int64 harvest(Worker* worker) {
  int64 next_attempt_us = 0;
  int64 again_us = run_in_transaction([&next_attempt_us] {
    SPI_execute("SELECT wee5_cron.harvest()", false, 0);
    next_attempt_us = next_attempt_at();
    // Also what was handed over a moment ago, here or by somebody else's harvest().
    PushActiveSnapshot(GetLatestSnapshot());
    bool left = pg_net_calls_outstanding() || pg_net_calls_due();
    PopActiveSnapshot();
    return again_if(left);
  });
  int64* known_us = &worker->timers.next_attempt_us;
  if (next_attempt_us != 0 && (*known_us == 0 || next_attempt_us < *known_us)) *known_us = next_attempt_us;
  return again_us;
}

constexpr int kJobsAtOnce = 40;  // or fewer: as many as take ten milliseconds

// Counts the missed runs of some jobs and makes up for them. Returns when to go on, or to look again; 0: never.
int64 watch_some_jobs(JobWatch* look) {
  int64 began_us = now_us();
  Oid types[2] = {INT8OID, INT4OID};
  Datum values[2] = {Int64GetDatum(look->watched_to), Int32GetDatum(kJobsAtOnce)};
  const char nulls[3] = {look->under_way ? ' ' : 'n', ' ', '\0'};
  if (!look->under_way) look->look_again_us = 0;
  VersionedStatement* statement = &database_sql->watch_jobs;
  select_row(kept_plan(&statement->plan, statement->text, 2, types), values, nulls);
  bool was_last, never;
  Datum watched_to = selected_column("watched_to", &was_last);
  Datum look_again = selected_column("look_again", &never);
  if (!never && (look->look_again_us == 0 || DatumGetTimestampTz(look_again) < look->look_again_us))
    look->look_again_us = DatumGetTimestampTz(look_again);
  look->under_way = !was_last;
  if (!was_last) look->watched_to = DatumGetInt64(watched_to);
  // Half of the time is the network's.
  return look->under_way ? now_us() + (now_us() - began_us) : look->look_again_us;
}

int64 watch(Worker* worker) {
  return run_in_transaction([worker] {
    ExtensionInfo pg_cron;
    find_extension("pg_cron", &pg_cron);
    registry_watch(relation_of_extension("cron", "job", pg_cron.oid));
    return watch_some_jobs(&worker->job_watch);
  });
}

int64 prune(Worker* worker) {
  return run_in_transaction([worker] { return prune_some_history(&worker->process_settings, &worker->history); });
}

int64 alert(Worker* worker) {
  return run_in_transaction([worker] { return send_alerts(&worker->process_settings, &worker->alert_repeat_ms); });
}

void run_task(Worker* worker, BackgroundTask* task) {
  int64 began_us = now_us();
  MemoryContextReset(worker->turn_context);
  PG_TRY();
  {
    int64 again_us = task->run(worker);
    bool usable = !worker->was_paused && worker->ledger_backoff_us == 0;
    if (task->backoff_us > 0 && usable) clear_error(worker);
    task->backoff_us = 0;
    task->due_us = again_us;
  }
  PG_CATCH();
  {
    const char* message = roll_back(worker);
    if (task->backoff_us == 0) log_failure(task->purpose, message);
    registry_set_error(worker->slot, message);
    task->backoff_us = task->backoff_us == 0 ? kTaskPauseUs : Min(task->backoff_us * 2, kLastBackoffUs);
    task->due_us = now_us() + task->backoff_us;
  }
  PG_END_TRY();
  MemoryContextSwitchTo(worker->turn_context);
  extend_deadlines(worker, began_us);
  pgstat_report_stat(true);
}

}  // namespace

void init_background_tasks(Worker* worker) {
  // 1: long ago. The server may have been down for a while.
  worker->tasks[kBindRuns] = {"find pg_cron's runs of calls", bind_runs, 0, 0};
  worker->tasks[kHarvestPgNet] = {"harvest pg_net's answers", harvest, 0, 0};
  worker->tasks[kWatchJobs] = {"look for missed runs", watch, 1, 0};
  worker->tasks[kPruneHistory] = {"prune the ledger", prune, 1, 0};
  worker->tasks[kTellAlerts] = {"send alerts", alert, 1, 0};
}

void look_at_all_jobs(Worker* worker) {
  worker->tasks[kWatchJobs].due_us = now_us();
  worker->job_watch.under_way = false;
}

void run_due_tasks(Worker* worker, int64 now) {
  BackgroundTask* alerts = &worker->tasks[kTellAlerts];
  for (int i = 0; i < kBackgroundTasks; ++i) {
    BackgroundTask* task = &worker->tasks[i];
    // The tasks before may have found something to tell just now.
    if (!is_due(task->due_us, task == alerts ? now_us() : now)) continue;
    run_task(worker, task);
    if ((i == kHarvestPgNet || i == kWatchJobs) && alerts->due_us == 0) alerts->due_us = now_us();
  }
}

}  // namespace wee5::pg
