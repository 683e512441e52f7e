// The launcher: one process for the server, connected to no database. It starts a worker in each database that may have
// the extension; a worker that does not find the extension says so and ends. If there are more databases than
// processes, the launcher has them take turns (core/worker/worker_scheduling.hpp). It sleeps until something changes.
//
// It also flushes the log for the workers, so that none of them waits for the disk. Its other work delays their next
// batches: a look at all slots takes some microseconds, and a scan of pg_database as long as that table is.

#include "wee5_cron/pg/worker/launcher.h"

#include "wee5_cron/pg/boundary/clock_watch.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_launcher_main(Datum arg);
}

namespace {

constexpr long kFirstRetryMs = 250;  // for a process, if no worker can make room; it doubles up to
constexpr long kLastRetryMs = 30'000;
constexpr long kPlaceAgainMs = 20;
constexpr long kLaunchAgainMs = 1'000;

// Lives from the start of the process to its end. The arrays have an element for each slot.
struct Launcher {
  BackgroundWorkerHandle** handles;  // of the process last started, to notice one that ended before it attached
  core::WorkerPlace* places;
  core::GiveWay* asks;
  bool asking;  // some worker is asked to give way
  long retry_ms;
};

// Calls `visit` for each database, as committed now. It scans the heap, because a process without a database cannot
// rely on indexes: right after initdb the shared ones have no file. It does not ask the cache, because a DROP DATABASE
// wakes the launcher before its invalidation messages are out.
template <class Visit>
void visit_databases(Visit visit) {
  StartTransactionCommand();
  Relation relation = table_open(DatabaseRelationId, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TableScanDesc scan = begin_table_scan(relation, snapshot);
  for (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection); HeapTupleIsValid(tuple);
       tuple = heap_getnext(scan, ForwardScanDirection))
    visit(reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple)));
  table_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(relation, AccessShareLock);
  CommitTransactionCommand();
}

// -2 marks the remains of an interrupted DROP DATABASE, where a worker could only end with a FATAL, again and again.
// ALTER DATABASE ... ALLOW_CONNECTIONS requests a worker.
bool accepts_connections(Form_pg_database database) { return database->datallowconn && database->datconnlimit >= -1; }

// Gives a slot to each database without one, so that a worker looks at it: after a start of the server nobody knows
// which databases have the extension, and later a database may have found all slots taken. There may be more databases
// than slots. So the sweep goes in the order of their oids as far as slots are free, and continues when one gets free.
struct Sweep {
  bool under_way;
  Oid next;
};

List* accepting_databases_from(Oid first) {
  List* oids = NIL;
  MemoryContext context = CurrentMemoryContext;
  visit_databases([&](Form_pg_database database) {
    if (database->oid < first || !accepts_connections(database)) return;
    MemoryContext old = MemoryContextSwitchTo(context);
    oids = lappend_oid(oids, database->oid);
    MemoryContextSwitchTo(old);
  });
  list_sort(oids, list_oid_cmp);
  return oids;
}

void continue_sweep(Sweep* sweep) {
  if (!registry_has_free_slot()) return;
  if (!sweep->under_way && registry_take_left_out()) *sweep = {true, InvalidOid};
  if (!sweep->under_way) return;
  List* oids = accepting_databases_from(sweep->next);
  sweep->under_way = false;
  ListCell* cell;
  foreach (cell, oids) {
    if (registry_offer_slot(lfirst_oid(cell))) continue;
    *sweep = {true, lfirst_oid(cell)};
    break;
  }
  list_free(oids);
}

bool database_exists(Oid oid) {
  bool exists = false;
  visit_databases([oid, &exists](Form_pg_database database) {
    exists = exists || (database->oid == oid && accepts_connections(database));
  });
  return exists;
}

bool start_worker(Launcher* launcher, int index, Oid database, uint32 launch) {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  // In a dropped database, a restart time would mean an endless loop: the launcher decides.
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "wee5_cron", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "wee5_cron_worker_main", sizeof(worker.bgw_function_name));
  snprintf(worker.bgw_name, BGW_MAXLEN, "wee5_cron worker for database %u", database);
  strlcpy(worker.bgw_type, "wee5_cron worker", sizeof(worker.bgw_type));
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  memcpy(worker.bgw_extra, &launch, sizeof(launch));
  worker.bgw_notify_pid = MyProcPid;
  BackgroundWorkerHandle** handle = &launcher->handles[index];
  if (*handle != nullptr) pfree(*handle);
  *handle = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, handle);
}

// Whether the process that was started for this slot ended before it attached. It reports that itself, unless it never
// reached the extension's code.
bool ended_unseen(const Launcher* launcher, int index) {
  pid_t pid;
  BackgroundWorkerHandle* handle = launcher->handles[index];
  return handle == nullptr || GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

void view_places(Launcher* launcher, TimestampTz now) {
  core::WorkerPlace* places = launcher->places;
  registry_view_places(places);
  bool changed = false;
  for (int i = 0; i < registry_size(); ++i) {
    bool is_due = places[i].state == WorkerState::kAsleep && places[i].due_at != 0 && places[i].due_at <= now;
    bool ended = core::is_launched(places[i].state) && ended_unseen(launcher, i);
    if (is_due) registry_wake_due(registry_slot(i));
    if (ended) registry_end_launch(registry_slot(i), WorkerEvent::kDied);
    changed = changed || is_due || ended;
  }
  if (changed) registry_view_places(places);
}

enum class Launch { kDone, kNotNeeded, kRefused };

Launch launch_at(Launcher* launcher, int index) {
  WorkerSlot* slot = registry_slot(index);
  if (!database_exists(slot->database)) {
    registry_forget(slot);
    return Launch::kNotNeeded;
  }
  // Before the process can run: it might attach before the slot says that it was launched.
  uint32 launch = registry_begin_launch(slot);
  if (launch == 0) return Launch::kNotNeeded;
  if (start_worker(launcher, index, slot->database, launch)) return Launch::kDone;
  registry_end_launch(slot, WorkerEvent::kLaunchFailed);
  return Launch::kRefused;
}

// Starts processes for the databases that wait. True if Postgres has no process for one of them.
bool launch_waiting(Launcher* launcher, TimestampTz now) {
  for (;;) {
    int next = core::next_to_launch(launcher->places, registry_size(), now);
    if (next < 0) return false;
    Launch launch = launch_at(launcher, next);
    if (launch == Launch::kRefused) return true;
    registry_view_places(launcher->places);
    // Not refused, and waiting still: the next look decides.
    if (launch == Launch::kNotNeeded && launcher->places[next].state == WorkerState::kWaiting) return false;
  }
}

long until(TimestampTz at, TimestampTz now) {
  // A latch cannot wait for longer than 24 days.
  int64 wait_ms = at <= now ? 0 : (at - now) / 1000 + 1;
  return static_cast<long>(Min(wait_ms, static_cast<int64>(INT_MAX)));
}

void keep_shorter(long* wait_ms, long candidate) {
  if (candidate >= 0 && (*wait_ms < 0 || candidate < *wait_ms)) *wait_ms = candidate;
}

bool any(const Launcher* launcher, bool (*holds)(WorkerState)) {
  for (int i = 0; i < registry_size(); ++i)
    if (holds(launcher->places[i].state)) return true;
  return false;
}

// Nothing reports the end of other extensions' background workers, so the launcher tries again at intervals. While one
// of its own workers runs, that one will make room.
long retry_without_own_process_ms(Launcher* launcher) {
  if (any(launcher, [](WorkerState state) { return core::has_process(state) || core::is_launched(state); })) {
    launcher->retry_ms = kFirstRetryMs;
    return -1;
  }
  long wait_ms = launcher->retry_ms;
  launcher->retry_ms = Min(launcher->retry_ms * 2, kLastRetryMs);
  return wait_ms;
}

// Asks workers to give way; returns after how many milliseconds to look again.
long make_room(Launcher* launcher, TimestampTz now) {
  const core::WorkerPlace* places = launcher->places;
  core::TurnPlan plan = core::plan_turns(places, registry_size(), now, launcher->asks);
  registry_ask(launcher->asks, plan.more_may_leave);
  launcher->asking = true;
  long wait_ms = plan.look_again_at != 0 ? until(plan.look_again_at, now) : -1;
  // A process reports its end a moment before Postgres frees its place.
  if (registry_process_just_ended()) keep_shorter(&wait_ms, kPlaceAgainMs);
  keep_shorter(&wait_ms, retry_without_own_process_ms(launcher));
  for (int i = 0; i < registry_size(); ++i)
    if (places[i].state == WorkerState::kWaiting && places[i].waiting_since + core::kPatienceUs <= now)
      registry_note_no_process(registry_slot(i));
  return wait_ms;
}

void withdraw_asks(Launcher* launcher) {
  if (!launcher->asking) return;
  memset(launcher->asks, 0, sizeof(core::GiveWay) * static_cast<Size>(registry_size()));
  registry_ask(launcher->asks, 0);
  launcher->asking = false;
}

bool is_waiting(WorkerState state) { return state == WorkerState::kWaiting; }

// Gives each database the process that it needs; returns after how many milliseconds to look again, -1: when something
// changes.
long serve_databases(Launcher* launcher) {
  TimestampTz now = GetCurrentTimestamp();
  view_places(launcher, now);
  bool refused = launch_waiting(launcher, now);
  long wait_ms = refused ? make_room(launcher, now) : -1;
  if (!any(launcher, is_waiting)) withdraw_asks(launcher);
  TimestampTz due_at = core::next_due_at(launcher->places, registry_size(), now);
  if (due_at != 0) keep_shorter(&wait_ms, until(due_at, now));
  // A launched process should report itself. If it does not, look after it.
  if (any(launcher, core::is_launched)) keep_shorter(&wait_ms, kLaunchAgainMs);
  return wait_ms;
}

// True if somebody has set the system clock.
bool wait_for_change(long wait_ms, pgsocket clock_watch) {
  int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (wait_ms >= 0 ? WL_TIMEOUT : 0) |
               (clock_watch != PGINVALID_SOCKET ? WL_SOCKET_READABLE : 0);
  if (ConfigReloadPending) SetLatch(MyLatch);  // see below: a transaction may have reset it
  int occurred = WaitLatchOrSocket(MyLatch, events, clock_watch, wait_ms, wait_event("Wee5CronLauncherMain"));
  ResetLatch(MyLatch);
  // An ordinary stop of the server is not worth a FATAL in its log.
  if (ProcDiePending) proc_exit(1);
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    registry_switch_calls(guc_enabled);
    registry_wake_standstills();
  }
  return (occurred & WL_SOCKET_READABLE) != 0 && clock_was_set(clock_watch);
}

}  // namespace

void register_launcher() {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  // Not on a standby: it starts at promotion.
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = 1;
  strlcpy(worker.bgw_library_name, "wee5_cron", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "wee5_cron_launcher_main", sizeof(worker.bgw_function_name));
  strlcpy(worker.bgw_name, "wee5_cron launcher", sizeof(worker.bgw_name));
  strlcpy(worker.bgw_type, "wee5_cron launcher", sizeof(worker.bgw_type));
  RegisterBackgroundWorker(&worker);
}

void wee5_cron_launcher_main(Datum arg) {
  (void)arg;
  pqsignal(SIGTERM, die);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  pgstat_report_appname("wee5_cron launcher");
  registry_switch_calls(guc_enabled);

  MemoryContext context = AllocSetContextCreate(TopMemoryContext, "wee5_cron launcher", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(context);
  Size slots = static_cast<Size>(registry_size());
  Launcher launcher;
  launcher.handles = static_cast<BackgroundWorkerHandle**>(palloc0(sizeof(BackgroundWorkerHandle*) * slots));
  launcher.places = static_cast<core::WorkerPlace*>(palloc0(sizeof(core::WorkerPlace) * slots));
  launcher.asks = static_cast<core::GiveWay*>(palloc0(sizeof(core::GiveWay) * slots));
  launcher.asking = false;
  launcher.retry_ms = kFirstRetryMs;
  registry_attach_launcher();
  Sweep sweep = {true, InvalidOid};
  pgsocket clock_watch = open_clock_watch();
  long wait_ms = 0;
  for (;;) {
    // A transaction leaves another context current, and the handles belong into this one.
    MemoryContextSwitchTo(context);
    registry_flush_log();
    // A worker that only wants a flush changes nothing else. While a database waits, any wake may come from Postgres,
    // because a process has ended.
    bool is_asked = registry_take_launcher_request() || wait_ms >= 0 || any(&launcher, is_waiting);
    while (is_asked) {
      continue_sweep(&sweep);
      wait_ms = serve_databases(&launcher);
      // The slot of a dropped database may have become free just now.
      if (sweep.under_way && registry_has_free_slot()) wait_ms = 0;
      // A transaction that waited, such as for a lock, has reset the latch. So the wake of a request or of a worker
      // that wants a flush may be lost.
      MemoryContextSwitchTo(context);
      registry_flush_log();
      is_asked = registry_take_launcher_request();
    }
    if (wait_for_change(wait_ms, clock_watch)) {
      registry_start_over();
      wait_ms = 0;
    }
  }
}

}  // namespace wee5::pg
