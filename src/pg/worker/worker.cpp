// The worker of a database: the only process that sends the calls of its ledger.
//
// It waits for its latch, the postmaster, the engine's epoll descriptor and a change of the system clock at once, and
// sleeps until one of them has something for it. A turn is one short transaction: it records results, and reads due
// calls with the present settings. The requests are sent after it. No transaction or snapshot is open while requests
// are in flight. Nothing is sent that a crash could undo, and nothing while results cannot be recorded.

#include "wee5_cron/pg/worker/worker.h"

#include <memory>
#include <optional>

#include "wee5_cron/delivery/dispatch/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/clock_watch.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/worker/background_tasks.h"
#include "wee5_cron/pg/worker/synchronous_standby.h"
#include "wee5_cron/pg/worker/turn.h"
#include "wee5_cron/pg/worker/turn_transaction.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_worker_main(Datum arg);
}

namespace {

// Results are recorded in batches: at this number, at this age of the first, or when no other can come.
constexpr std::size_t kResultsAtOnce = 256;
constexpr int64 kResultDelayUs = 2'000;
// Whether the log is flushed is checked at least at this interval, and less often the longer the flush takes.
constexpr int64 kFlushCheckUs = 500;
constexpr int64 kFlushCheckShare = 8;
// For so long after the settings were read, calls in memory are sent without reading them again, provided that no
// transaction has ended that could have changed them.
constexpr int64 kFreshUs = 20'000;
constexpr int kWaitEvents = 4;

void publish_counters(Worker* worker) {
  pg_atomic_write_u32(&worker->slot->in_flight, static_cast<uint32>(worker->dispatcher->in_flight()));
  pg_atomic_write_u64(&worker->slot->sent, worker->sent_before + worker->dispatcher->sent());
}

void retry_locked_results(Worker* worker) {
  worker->timers.locked_results_us = 0;
  run_cpp_or_exit(worker, [worker] { worker->dispatcher->retry_locked(); });
}

// Whether the ledger has to be read or written, as far as memory tells.
struct LedgerWork {
  bool write;
  bool read;
  bool held;            // calls are neither read nor sent until synchronous standbys have those that were read
  int64 next_write_us;  // Postgres time, as all of these; 0: none
  int64 next_mark_us;
  int64 next_flush_check_us;
};

void add_work_for_calls(const Worker* worker, LedgerWork* work) {
  const delivery::Dispatcher* dispatcher = worker->dispatcher;
  bool round_goes_on = worker->pending.round_under_way && dispatcher->wants_more_routes();
  work->read = work->read || dispatcher->wants_refill() || round_goes_on;
  work->write = dispatcher->can_dispatch() || (dispatcher->has_claims() && !dispatcher->has_claimed());
}

void add_work_for_results(const delivery::Dispatcher* dispatcher, LedgerWork* work) {
  bool is_last = dispatcher->in_flight() + dispatcher->waiting() == 0;
  work->write = work->write || dispatcher->results() >= kResultsAtOnce || is_last;
  int64 oldest_us = timestamp_of_unix_us(dispatcher->oldest_result_us());
  // From the future: the clock was set back. 1: long ago.
  work->next_write_us = oldest_us > now_us() ? 1 : oldest_us + kResultDelayUs;
}

bool has_calls_to_read(const Worker* worker) {
  return has_new_calls(&worker->pending) || worker->retries_due || worker->more_cancels;
}

void ask_standby_again(const Worker* worker, int64 now, LedgerWork* work) {
  int64 pause_us = (now - worker->unconfirmed_since_us) / kFlushCheckShare;
  keep_earlier(&work->next_flush_check_us, now + Max(pause_us, kFlushCheckUs));
}

LedgerWork find_ledger_work(Worker* worker) {
  const delivery::Dispatcher* dispatcher = worker->dispatcher;
  bool held = standby_lacks_calls(worker) && !is_cut_off(worker);
  bool may_send = !worker->draining && !held;
  LedgerWork work = {false, may_send && has_calls_to_read(worker), held, 0, 0, 0};
  bool unflushed = previous_batch_is_unflushed(worker);
  int64 now = now_us();
  int64 flush_took_us = now - worker->flush_requested_us;
  int64 flush_check_us = now + Min(Max(flush_took_us / kFlushCheckShare, kFlushCheckUs), kFlushPatienceUs);
  run_cpp_or_exit(worker, [&] {
    if (may_send) add_work_for_calls(worker, &work);
    if (dispatcher->has_claimed() || (dispatcher->has_results() && unflushed))
      work.next_flush_check_us = flush_check_us;
    if (dispatcher->has_results() && !unflushed) add_work_for_results(dispatcher, &work);
    if (std::optional<std::int64_t> mark = dispatcher->next_mark_us(kMarkAfterUs))
      work.next_mark_us = timestamp_of_unix_us(*mark);
  });
  if (held) ask_standby_again(worker, now, &work);
  return work;
}

// When the worker has to wake up by itself; 0: never.
int64 next_wake_us(const Worker* worker, const LedgerWork* work) {
  const WorkerTimers* timers = &worker->timers;
  int64 wake_us = 0;
  if (timers->ledger_retry_us != 0) {
    keep_earlier(&wake_us, timers->ledger_retry_us);
  } else {
    for (int64 at_us : {work->next_write_us, work->next_mark_us, work->next_flush_check_us, timers->locked_results_us})
      keep_earlier(&wake_us, at_us);
    if (!worker->draining) keep_earlier(&wake_us, timers->round_us);
    if (!worker->draining) keep_earlier(&wake_us, timers->next_attempt_us);
  }
  if (!worker->draining)
    for (const BackgroundTask& task : worker->tasks) keep_earlier(&wake_us, task.due_us);
  return wake_us;
}

// Milliseconds to wait at most; -1: until something happens.
long wait_time_ms(const Worker* worker, const LedgerWork* work) {
  int64 wake_us = next_wake_us(worker, work);
  // epoll cannot wait for longer than 24 days.
  int64 wait_us = Min(wake_us - now_us(), static_cast<int64>(INT_MAX) * 1000 - 999);
  long wait_ms = wake_us == 0 ? -1 : wait_us <= 0 ? 0 : static_cast<long>((wait_us + 999) / 1000);
  long engine_ms = worker->dispatcher->timeout_ms();
  if (engine_ms >= 0 && (wait_ms < 0 || engine_ms < wait_ms)) wait_ms = engine_ms;
  return wait_ms;
}

void work_on_ledger(Worker* worker, int64 now) {
  LedgerWork work = find_ledger_work(worker);
  WorkerTimers* timers = &worker->timers;
  if (timers->ledger_retry_us > now) return;
  timers->ledger_retry_us = 0;
  send_claimed_calls(worker);
  if (is_due(timers->locked_results_us, now)) retry_locked_results(worker);
  if (!worker->draining && is_due(timers->round_us, now)) request_round(worker);
  if (work.write || work.read || is_due(work.next_write_us, now) || is_due(work.next_mark_us, now))
    take_turn(worker, !worker->draining && !work.held && (work.read || worker->pending.round_under_way));
}

void do_work(Worker* worker) {
  int64 now = now_us();
  if (!worker->draining && is_due(worker->timers.next_attempt_us, now)) {
    worker->timers.next_attempt_us = 0;
    worker->retries_due = true;
  }
  work_on_ledger(worker, now);
  if (!worker->draining) run_due_tasks(worker, now);
  publish_counters(worker);
}

void report_idle_or_sending(Worker* worker) {
  if (worker->timers.ledger_retry_us != 0) return;  // blocked or incompatible
  report_state(worker, worker->dispatcher->in_flight() > 0 ? WorkerEvent::kFoundSending : WorkerEvent::kFoundIdle);
}

bool holds_no_request(const Worker* worker) {
  const delivery::Dispatcher* dispatcher = worker->dispatcher;
  return dispatcher->in_flight() == 0 && dispatcher->results() == 0 && !dispatcher->has_locked();
}

// No request in flight, and no call due. Background tasks do not count: a database that waits for a process has calls.
bool is_at_rest(const Worker* worker, const LedgerWork* work) {
  if (!holds_no_request(worker)) return false;
  if (worker->timers.ledger_retry_us != 0) return true;
  bool has_calls = worker->dispatcher->waiting() > 0 || worker->pending.round_under_way || worker->retries_due;
  return !work->read && !work->write && !has_calls;
}

void publish_rest(Worker* worker, bool at_rest) {
  bool known = pg_atomic_read_u64(&worker->slot->at_rest_since) != 0;
  if (known != at_rest)
    pg_atomic_write_u64(&worker->slot->at_rest_since, at_rest ? static_cast<uint64>(GetCurrentTimestamp()) : 0);
}

void write_handover(Worker* worker) {
  WorkerHandover handover;
  memset(&handover, 0, sizeof(handover));
  // A worker that stands still hands over nothing: the event that ends this wakes a worker, which looks for all work.
  handover.known = worker->timers.ledger_retry_us != PG_INT64_MAX;
  if (handover.known) {
    int64 retry_us = worker->timers.ledger_retry_us;
    handover.next_attempt_us = retry_us != 0 ? retry_us : worker->timers.next_attempt_us;
    for (int i = 0; i < kBackgroundTasks; ++i) handover.tasks_due_us[i] = worker->tasks[i].due_us;
    handover.history = worker->history;
    handover.job_watch = worker->job_watch;
  }
  registry_write_handover(worker->slot, &handover);
  withdraw_shortage(worker);
}

void read_handover(Worker* worker) {
  WorkerHandover handover;
  registry_read_handover(worker->slot, &handover);
  worker->sent_before = pg_atomic_read_u64(&worker->slot->sent);
  if (!handover.known) return;
  worker->timers.next_attempt_us = handover.next_attempt_us;
  for (int i = 0; i < kBackgroundTasks; ++i) worker->tasks[i].due_us = handover.tasks_due_us[i];
  worker->history = handover.history;
  worker->job_watch = handover.job_watch;
}

void serve_network(Worker* worker) {
  // Nothing new is sent while the ledger cannot be written, nor with settings that may have changed.
  bool is_fresh =
      now_us() - worker->settings_read_us < kFreshUs && transactions_ended() == worker->settings_valid_until;
  bool may_send = !worker->draining && worker->timers.ledger_retry_us == 0 && is_fresh && !standby_lacks_calls(worker);
  run_cpp_or_exit(worker, [=] {
    worker->dispatcher->perform();
    if (may_send) worker->dispatcher->dispatch();
  });
}

// Records the answers that have come, so that these calls are not sent again, and ends the process.
[[noreturn]] void stop(Worker* worker, int code) {
  report_state(worker, WorkerEvent::kStops);
  // Otherwise the transaction would end with a FATAL, which an ordinary stop of the server is not worth.
  ProcDiePending = false;
  InterruptPending = false;
  bool has_results = false;
  run_cpp_or_exit(worker, [worker, &has_results] {
    // Calls that wait to be claimed are not sent any more, so they must not be claimed either.
    worker->dispatcher->claimed({});
    worker->dispatcher->retry_locked();
    has_results = worker->dispatcher->has_results();
  });
  if (has_results) record_last_results(worker);
  proc_exit(code);
}

void take_announcements(Worker* worker) {
  Announcements fresh;
  registry_take_announcements(worker->slot, &fresh);
  want_round(&worker->pending, fresh.look_from);
  if (fresh.look_from != kNothing) worker->retries_due = worker->cancels_due = true;
  for (int i = 0; i < fresh.count; ++i) add_announced_calls(&worker->pending, fresh.ranges[i]);
  request_round(worker);
}

// The reason of a standstill may be gone.
void end_standstill(Worker* worker) {
  if (worker->timers.ledger_retry_us != PG_INT64_MAX) return;
  worker->timers.ledger_retry_us = 0;
  worker->retries_due = worker->cancels_due = true;
  look_at_all_jobs(worker);
  clear_error(worker);
}

void reload_configuration(Worker* worker) {
  ConfigReloadPending = false;
  ProcessConfigFile(PGC_SIGHUP);
  // The turn that this asks for takes place even if all slots are in use: max_in_flight may be higher now.
  worker->retries_due = true;
  settings_of_process(&worker->process_settings);
  want_round(&worker->pending, 0);
  end_standstill(worker);
}

void handle_interrupts(Worker* worker) {
  if (ProcDiePending) stop(worker, 1);
  // Outside of a statement a cancel would end the process, and requests in flight would be sent again.
  QueryCancelPending = false;
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) reload_configuration(worker);
  if (pg_atomic_exchange_u32(&worker->slot->work_pending, 0) != 0) {
    take_announcements(worker);
    end_standstill(worker);
  }
  if (pg_atomic_exchange_u32(&worker->slot->jobs_changed, 0) != 0) look_at_all_jobs(worker);
}

// Times that were computed before somebody set the clock may be far away now, and calls may be due.
void start_over(Worker* worker) {
  WorkerTimers* timers = &worker->timers;
  int64 now = now_us();
  if (timers->ledger_retry_us != PG_INT64_MAX) timers->ledger_retry_us = 0;
  if (timers->locked_results_us != 0) timers->locked_results_us = now;
  for (BackgroundTask& task : worker->tasks)
    if (task.due_us != 0) task.due_us = now;
  look_at_all_jobs(worker);
  worker->settings_read_us = 0;
  worker->retries_due = worker->cancels_due = true;
  want_round(&worker->pending, 0);
  request_round_at_once(worker);
}

// From now on no new calls are taken. Calls that wait to be claimed are dropped here, and stay queued in the ledger.
void begin_draining(Worker* worker) {
  worker->draining = true;
  run_cpp_or_exit(worker, [worker] { worker->dispatcher->claimed({}); });
}

void end_draining(Worker* worker) {
  worker->draining = false;
  worker->retries_due = true;
  want_round(&worker->pending, 0);
}

// Other databases wait for a process, or a statement needs this database to itself.
void handle_leave_request(Worker* worker) {
  switch (registry_leave_request(worker->slot)) {
    case LeaveRequest::kCut:
      write_handover(worker);
      stop(worker, 0);
    case LeaveRequest::kDrain:
      if (!worker->draining) begin_draining(worker);
      break;
    case LeaveRequest::kAtRest:
    case LeaveRequest::kNone:
      if (worker->draining) end_draining(worker);
      break;
  }
}

void leave_if_asked(Worker* worker, const LedgerWork* work) {
  bool at_rest = is_at_rest(worker, work);
  publish_rest(worker, at_rest);
  if (worker->draining && holds_no_request(worker)) {
    write_handover(worker);
    // There may be calls that were not read.
    pg_atomic_write_u32(&worker->slot->work_pending, 1);
    stop(worker, 0);
  }
  if (worker->draining || !registry_database_waits(worker->slot)) return;
  if (!at_rest) {
    if (worker->dispatcher->in_flight() > 0) registry_decline(worker->slot);
    return;
  }
  // A round that is wanted is made now, or the worker would have to come back for it in a second.
  if (worker->timers.round_us != 0 && worker->timers.ledger_retry_us == 0) {
    request_round_at_once(worker);
  } else if (registry_may_leave(worker->slot)) {
    write_handover(worker);
    stop(worker, 0);
  }
}

// Whether somebody asked for something while this process was busy. The latch does not tell: whatever waits in a
// transaction, such as for a lock, resets it. Whoever asks writes this down first and then sets the latch.
bool is_asked(const Worker* worker) {
  WorkerSlot* slot = worker->slot;
  bool asked = ProcDiePending || ConfigReloadPending || pg_atomic_read_u32(&slot->work_pending) != 0 ||
               pg_atomic_read_u32(&slot->jobs_changed) != 0;
  LeaveRequest request = registry_leave_request(slot);
  return asked || request == LeaveRequest::kCut || (request == LeaveRequest::kDrain) != worker->draining;
}

void delete_dispatcher(int code, Datum arg) {
  (void)code;
  Worker* worker = reinterpret_cast<Worker*>(DatumGetPointer(arg));
  delivery::Dispatcher* dispatcher = worker->dispatcher;
  worker->dispatcher = nullptr;
  delete dispatcher;
}

void create_dispatcher(Worker* worker) {
  worker->capacity = reserve_request_descriptors(kMaxInFlightBounds.most);
  std::size_t connections = static_cast<std::size_t>(worker->capacity.requests);
  run_cpp_or_exit(worker, [=] { worker->dispatcher = std::make_unique<delivery::Dispatcher>(connections).release(); });
  on_proc_exit(delete_dispatcher, PointerGetDatum(worker));
}

// What the worker waits for. clock_watch: see open_clock_watch().
struct Events {
  WaitEventSet* set;
  pgsocket clock_watch;
  uint32 name;
};

void create_events(const Worker* worker, Events* events) {
  events->set = create_wait_event_set(kWaitEvents);
  AddWaitEventToSet(events->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
  AddWaitEventToSet(events->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
  AddWaitEventToSet(events->set, WL_SOCKET_READABLE, worker->dispatcher->poll_fd(), nullptr, nullptr);
  events->clock_watch = open_clock_watch();
  if (events->clock_watch != PGINVALID_SOCKET)
    AddWaitEventToSet(events->set, WL_SOCKET_READABLE, events->clock_watch, nullptr, nullptr);
  events->name = wait_event("Wee5CronWorkerMain");
}

void wait_for_events(Worker* worker, const Events* events, long wait_ms) {
  if (is_asked(worker)) SetLatch(MyLatch);
  WaitEvent occurred[kWaitEvents];
  int count = WaitEventSetWait(events->set, wait_ms, occurred, kWaitEvents, events->name);
  for (int i = 0; i < count; ++i) {
    if ((occurred[i].events & WL_LATCH_SET) != 0) ResetLatch(MyLatch);
    if (events->clock_watch != PGINVALID_SOCKET && occurred[i].fd == events->clock_watch &&
        clock_was_set(events->clock_watch))
      start_over(worker);
  }
}

[[noreturn]] void run(Worker* worker) {
  Events events;
  create_events(worker, &events);
  for (;;) {
    handle_interrupts(worker);
    handle_leave_request(worker);
    do_work(worker);
    report_idle_or_sending(worker);
    LedgerWork work = find_ledger_work(worker);
    leave_if_asked(worker, &work);
    work = find_ledger_work(worker);
    // If work came up meanwhile, do it without waiting.
    bool has_work = work.write || work.read || is_due(work.next_write_us, now_us());
    bool must_wait = worker->timers.ledger_retry_us != 0 || !has_work;
    wait_for_events(worker, &events, must_wait ? wait_time_ms(worker, &work) : 0);
    serve_network(worker);
  }
}

Worker* new_worker() {
  Worker* worker = static_cast<Worker*>(MemoryContextAllocZero(TopMemoryContext, sizeof(Worker)));
  worker->turn_context = AllocSetContextCreate(TopMemoryContext, "wee5_cron turn", ALLOCSET_DEFAULT_SIZES);
  worker->retries_due = worker->cancels_due = true;
  init_background_tasks(worker);
  // Read before the connection applies what ALTER DATABASE stored for sessions. Each turn reads that afresh.
  settings_of_process(&worker->process_settings);
  return worker;
}

}  // namespace

void wee5_cron_worker_main(Datum arg) {
  pqsignal(SIGTERM, die);
  // Not ignored: lock_timeout and statement_timeout arrive as SIGINT.
  pqsignal(SIGINT, StatementCancelHandler);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  Worker* worker = new_worker();
  uint32 launch;
  memcpy(&launch, MyBgworkerEntry->bgw_extra, sizeof(launch));
  registry_expect_worker(DatumGetObjectId(arg), launch);
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
  pgstat_report_appname("wee5_cron worker");
  worker->slot = registry_attach_worker();
  if (worker->slot == nullptr) proc_exit(0);
  fix_session_settings();
  // On many servers most databases lack the extension: the process leaves them before it sets up anything else.
  if (extension_is_absent()) {
    registry_note_absent();
    proc_exit(0);
  }
  read_handover(worker);
  worker->pending.announced.look_from = 0;
  create_dispatcher(worker);
  run(worker);
}

}  // namespace wee5::pg
