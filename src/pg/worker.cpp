// The worker of a database: the only consumer of its ledger.
//
// It waits on one set of its latch, the postmaster and the engine's epoll descriptor; nothing wakes it that does not
// concern it. A turn is one short transaction: record what has ended, read what is due, with the settings as they are
// now. Then, outside of it, send. No transaction or snapshot is held while requests are on the wire, and nothing is
// sent that a crash could undo, nor while results cannot be recorded.

#include <chrono>
#include <memory>
#include <string>

#include "wee5_cron/core/version.hpp"
#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary.h"
#include "wee5_cron/pg/guc.h"
#include "wee5_cron/pg/pg_extension_lookup.h"
#include "wee5_cron/pg/stored_settings.h"
#include "wee5_cron/pg/worker_ledger.h"
#include "wee5_cron/pg/worker_registry.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_worker_main(Datum arg);
}

namespace {

constexpr std::size_t kMaxConnections = 4096;  // the upper bound of wee5_cron.max_in_flight
constexpr std::size_t kResultsPerTurn = 512;
constexpr int64 kMarkAfterUs = 250'000;        // a call on the wire for longer is `sending` in the ledger
constexpr int64 kHarvestEveryUs = 1'000'000;   // while calls on pg_net are outstanding
constexpr int64 kBindEveryUs = 1'000'000;      // while pg_cron has not committed the run of a call that has ended
constexpr int64 kNoticeablePauseUs = 100'000;  // a turn that took longer moves the requests' deadlines
constexpr int64 kFirstRetryUs = 100'000;       // after a turn that failed; doubles up to
constexpr int64 kLastRetryUs = 5'000'000;

// Trivially destructible, freed by an exit callback: exit() runs destructors of static objects at a bad time.
delivery::Dispatcher* dispatcher = nullptr;
WorkerSlot* slot = nullptr;
MemoryContext turn_context = nullptr;
WorkerSettings process_settings;

Oid extension_oid = InvalidOid;  // the one that the dispatcher's calls belong to
bool work_seen = true;           // the ledger has to be read
bool routes_left = false;        // the last read did not come around all routes
int64 retry_at_us = 0;           // blocked until then; 0: not blocked
int64 retry_wait_us = 0;
int64 harvest_at_us = 0;  // 0: nothing outstanding on pg_net
int64 bind_at_us = 0;     // a finished call's cron run is not known yet; 0: none

int64 now_us() { return static_cast<int64>(GetCurrentTimestamp()); }
int64 unix_us(int64 postgres_us) {
  return postgres_us + static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

bool due(int64 at_us, int64 now) { return at_us != 0 && at_us <= now; }

// Why a worker cannot work in this database.
enum class Standing { kReady, kAbsent, kIncompatible, kLocked };

struct RoleRow {
  const char* name;
  StoredSettings stored;
};

// What a turn's transaction leaves for the C++ part. In turn_context.
struct Turn {
  bool from_now;  // read all routes anew
  WorkerSettings settings;
  DueRows due;
  RoleRow* roles;
  int role_count;
};

void run_or_exit(CppFailure* failure, bool done) {
  if (done) return;
  // Out of memory, or libcurl is unusable: a fresh process starts with what the ledger says.
  registry_set_error(slot, failure->message);
  raise(failure);
}

void set_state(WorkerState state) { pg_atomic_write_u32(&slot->state, static_cast<uint32>(state)); }

void publish() {
  pg_atomic_write_u32(&slot->in_flight, static_cast<uint32>(dispatcher->in_flight()));
  pg_atomic_write_u64(&slot->sent, dispatcher->sent());
}

// The transaction's own view of what it relies on, whatever ALTER DATABASE or ALTER ROLE say about sessions.
void fix_session_settings() {
  struct Fixed {
    const char* name;
    const char* value;
  };
  static const Fixed settings[] = {{"search_path", "pg_catalog, pg_temp"},
                                   {"statement_timeout", "0"},
                                   {"lock_timeout", "1s"},
                                   {"idle_in_transaction_session_timeout", "0"},
                                   {"default_transaction_isolation", "read committed"},
                                   {"default_transaction_read_only", "off"},
                                   {"default_transaction_deferrable", "off"},
                                   // A turn flushes by itself, after the next requests are on the wire.
                                   {"synchronous_commit", "off"},
                                   {"row_security", "off"},
                                   {"session_replication_role", "origin"},
                                   // The statements are index look-ups whatever the statistics say.
                                   {"enable_seqscan", "off"},
                                   {"enable_hashjoin", "off"},
                                   {"enable_mergejoin", "off"},
                                   {"jit", "off"}};
  for (const Fixed& setting : settings) SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
}

Standing look_at_extension(ExtensionInfo* extension) {
  find_extension("wee5_cron", extension);
  if (!OidIsValid(extension->oid)) return Standing::kAbsent;
  if (strcmp(extension->version, core::kVersion) != 0) return Standing::kIncompatible;
  // Conditionally: who waits for a lock cannot serve the network.
  for (const char* table : {"invocation", "attempt"}) {
    Oid relation = relation_of_extension("wee5_cron", table, extension->oid);
    if (!OidIsValid(relation)) return Standing::kIncompatible;
    if (!ConditionalLockRelationOid(relation, RowExclusiveLock)) return Standing::kLocked;
  }
  return Standing::kReady;
}

void record_and_mark() {
  const delivery::Result* results = nullptr;
  int result_count = 0;
  const delivery::OnTheWire* calls = nullptr;
  int call_count = 0;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    const std::vector<delivery::Result>& batch = dispatcher->batch(kResultsPerTurn);
    results = batch.data();
    result_count = static_cast<int>(batch.size());
    const std::vector<delivery::OnTheWire>& marks = dispatcher->unmarked(unix_us(now_us()), kMarkAfterUs);
    calls = marks.data();
    call_count = static_cast<int>(marks.size());
  }));
  if (result_count > 0) record_results(results, result_count);
  if (call_count > 0) mark_sending(calls, call_count);
}

void read_roles(Turn* turn) {
  const std::string* waiting = nullptr;
  int waiting_count = 0;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    const std::vector<std::string>& roles = dispatcher->waiting_roles();
    waiting = roles.data();
    waiting_count = static_cast<int>(roles.size());
  }));
  MemoryContext old = MemoryContextSwitchTo(turn_context);
  turn->roles = static_cast<RoleRow*>(palloc(sizeof(RoleRow) * static_cast<Size>(waiting_count + turn->due.count)));
  turn->role_count = 0;
  for (int i = 0; i < waiting_count + turn->due.count; ++i) {
    const char* name = i < waiting_count ? waiting[i].c_str() : turn->due.rows[i - waiting_count].requested_by;
    bool known = false;
    for (int j = 0; j < turn->role_count && !known; ++j) known = strcmp(turn->roles[j].name, name) == 0;
    if (known) continue;
    RoleRow* role = &turn->roles[turn->role_count++];
    role->name = pstrdup(name);
    // A role that was dropped meanwhile: what is stored for everybody.
    read_stored_settings(get_role_oid(name, true), &role->stored);
    for (StoredValue* value : {&role->stored.api_url, &role->stored.cron_secret}) {
      value->role_in_database = to_utf8(value->role_in_database);
      value->role = to_utf8(value->role);
      value->database = to_utf8(value->database);
      value->all = to_utf8(value->all);
    }
  }
  MemoryContextSwitchTo(old);
}

// The database part of a turn.
void work_in_transaction(Turn* turn, bool read_ledger) {
  record_and_mark();
  if (dispatcher->batch_has_job_calls() || due(bind_at_us, now_us()))
    bind_at_us = bind_cron_runs() ? now_us() + kBindEveryUs : 0;
  turn->settings = process_settings;
  apply_stored_worker_settings(&turn->settings);
  if (read_ledger) {
    read_due(dispatcher, turn->from_now, turn_context, &turn->due);
    if (harvest_at_us == 0 && pg_net_calls_outstanding()) harvest_at_us = now_us() + kHarvestEveryUs;
  }
  read_roles(turn);
}

Standing turn_transaction(Turn* turn, bool read_ledger) {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  ExtensionInfo extension;
  Standing standing = look_at_extension(&extension);
  if (OidIsValid(extension_oid) && extension.oid != extension_oid) {
    // Dropped, perhaps made anew: what is held in memory belongs to a ledger that is gone.
    CppFailure failure;
    run_or_exit(&failure, run_cpp(&failure, [] { dispatcher->forget(); }));
    extension_oid = InvalidOid;
  }
  if (standing == Standing::kReady) {
    extension_oid = extension.oid;
    Oid saved_user;
    int saved_context;
    GetUserIdAndSecContext(&saved_user, &saved_context);
    // As the extension's owner, and so that nothing that stands around the tables can become more than that.
    SetUserIdAndSecContext(extension.owner,
                           saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
    SPI_connect();
    work_in_transaction(turn, read_ledger);
    SPI_finish();
    SetUserIdAndSecContext(saved_user, saved_context);
  }
  PopActiveSnapshot();
  CommitTransactionCommand();
  return standing;
}

// pg_net's answers, in a transaction of their own: trouble with pg_net's tables is not the ledger's.
void harvest_transaction() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  ExtensionInfo extension;
  bool outstanding = false;
  if (look_at_extension(&extension) == Standing::kReady) {
    SPI_connect();
    harvest_pg_net();
    outstanding = pg_net_calls_outstanding();
    SPI_finish();
  }
  PopActiveSnapshot();
  CommitTransactionCommand();
  harvest_at_us = outstanding ? now_us() + kHarvestEveryUs : 0;
}

core::SettingCandidates candidates_of(const StoredValue& stored, const char* command_line) {
  auto optional = [](const char* text) {
    return text != nullptr ? std::optional<std::string_view>(text) : std::nullopt;
  };
  core::SettingCandidates candidates;
  candidates.role_in_database = optional(stored.role_in_database);
  candidates.role = optional(stored.role);
  candidates.database = optional(stored.database);
  candidates.all = optional(stored.all != nullptr ? stored.all : command_line);
  return candidates;
}

delivery::DueCall due_call(const DueRow& row) {
  delivery::DueCall call;
  call.id = row.id;
  call.attempt = row.attempt;
  call.endpoint_path = row.endpoint_path;
  call.method = row.method;
  call.has_body = row.body != nullptr;
  if (call.has_body) call.body = row.body;
  for (int i = 0; i < row.headers.count; ++i) call.headers.push_back({row.headers.names[i], row.headers.values[i]});
  call.timeout_ms = row.timeout_ms;
  call.requested_by = row.requested_by;
  call.job_name = view_or_empty(row.job_name);
  call.scheduled_at = view_or_empty(row.scheduled_at);
  call.idempotency_key = row.idempotency_key;
  return call;
}

// Takes over what the transaction read, and sends. The results of the batch are durable or will be before anything else
// is recorded.
void take_over_and_send(const Turn* turn) {
  CppFailure failure;
  const char* api_url = command_line_api_url();
  const char* secret = command_line_cron_secret();
  run_or_exit(&failure, run_cpp(&failure, [&] {
    dispatcher->batch_recorded();
    dispatcher->marked();
    delivery::DispatchSettings settings;
    settings.request_timeout_ms = turn->settings.request_timeout_ms;
    settings.connect_timeout_ms = turn->settings.connect_timeout_ms;
    settings.max_in_flight = static_cast<std::size_t>(turn->settings.max_in_flight);
    settings.max_response_bytes = static_cast<std::size_t>(turn->settings.max_response_bytes);
    settings.allow_plain_http = turn->settings.allow_plain_http;
    settings.ca_file = turn->settings.ca_file;
    dispatcher->configure(settings);
    for (int i = 0; i < turn->role_count; ++i)
      dispatcher->set_role(turn->roles[i].name, candidates_of(turn->roles[i].stored.api_url, api_url),
                           candidates_of(turn->roles[i].stored.cron_secret, secret));
    for (int i = 0; i < turn->due.count; ++i) dispatcher->add(due_call(turn->due.rows[i]));
    if (turn->due.from_now) dispatcher->forget_more();
    for (int i = 0; i < turn->due.route_count; ++i)
      dispatcher->set_more(turn->due.routes[i], turn->due.routes_have_more[i]);
    dispatcher->dispatch();
    dispatcher->perform();
  }));
}

struct Tally {
  uint64 succeeded;
  uint64 failed;
};

Tally tally_batch() {
  Tally tally = {0, 0};
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    for (const delivery::Result& result : dispatcher->batch(0)) {
      if (result.outcome.succeeded)
        ++tally.succeeded;
      else
        ++tally.failed;
    }
  }));
  return tally;
}

void note_success(const Tally* tally) {
  pg_atomic_fetch_add_u64(&slot->succeeded, static_cast<int64>(tally->succeeded));
  pg_atomic_fetch_add_u64(&slot->failed, static_cast<int64>(tally->failed));
  if (tally->succeeded + tally->failed > 0) ConditionVariableBroadcast(&slot->changed);
  if (retry_wait_us > 0) registry_set_error(slot, "");
  retry_wait_us = 0;
  retry_at_us = 0;
  slot->failures = 0;
}

void note_trouble(WorkerState state, const char* message) {
  retry_wait_us = retry_wait_us == 0 ? kFirstRetryUs : Min(retry_wait_us * 2, kLastRetryUs);
  retry_at_us = now_us() + retry_wait_us;
  work_seen = true;
  registry_set_error(slot, message);
  set_state(state);
}

// The database is not for us at the moment. Nothing is sent; what is on the wire goes on.
void stand_still(Standing standing) {
  switch (standing) {
    case Standing::kAbsent:
      registry_detach_worker(true);
      proc_exit(0);
    case Standing::kIncompatible:
      set_state(WorkerState::kIncompatible);
      registry_set_error(slot,
                         "the library's version is not the extension's: ALTER EXTENSION wee5_cron UPDATE, or install "
                         "the library of that version and restart the server");
      // ALTER EXTENSION wakes us.
      retry_at_us = PG_INT64_MAX;
      break;
    case Standing::kLocked:
      note_trouble(WorkerState::kBlocked, "the ledger is locked by somebody else");
      break;
    case Standing::kReady:
      break;
  }
}

// After an ERROR of the transaction: it is rolled back, results stay in memory, and the turn is tried again later.
void recover(MemoryContext context, bool in_harvest) {
  MemoryContextSwitchTo(context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortCurrentTransaction();
  MemoryContextSwitchTo(turn_context);
  if (retry_wait_us == 0)
    ereport(LOG, (errmsg("wee5_cron worker cannot %s: %s",
                         in_harvest ? "harvest pg_net's answers" : "work on its ledger", error->message),
                  errdetail("Nothing is lost; it is tried again until it works.")));
  if (in_harvest)
    harvest_at_us = now_us() + kHarvestEveryUs;
  else
    note_trouble(WorkerState::kBlocked, error->message);
  FreeErrorData(error);
}

bool protected_turn(Turn* turn, bool read_ledger, Standing* standing) {
  volatile bool done = false;
  PG_TRY();
  {
    *standing = turn_transaction(turn, read_ledger);
    done = true;
  }
  PG_CATCH();
  { recover(turn_context, false); }
  PG_END_TRY();
  return done;
}

void protected_harvest() {
  PG_TRY();
  { harvest_transaction(); }
  PG_CATCH();
  { recover(turn_context, true); }
  PG_END_TRY();
}

void finish_pause(int64 began_us) {
  int64 pause = now_us() - began_us;
  if (pause < kNoticeablePauseUs) return;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] { dispatcher->not_served_for(std::chrono::microseconds(pause)); }));
}

void take_turn(bool read_ledger, bool from_now) {
  MemoryContextReset(turn_context);
  MemoryContextSwitchTo(turn_context);
  set_state(WorkerState::kSending);
  pgstat_report_activity(STATE_RUNNING, "recording results and reading due calls");
  Turn* turn = static_cast<Turn*>(palloc0(sizeof(Turn)));
  turn->from_now = from_now;
  int64 began_us = now_us();
  Standing standing = Standing::kReady;
  bool done = protected_turn(turn, read_ledger, &standing);
  MemoryContextSwitchTo(turn_context);
  if (done && standing != Standing::kReady) stand_still(standing);
  if (done && standing == Standing::kReady) {
    Tally tally = tally_batch();
    // A row whose commit is not on disk yet might never have existed after a crash: such a call is not sent.
    if (turn->due.committed_at != InvalidXLogRecPtr) XLogFlush(turn->due.committed_at);
    finish_pause(began_us);
    if (read_ledger) routes_left = turn->due.routes_left;
    take_over_and_send(turn);
    // Our own commit: durable while the next requests are on the wire.
    if (XactLastCommitEnd != InvalidXLogRecPtr) XLogFlush(XactLastCommitEnd);
    note_success(&tally);
  } else {
    finish_pause(began_us);
  }
  pgstat_report_stat(true);
  pgstat_report_activity(STATE_IDLE, nullptr);
}

// What a look at memory says: whether the ledger has to be read or written now.
struct Need {
  bool write;
  bool read;
  int64 next_mark_us;  // Postgres time; 0: none
};

Need look_at_memory() {
  Need need = {false, work_seen, 0};
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    need.write = dispatcher->has_results();
    need.read = need.read || dispatcher->wants_refill();
    if (std::optional<std::int64_t> mark = dispatcher->next_mark_us(kMarkAfterUs))
      need.next_mark_us = *mark - unix_us(0);
  }));
  return need;
}

// Milliseconds to wait at most; -1: until something happens.
long wait_time(const Need* need) {
  int64 now = now_us();
  int64 wake_us = 0;
  auto sooner = [&wake_us](int64 at_us) {
    if (at_us != 0 && at_us != PG_INT64_MAX && (wake_us == 0 || at_us < wake_us)) wake_us = at_us;
  };
  if (retry_at_us != 0)
    sooner(retry_at_us);
  else
    sooner(need->next_mark_us);
  if (retry_at_us == 0) sooner(bind_at_us);
  sooner(harvest_at_us);
  long wait_ms = wake_us == 0 ? -1 : wake_us <= now ? 0 : static_cast<long>((wake_us - now + 999) / 1000);
  long engine_ms = dispatcher->timeout_ms();
  if (engine_ms >= 0 && (wait_ms < 0 || engine_ms < wait_ms)) wait_ms = engine_ms;
  return wait_ms;
}

void work() {
  Need need = look_at_memory();
  int64 now = now_us();
  if (retry_at_us == 0 || retry_at_us <= now) {
    retry_at_us = 0;
    if (need.write || need.read || due(need.next_mark_us, now) || due(bind_at_us, now)) {
      bool from_now = work_seen;
      work_seen = false;
      take_turn(need.read || routes_left, from_now);
    }
  }
  if (due(harvest_at_us, now)) protected_harvest();
  publish();
}

void settle_state() {
  if (retry_at_us != 0) return;  // blocked or incompatible
  set_state(dispatcher->in_flight() > 0 ? WorkerState::kSending : WorkerState::kIdle);
}

void serve_network() {
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] { dispatcher->perform(); }));
}

void handle_interrupts() {
  // A stop of the server is not worth a FATAL in its log.
  if (ProcDiePending) {
    set_state(WorkerState::kStopping);
    proc_exit(1);
  }
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    settings_of_process(&process_settings);
    work_seen = true;
  }
  if (pg_atomic_exchange_u32(&slot->work_pending, 0) != 0) {
    if (registry_held(slot)) {
      set_state(WorkerState::kStopping);
      proc_exit(0);
    }
    work_seen = true;
    if (retry_at_us == PG_INT64_MAX) retry_at_us = 0;
  }
}

void close_dispatcher(int code, Datum arg) {
  (void)code;
  (void)arg;
  delivery::Dispatcher* closing = dispatcher;
  dispatcher = nullptr;
  delete closing;
}

void open_dispatcher() {
  // The engine's epoll descriptor and its sockets: room that fd.c would otherwise use for files.
  ReserveExternalFD();
  CppFailure failure;
  if (!run_cpp(&failure, [] { dispatcher = std::make_unique<delivery::Dispatcher>(kMaxConnections).release(); }))
    raise(&failure);
  on_proc_exit(close_dispatcher, 0);
}

[[noreturn]] void run() {
  WaitEventSet* events = create_wait_event_set(3);
  AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
  AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
  AddWaitEventToSet(events, WL_SOCKET_READABLE, dispatcher->poll_fd(), nullptr, nullptr);
  uint32 event_name = wait_event("Wee5CronWorkerMain");
  for (;;) {
    handle_interrupts();
    work();
    settle_state();
    Need need = look_at_memory();
    // Something became known while we worked: no waiting.
    bool again = retry_at_us == 0 && (need.write || need.read);
    WaitEvent occurred[3];
    int count = WaitEventSetWait(events, again ? 0 : wait_time(&need), occurred, 3, event_name);
    for (int i = 0; i < count; ++i)
      if ((occurred[i].events & WL_LATCH_SET) != 0) ResetLatch(MyLatch);
    serve_network();
  }
}

}  // namespace

void wee5_cron_worker_main(Datum arg) {
  pqsignal(SIGTERM, die);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  // Before the connection applies what ALTER DATABASE stored for sessions: that is read afresh at every turn.
  settings_of_process(&process_settings);
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
  pgstat_report_appname("wee5_cron worker");
  slot = registry_attach_worker();
  if (slot == nullptr) proc_exit(0);
  fix_session_settings();
  turn_context = AllocSetContextCreate(TopMemoryContext, "wee5_cron turn", ALLOCSET_DEFAULT_SIZES);
  open_dispatcher();
  run();
}

}  // namespace wee5::pg
