// The worker of a database: the only consumer of its ledger.
//
// It waits on one set of its latch, the postmaster and the engine's epoll descriptor; nothing wakes it that does not
// concern it. A turn is one short transaction: record what has ended, read what is due, with the settings as they are
// now. Then, outside of it, send. No transaction or snapshot is held while requests are on the wire, and nothing is
// sent that a crash could undo, nor while results cannot be recorded.

#include <memory>
#include <optional>

#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/worker/history.h"
#include "wee5_cron/pg/worker/worker_tasks.h"

namespace wee5::pg::worker {

extern "C" {
PGDLLEXPORT void wee5_cron_worker_main(Datum arg);
}

namespace {

// Results are recorded together: when so many are there, or the first has waited so long, or nothing else is to come.
constexpr std::size_t kResultsAtOnce = 256;
constexpr int64 kResultDelayUs = 2'000;
constexpr int64 kFlushLookUs = 500;  // the least pause between two looks, and in relation to how long it takes
constexpr int64 kFlushLookShare = 8;
// Calls that were read go on the wire without another look at the database for so long after the settings were read,
// and only while nobody can have changed these.
constexpr int64 kFreshUs = 20'000;

uint64 sent_before = 0;  // by the workers before this one

void publish() {
  pg_atomic_write_u32(&slot->in_flight, static_cast<uint32>(dispatcher->in_flight()));
  pg_atomic_write_u64(&slot->sent, sent_before + dispatcher->sent());
}

void try_locked_again() {
  locked_at_us = 0;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] { dispatcher->retry_locked(); }));
}

// What a look at memory says: whether the ledger has to be read or written now.
struct Need {
  bool write;
  bool read;
  int64 next_write_us;  // Postgres time; 0: none
  int64 next_mark_us;
  int64 next_look_us;  // whether disk and standby have what was written
};

Need look_at_memory() {
  Need need = {false, !draining && (something_new(&outlook) || retries_due || more_cancels), 0, 0, 0};
  bool must_wait = batch_before_in_the_way();
  int64 now = now_us();
  int64 look_again_us = now + Min(Max((now - flush_asked_us) / kFlushLookShare, kFlushLookUs), kAskAgainUs);
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    if (!draining) {
      need.read = need.read || dispatcher->wants_refill() || (outlook.under_way && dispatcher->wants_more_routes());
      need.write = dispatcher->can_dispatch() || (dispatcher->has_claims() && !dispatcher->has_claimed());
    }
    if (dispatcher->has_claimed()) need.next_look_us = look_again_us;
    if (dispatcher->has_results() && must_wait) {
      need.next_look_us = look_again_us;
    } else if (dispatcher->has_results()) {
      need.write =
          need.write || dispatcher->results() >= kResultsAtOnce || dispatcher->in_flight() + dispatcher->waiting() == 0;
      need.next_write_us = dispatcher->oldest_result_us() - unix_us(0) + kResultDelayUs;
    }
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
  else {
    sooner(need->next_write_us);
    sooner(need->next_mark_us);
    sooner(need->next_look_us);
    sooner(locked_at_us);
    if (!draining) sooner(round_wanted_at_us);
    if (!draining) sooner(next_attempt_us);
  }
  if (!draining)
    for (const Chore* chore : chores) sooner(chore->at_us);
  // No longer than epoll can wait: 24 days.
  int64 wait_us = Min(wake_us - now, static_cast<int64>(INT_MAX) * 1000 - 999);
  long wait_ms = wake_us == 0 ? -1 : wait_us <= 0 ? 0 : static_cast<long>((wait_us + 999) / 1000);
  long engine_ms = dispatcher->timeout_ms();
  if (engine_ms >= 0 && (wait_ms < 0 || engine_ms < wait_ms)) wait_ms = engine_ms;
  return wait_ms;
}

void do_due_chores(int64 now) {
  for (Chore* chore : chores)
    if (due(chore->at_us, chore == &alerts ? now_us() : now)) {
      do_chore(chore);
      // They may have found something to tell.
      if ((chore == &harvest || chore == &watch) && alerts.at_us == 0) alerts.at_us = now_us();
    }
}

void work() {
  int64 now = now_us();
  if (!draining && due(next_attempt_us, now)) {
    next_attempt_us = 0;
    retries_due = true;
  }
  Need need = look_at_memory();
  if (retry_at_us == 0 || retry_at_us <= now) {
    retry_at_us = 0;
    send_claimed_calls();
    if (due(locked_at_us, now)) try_locked_again();
    if (!draining && due(round_wanted_at_us, now)) look_everywhere_in_time();
    if (need.write || need.read || due(need.next_write_us, now) || due(need.next_mark_us, now))
      take_turn(!draining && (need.read || outlook.under_way));
  }
  if (!draining) do_due_chores(now);
  publish();
}

void settle_state() {
  if (retry_at_us != 0) return;  // blocked or incompatible
  report(dispatcher->in_flight() > 0 ? WorkerEvent::kFoundSending : WorkerEvent::kFoundIdle);
}

bool nothing_is_held() {
  return dispatcher->in_flight() == 0 && dispatcher->results() == 0 && !dispatcher->has_locked();
}

// Nothing on the wire, and no call that is due. Chores may be: whoever waits for a process has calls to make.
bool is_at_rest(const Need* need) {
  if (!nothing_is_held()) return false;
  return retry_at_us != 0 ||
         (!need->read && !need->write && dispatcher->waiting() == 0 && !outlook.under_way && !retries_due);
}

void note_rest(bool at_rest) {
  bool known = pg_atomic_read_u64(&slot->at_rest_since) != 0;
  if (known != at_rest)
    pg_atomic_write_u64(&slot->at_rest_since, at_rest ? static_cast<uint64>(GetCurrentTimestamp()) : 0);
}

void leave_behind() {
  LeftBehind left;
  memset(&left, 0, sizeof(left));
  // Whatever ends that wakes a worker, which then does everything at once.
  bool stands_still = retry_at_us == PG_INT64_MAX;
  left.known = !stands_still;
  if (!stands_still) {
    left.next_attempt_us = next_attempt_us;
    if (retry_at_us != 0) left.next_attempt_us = retry_at_us;
    for (int i = 0; i < kChores; ++i) left.chores_us[i] = chores[i]->at_us;
    left.history = history_walk();
  }
  registry_leave_behind(slot, &left);
  withdraw_shortage();
}

void take_over_what_was_left() {
  LeftBehind left;
  registry_left_behind(slot, &left);
  sent_before = pg_atomic_read_u64(&slot->sent);
  if (!left.known) return;
  next_attempt_us = left.next_attempt_us;
  for (int i = 0; i < kChores; ++i) chores[i]->at_us = left.chores_us[i];
  resume_history(&left.history);
}

void serve_network() {
  // Nothing new is sent while the ledger cannot be written, nor with an address and a secret that may be others by now.
  bool may_send = !draining && retry_at_us == 0 && now_us() - settings_read_us < kFreshUs &&
                  transactions_ended() == settings_current_until;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [may_send] {
    dispatcher->perform();
    if (may_send) dispatcher->dispatch();
  }));
}

// The last thing before the end: what has been answered is recorded, so that it is not sent again.
[[noreturn]] void stop(int code) {
  report(WorkerEvent::kStops);
  // Or the transaction would end with a FATAL, which a stop of the server is not worth.
  ProcDiePending = false;
  InterruptPending = false;
  bool results = false;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&results] {
    // What waits to be claimed is not sent any more, so it must not be claimed either.
    dispatcher->claimed({});
    dispatcher->retry_locked();
    results = dispatcher->has_results();
  }));
  if (results) {
    Turn* turn = new_turn(false);
    turn->record = true;
    if (protected_turn(turn) && XactLastCommitEnd != InvalidXLogRecPtr) XLogFlush(XactLastCommitEnd);
  }
  proc_exit(code);
}

void take_announcements() {
  Announcements fresh;
  registry_take_announcements(slot, &fresh);
  ask_for_round(&outlook, fresh.look_from);
  if (fresh.look_from != kNothing) retries_due = cancels_due = true;
  for (int i = 0; i < fresh.count; ++i) announce(&outlook, fresh.ranges[i]);
  look_everywhere_in_time();
}

// What kept it from working may be over.
void look_again() {
  if (retry_at_us != PG_INT64_MAX) return;
  retry_at_us = 0;
  retries_due = cancels_due = true;
  watch.at_us = now_us();
  clear_error();
}

void handle_interrupts() {
  if (ProcDiePending) stop(1);
  // A cancel outside of a statement would end the process, and what is on the wire would be sent again.
  QueryCancelPending = false;
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    // Also where all slots are taken, and nothing would be read otherwise: there may be more of them now.
    retries_due = true;
    settings_of_process(&process_settings);
    ask_for_round(&outlook, 0);
    look_again();
  }
  if (pg_atomic_exchange_u32(&slot->work_pending, 0) != 0) {
    take_announcements();
    look_again();
  }
  if (pg_atomic_exchange_u32(&slot->jobs_changed, 0) != 0) watch.at_us = now_us();
}

// No new calls from now on. What waits to be claimed is forgotten here, and stays queued in the ledger.
void begin_to_drain() {
  draining = true;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] { dispatcher->claimed({}); }));
}

void go_on() {
  draining = false;
  retries_due = true;
  ask_for_round(&outlook, 0);
}

// Other databases wait for a process, or a statement needs this one to itself.
void heed_what_is_asked() {
  switch (registry_asked(slot)) {
    case Asked::kCut:
      leave_behind();
      stop(0);
    case Asked::kDrain:
      if (!draining) begin_to_drain();
      break;
    case Asked::kLeaveAtRest:
    case Asked::kNothing:
      if (draining) go_on();
      break;
  }
}

void leave_if_asked(const Need* need) {
  bool at_rest = is_at_rest(need);
  note_rest(at_rest);
  if (draining && nothing_is_held()) {
    leave_behind();
    // There may be calls that were not looked at.
    pg_atomic_write_u32(&slot->work_pending, 1);
    stop(0);
  }
  if (draining || !registry_somebody_waits(slot)) return;
  if (!at_rest) {
    if (dispatcher->in_flight() > 0) registry_decline(slot);
    return;
  }
  // Rather than come back for it in a second.
  if (round_wanted_at_us != 0 && retry_at_us == 0)
    look_everywhere_now();
  else if (registry_may_leave(slot)) {
    leave_behind();
    stop(0);
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
  capacity = reserve_request_descriptors(kMaxInFlightBounds.most);
  std::size_t connections = static_cast<std::size_t>(capacity.requests);
  CppFailure failure;
  if (!run_cpp(&failure, [=] { dispatcher = std::make_unique<delivery::Dispatcher>(connections).release(); }))
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
    heed_what_is_asked();
    work();
    settle_state();
    Need need = look_at_memory();
    leave_if_asked(&need);
    need = look_at_memory();
    // Something became known while we worked: no waiting.
    bool again = retry_at_us == 0 && (need.write || need.read || due(need.next_write_us, now_us()));
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
  // Not ignored: lock_timeout and statement_timeout arrive as SIGINT.
  pqsignal(SIGINT, StatementCancelHandler);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  // Before the connection applies what ALTER DATABASE stored for sessions: that is read afresh at every turn.
  settings_of_process(&process_settings);
  uint32 launch;
  memcpy(&launch, MyBgworkerEntry->bgw_extra, sizeof(launch));
  registry_expect_worker(DatumGetObjectId(arg), launch);
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
  pgstat_report_appname("wee5_cron worker");
  slot = registry_attach_worker();
  if (slot == nullptr) proc_exit(0);
  fix_session_settings();
  // Most databases of many servers: they are left before anything else is set up.
  if (extension_is_absent()) {
    registry_note_absent();
    proc_exit(0);
  }
  take_over_what_was_left();
  outlook.announced.look_from = 0;
  turn_context = AllocSetContextCreate(TopMemoryContext, "wee5_cron turn", ALLOCSET_DEFAULT_SIZES);
  open_dispatcher();
  run();
}

}  // namespace wee5::pg::worker
