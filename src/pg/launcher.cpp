// The launcher: one process for the server, connected to no database. It has a worker started in every database that
// may have the extension; a worker that finds none there says so and goes. It sleeps until something changes.

#include "wee5_cron/pg/launcher.h"

#include "wee5_cron/pg/worker_registry.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_launcher_main(Datum arg);
}

namespace {

constexpr int kNoSlotRetryMs = 5'000;
constexpr int kStartsAtOnce = 4;  // right after a start every database is looked at, and others need processes, too

// The process last started for each slot, to see one that ended before it attached.
BackgroundWorkerHandle** handles = nullptr;

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

bool start_worker(int index, Oid database) {
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
  worker.bgw_notify_pid = MyProcPid;
  if (handles[index] != nullptr) pfree(handles[index]);
  handles[index] = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, &handles[index]);
}

// What a slot needs, read in one go.
struct SlotView {
  Oid database;
  bool has_process;
  bool launched;
  bool held;
  TimestampTz start_after;
};

SlotView view_slot(const WorkerSlot* slot) {
  SlotView view;
  LWLockAcquire(registry_lock(), LW_SHARED);
  view.database = slot->database;
  view.has_process = slot->pid != 0;
  view.launched = slot->launched;
  view.held = slot->held_by != 0;
  view.start_after = slot->start_after;
  LWLockRelease(registry_lock());
  return view;
}

void set_launched(WorkerSlot* slot) {
  LWLockAcquire(registry_lock(), LW_EXCLUSIVE);
  slot->launched = true;
  LWLockRelease(registry_lock());
}

// Sees that a slot has what it wants; milliseconds after which to look again, -1: when something changes.
long tend_slot(int index, TimestampTz now) {
  WorkerSlot* slot = registry_slot(index);
  SlotView view = view_slot(slot);
  if (!OidIsValid(view.database) || view.has_process) return -1;
  if (view.launched) {
    pid_t pid;
    if (handles[index] != nullptr && GetBackgroundWorkerPid(handles[index], &pid) != BGWH_STOPPED) return -1;
    registry_count_failure(slot);
    view = view_slot(slot);
  }
  if (view.held) return -1;
  if (!database_exists(view.database)) {
    registry_forget(slot);
    return -1;
  }
  if (view.start_after > now) return static_cast<long>((view.start_after - now) / 1000 + 1);
  // Before the process can run, or it might attach before we say that it was launched.
  set_launched(slot);
  if (start_worker(index, view.database)) return -1;
  LWLockAcquire(registry_lock(), LW_EXCLUSIVE);
  slot->launched = false;
  LWLockRelease(registry_lock());
  registry_set_error(slot, "no free background worker slot: raise max_worker_processes and restart the server");
  return kNoSlotRetryMs;
}

long tend_all_slots() {
  TimestampTz now = GetCurrentTimestamp();
  long wait_ms = -1;
  int starting = 0;
  for (int i = 0; i < registry_size() && starting < kStartsAtOnce; ++i) {
    long slot_wait = tend_slot(i, now);
    // Its start, or its end, wakes us.
    if (view_slot(registry_slot(i)).launched) ++starting;
    if (slot_wait >= 0 && (wait_ms < 0 || slot_wait < wait_ms)) wait_ms = slot_wait;
  }
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

  MemoryContext context = AllocSetContextCreate(TopMemoryContext, "wee5_cron launcher", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(context);
  handles = static_cast<BackgroundWorkerHandle**>(
      palloc0(sizeof(BackgroundWorkerHandle*) * static_cast<Size>(registry_size())));
  registry_attach_launcher();
  Sweep sweep = {true, InvalidOid};
  long wait_ms = 0;
  for (;;) {
    // The context of the handles, also after a transaction left another one current.
    MemoryContextSwitchTo(context);
    registry_flush_log();
    // A worker that wants no more than a flush changes nothing else.
    if (registry_take_launcher_request() || wait_ms >= 0) {
      sweep_on(&sweep);
      wait_ms = tend_all_slots();
      // A slot may have become free just now, of a database that is gone.
      if (sweep.under_way && registry_has_free_slot()) wait_ms = 0;
    }
    wait_for_change(wait_ms);
  }
}

}  // namespace wee5::pg
