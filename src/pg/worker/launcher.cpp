// The launcher: one process for the server, connected to no database. It has a worker started in every database that
// may have the extension; a worker that finds none there says so and goes. Where there are more databases than
// processes, it has them take turns (core/worker_turns.hpp). It sleeps until something changes.
//
// It also flushes the log for the workers, so that none of them waits for the disk. What else it does delays their next
// batches: a look at all places takes some microseconds, and a look at pg_database as long as that table is.

#include "wee5_cron/pg/worker/launcher.h"

#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_launcher_main(Datum arg);
}

namespace {

constexpr long kFirstRetryMs = 250;  // for a process, where none of ours can make room; doubles up to
constexpr long kLastRetryMs = 30'000;
constexpr long kPlaceAgainMs = 20;
constexpr long kLaunchAgainMs = 1'000;

// For each slot: the process last started, to see one that ended before it attached; and what we know of it.
BackgroundWorkerHandle** handles = nullptr;
core::WorkerPlace* places = nullptr;
core::GiveWay* asks = nullptr;
bool asking = false;
long retry_ms = kFirstRetryMs;

// Calls `visit` for each database, as committed now. A plain heap scan: a process without a database has no indexes
// to rely on (right after initdb there is no file of the shared ones). Not the cache: a DROP DATABASE tells us before
// its invalidation messages are out.
template <class Visit>
void visit_databases(Visit visit) {
  StartTransactionCommand();
  Relation relation = table_open(DatabaseRelationId, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TableScanDesc scan = table_beginscan(relation, snapshot, 0, nullptr);
  for (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection); HeapTupleIsValid(tuple);
       tuple = heap_getnext(scan, ForwardScanDirection))
    visit(reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple)));
  table_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(relation, AccessShareLock);
  CommitTransactionCommand();
}

// -2 marks what an interrupted DROP DATABASE left behind. A worker could only end with a FATAL there, again and again;
// ALTER DATABASE ... ALLOW_CONNECTIONS asks for one anew.
bool accepts_connections(Form_pg_database database) { return database->datallowconn && database->datconnlimit >= -1; }

// Has every database looked at that has no slot: after a start of the server nobody knows which of them have the
// extension, and later a database may have found all slots taken. There may be more databases than slots, so it goes
// through them in the order of their oids, as far as slots are free, and on from there when one has become free.
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

void sweep_on(Sweep* sweep) {
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

bool start_worker(int index, Oid database, uint32 launch) {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  // A database that vanished would make a restart time an endless loop: this launcher decides.
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "wee5_cron", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "wee5_cron_worker_main", sizeof(worker.bgw_function_name));
  snprintf(worker.bgw_name, BGW_MAXLEN, "wee5_cron worker for database %u", database);
  strlcpy(worker.bgw_type, "wee5_cron worker", sizeof(worker.bgw_type));
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  memcpy(worker.bgw_extra, &launch, sizeof(launch));
  worker.bgw_notify_pid = MyProcPid;
  if (handles[index] != nullptr) pfree(handles[index]);
  handles[index] = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, &handles[index]);
}

// Whether the launcher's own process at this place ended before it attached. It says so itself, unless it never came as
// far as our code.
bool ended_unseen(int index) {
  pid_t pid;
  return handles[index] == nullptr || GetBackgroundWorkerPid(handles[index], &pid) == BGWH_STOPPED;
}

void view_places(TimestampTz now) {
  registry_view_places(places);
  bool changed = false;
  for (int i = 0; i < registry_size(); ++i) {
    bool is_due = places[i].state == WorkerState::kAsleep && places[i].due_at != 0 && places[i].due_at <= now;
    bool ended = core::is_launched(places[i].state) && ended_unseen(i);
    if (is_due) registry_wake_due(registry_slot(i));
    if (ended) registry_end_launch(registry_slot(i), WorkerEvent::kDied);
    changed = changed || is_due || ended;
  }
  if (changed) registry_view_places(places);
}

enum class Launch { kDone, kNotNeeded, kRefused };

Launch launch_at(int index) {
  WorkerSlot* slot = registry_slot(index);
  if (!database_exists(slot->database)) {
    registry_forget(slot);
    return Launch::kNotNeeded;
  }
  // Before the process can run, or it might attach before we say that it was launched.
  uint32 launch = registry_begin_launch(slot);
  if (launch == 0) return Launch::kNotNeeded;
  if (start_worker(index, slot->database, launch)) return Launch::kDone;
  registry_end_launch(slot, WorkerEvent::kLaunchFailed);
  return Launch::kRefused;
}

// True where no process is to be had for somebody who waits.
bool launch_who_waits(TimestampTz now) {
  for (;;) {
    int next = core::next_to_launch(places, registry_size(), now);
    if (next < 0) return false;
    Launch launch = launch_at(next);
    if (launch == Launch::kRefused) return true;
    registry_view_places(places);
    // Refused by none, and yet where it was: another look decides.
    if (launch == Launch::kNotNeeded && places[next].state == WorkerState::kWaiting) return false;
  }
}

long until(TimestampTz at, TimestampTz now) {
  // No longer than a latch can wait: 24 days.
  int64 wait_ms = at <= now ? 0 : (at - now) / 1000 + 1;
  return static_cast<long>(Min(wait_ms, static_cast<int64>(INT_MAX)));
}

void sooner(long* wait_ms, long candidate) {
  if (candidate >= 0 && (*wait_ms < 0 || candidate < *wait_ms)) *wait_ms = candidate;
}

bool any(bool (*holds)(WorkerState)) {
  for (int i = 0; i < registry_size(); ++i)
    if (holds(places[i].state)) return true;
  return false;
}

// Nothing tells us when somebody else's background worker ends. While one of ours runs it will make room itself.
long retry_without_own_process_ms() {
  if (any([](WorkerState state) { return core::has_process(state) || core::is_launched(state); })) {
    retry_ms = kFirstRetryMs;
    return -1;
  }
  long wait_ms = retry_ms;
  retry_ms = Min(retry_ms * 2, kLastRetryMs);
  return wait_ms;
}

// Asks workers to give way; milliseconds after which to look again.
long make_room(TimestampTz now) {
  core::TurnPlan plan = core::plan_turns(places, registry_size(), now, asks);
  registry_ask(asks, plan.more_may_leave);
  asking = true;
  long wait_ms = plan.look_again_at != 0 ? until(plan.look_again_at, now) : -1;
  // A process tells us of its end a moment before Postgres has its place free.
  if (registry_process_just_ended()) sooner(&wait_ms, kPlaceAgainMs);
  sooner(&wait_ms, retry_without_own_process_ms());
  for (int i = 0; i < registry_size(); ++i)
    if (places[i].state == WorkerState::kWaiting && places[i].waiting_since + core::kPatienceUs <= now)
      registry_note_no_process(registry_slot(i));
  return wait_ms;
}

void ask_nobody() {
  if (!asking) return;
  memset(asks, 0, sizeof(core::GiveWay) * static_cast<Size>(registry_size()));
  registry_ask(asks, 0);
  asking = false;
}

bool is_waiting(WorkerState state) { return state == WorkerState::kWaiting; }

// Sees that every place has what it wants; milliseconds after which to look again, -1: when something changes.
long tend_all_places() {
  TimestampTz now = GetCurrentTimestamp();
  view_places(now);
  bool refused = launch_who_waits(now);
  long wait_ms = refused ? make_room(now) : -1;
  if (!any(is_waiting)) ask_nobody();
  TimestampTz due_at = core::next_due_at(places, registry_size(), now);
  if (due_at != 0) sooner(&wait_ms, until(due_at, now));
  // Whatever became of it: a process that should have told us is looked after.
  if (any(core::is_launched)) sooner(&wait_ms, kLaunchAgainMs);
  return wait_ms;
}

void wait_for_change(long wait_ms) {
  int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (wait_ms >= 0 ? WL_TIMEOUT : 0);
  WaitLatch(MyLatch, events, wait_ms, wait_event("Wee5CronLauncherMain"));
  ResetLatch(MyLatch);
  // A stop of the server is not worth a FATAL in its log.
  if (ProcDiePending) proc_exit(1);
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    registry_switch_calls(guc_enabled);
    registry_wake_those_that_stood_still();
  }
}

}  // namespace

void register_launcher() {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  // Not on a standby; starts at promotion.
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
  handles = static_cast<BackgroundWorkerHandle**>(palloc0(sizeof(BackgroundWorkerHandle*) * slots));
  places = static_cast<core::WorkerPlace*>(palloc0(sizeof(core::WorkerPlace) * slots));
  asks = static_cast<core::GiveWay*>(palloc0(sizeof(core::GiveWay) * slots));
  registry_attach_launcher();
  Sweep sweep = {true, InvalidOid};
  long wait_ms = 0;
  for (;;) {
    // The context of the handles, also after a transaction left another one current.
    MemoryContextSwitchTo(context);
    registry_flush_log();
    // A worker that wants no more than a flush changes nothing else. While somebody waits, every wake may be Postgres's
    // word that a process has ended.
    if (registry_take_launcher_request() || wait_ms >= 0 || any(is_waiting)) {
      sweep_on(&sweep);
      wait_ms = tend_all_places();
      // A slot may have become free just now, of a database that is gone.
      if (sweep.under_way && registry_has_free_slot()) wait_ms = 0;
    }
    wait_for_change(wait_ms);
  }
}

}  // namespace wee5::pg
