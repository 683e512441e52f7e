// The worker of a database: the only consumer of its ledger.
//
// It waits on one set of its latch, the postmaster and the engine's epoll descriptor; nothing wakes it that does not
// concern it. A turn is one short transaction: record what has ended, read what is due, with the settings as they are
// now. Then, outside of it, send. No transaction or snapshot is held while requests are on the wire, and nothing is
// sent that a crash could undo, nor while results cannot be recorded.

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary.h"
#include "wee5_cron/pg/guc.h"
#include "wee5_cron/pg/history.h"
#include "wee5_cron/pg/setting_candidates.h"
#include "wee5_cron/pg/stored_settings.h"
#include "wee5_cron/pg/synchronous_standby.h"
#include "wee5_cron/pg/worker_registry.h"
#include "wee5_cron/pg/worker_turn.h"

namespace wee5::pg {

extern "C" {
PGDLLEXPORT void wee5_cron_worker_main(Datum arg);
}

namespace {

constexpr std::size_t kMaxConnections = 4096;  // the upper bound of wee5_cron.max_in_flight
constexpr int64 kLastChoreUs = 60'000'000;     // between two tries of one that fails
constexpr int64 kNoticeablePauseUs = 100'000;  // a turn that took longer moves the requests' deadlines
constexpr int64 kFirstRetryUs = 100'000;       // after a turn that failed; doubles up to
constexpr int64 kLastRetryUs = 5'000'000;
// Results are recorded together: when so many are there, or the first has waited so long, or nothing else is to come.
constexpr std::size_t kResultsAtOnce = 256;
constexpr int64 kResultDelayUs = 2'000;
// The batch before is not on disk yet: the next one waits, and grows, but not beyond so many.
constexpr std::size_t kMostResultsHeld = 2'048;
constexpr int64 kAskAgainUs = 100'000;
constexpr int64 kFlushLookUs = 500;  // the least pause between two looks, and in relation to how long it takes
constexpr int64 kFlushLookShare = 8;
// Calls that were read go on the wire without another look at the database for so long after the settings were read,
// and only while nobody can have changed these.
constexpr int64 kFreshUs = 20'000;
constexpr int64 kLookEverywhereUs = 1'000'000;  // see look_everywhere_in_time(): the least pause,
constexpr int64 kLookEverywhereShare = 20;      // and in relation to how long it took

// Trivially destructible, freed by an exit callback: exit() runs destructors of static objects at a bad time.
delivery::Dispatcher* dispatcher = nullptr;
WorkerSlot* slot = nullptr;
MemoryContext turn_context = nullptr;
WorkerSettings process_settings;

Outlook outlook;                            // what of the ledger is still to be looked at
XLogRecPtr unflushed = InvalidXLogRecPtr;   // of the last recorded batch
XLogRecPtr claimed_at = InvalidXLogRecPtr;  // of the calls that were claimed and are not sent yet
int64 flush_asked_us = 0;
// Times in microseconds since 2000; 0: not due.
int64 settings_read_us = 0;
uint64 settings_current_until = 0;  // transactions ended
int64 round_began_us = 0;
int64 next_round_us = 0;       // not before
int64 round_wanted_at_us = 0;  // a wake came before that
int64 locked_at_us = 0;        // results whose rows were locked by somebody else are tried again
int64 locked_wait_us = 0;
bool retries_due = true;    // calls whose next attempt may be due
bool cancels_due = true;    // calls that may have to be given up; looked at with the next turn,
bool more_cancels = false;  // which is now
int64 next_attempt_us = 0;  // when one is
int64 retry_at_us = 0;      // blocked until then
int64 retry_wait_us = 0;

int64 run_harvest() {
  int64 next = 0;
  int64 again_us = run_harvest_transaction(&next);
  if (next != 0 && (next_attempt_us == 0 || next < next_attempt_us)) next_attempt_us = next;
  return again_us;
}

// Work beside the ledger, in transactions of its own.
struct Chore {
  const char* name;
  int64 (*run)();  // says when it is due again, 0: not by itself
  int64 at_us;     // when it is due
  int64 wait_us;   // after a failure
};
Chore harvest = {"harvest pg_net's answers", run_harvest, 0, 0};
Chore runs = {"look up pg_cron's runs", run_bind_transaction, 0, 0};
Chore watch = {"look for missed runs", run_watch_transaction, 1, 0};  // what the server missed while it was down
Chore alerts = {"tell of failures", [] { return run_alerts_transaction(&process_settings); }, 1, 0};
Chore history = {"delete what the ledger keeps no longer", [] { return run_history_transaction(&process_settings); }, 1,
                 0};

bool due(int64 at_us, int64 now) { return at_us != 0 && at_us <= now; }

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

delivery::DueCall due_call(const DueRow& row) {
  delivery::DueCall call;
  call.id = row.id;
  call.attempt = row.attempt;
  call.endpoint_path = row.endpoint_path;
  call.method = row.method;
  call.has_body = row.body != nullptr;
  if (call.has_body) call.body = row.body;
  for (int i = 0; i < row.headers.count; ++i) call.headers.push_back({row.headers.names[i], row.headers.values[i]});
  call.headers_unreadable = row.headers_unreadable;
  call.timeout_ms = row.timeout_ms;
  call.requested_by = row.requested_by;
  call.job_name = view_or_empty(row.job_name);
  call.scheduled_at = view_or_empty(row.scheduled_at);
  call.idempotency_key = row.idempotency_key;
  call.first_begun_us = row.first_begun_us;
  call.cut_off = row.cut_off;
  return call;
}

std::unordered_map<std::string, core::RetryPolicy> retry_policies(const Turn* turn) {
  std::unordered_map<std::string, core::RetryPolicy> policies;
  for (int i = 0; i < turn->endpoint_count; ++i)
    policies.emplace(turn->endpoints[i].endpoint_path, retry_policy_of(&turn->endpoints[i]));
  return policies;
}

// Takes over what the transaction read, and sends. The results of the batch are durable or will be before anything else
// is recorded.
void take_over_and_send(const Turn* turn) {
  CppFailure failure;
  const char* api_url = command_line_api_url();
  const char* secret = command_line_cron_secret();
  run_or_exit(&failure, run_cpp(&failure, [&] {
    if (turn->record)
      dispatcher->batch_recorded(std::vector<std::int64_t>(turn->locked, turn->locked + turn->locked_count));
    dispatcher->marked();
    delivery::DispatchSettings settings;
    settings.request_timeout_ms = turn->settings.request_timeout_ms;
    settings.connect_timeout_ms = turn->settings.connect_timeout_ms;
    settings.max_in_flight = static_cast<std::size_t>(turn->settings.max_in_flight);
    settings.max_response_bytes = static_cast<std::size_t>(turn->settings.max_response_bytes);
    settings.allow_plain_http = turn->settings.allow_plain_http;
    settings.ca_file = turn->settings.ca_file;
    settings.alert_url = turn->settings.alert_url;
    dispatcher->configure(settings);
    if (turn->endpoints_changed) dispatcher->set_policies(retry_policies(turn));
    for (int i = 0; i < turn->given_up_count; ++i) dispatcher->cancel(turn->given_up[i]);
    if (turn->claims_written)
      dispatcher->claimed(std::vector<std::int64_t>(turn->claimed, turn->claimed + turn->claimed_count));
    for (int i = 0; i < turn->role_count; ++i) {
      const RoleRow& role = turn->roles[i];
      dispatcher->set_role(role.name, candidates_of(role.stored.api_url, api_url, role.vault, role.vault.api_url),
                           candidates_of(role.stored.cron_secret, secret, role.vault, role.vault.cron_secret));
    }
    for (int i = 0; i < turn->due.count; ++i) dispatcher->add(due_call(turn->due.rows[i]));
    for (int i = 0; i < turn->due.read_count; ++i) {
      const RouteRead& read = turn->due.reads[i];
      // Of more routes than can be remembered, the rest is found by another round.
      if (!dispatcher->set_read(read.route, read.from, read.next)) ask_for_round(&outlook, read.next);
    }
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
      else if (result.retry_at_us == 0 && result.outcome.reason != core::Reason::kCancelled)
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
  registry_set_error(slot, message);
  set_state(state);
}

// The database is not for us at the moment. Nothing is sent; what is on the wire goes on.
void stand_still(Standing standing) {
  switch (standing) {
    case Standing::kAbsent:
      registry_note_absent();
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
    case Standing::kDisarmed:
      set_state(WorkerState::kBlocked);
      registry_set_error(slot,
                         "disarmed: the database was restored from a dump or copied, and makes no calls before SELECT "
                         "wee5_cron.arm()");
      // arm() wakes us.
      retry_at_us = PG_INT64_MAX;
      break;
    case Standing::kReady:
      break;
  }
}

// The words of the ERROR that was caught, after its transaction was rolled back. In turn_context.
char* roll_back() {
  MemoryContextSwitchTo(turn_context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortCurrentTransaction();
  MemoryContextSwitchTo(turn_context);
  return error->message;
}

void log_trouble(const char* what, const char* message) {
  ereport(LOG, (errmsg("wee5_cron worker cannot %s: %s", what, message),
                errdetail("Nothing is lost; it is tried again until it works.")));
}

bool protected_turn(Turn* turn) {
  volatile bool done = false;
  PG_TRY();
  {
    run_turn_transaction(turn);
    done = true;
  }
  PG_CATCH();
  {
    const char* message = roll_back();
    forget_endpoints();
    if (retry_wait_us == 0) log_trouble("work on its ledger", message);
    note_trouble(WorkerState::kBlocked, message);
  }
  PG_END_TRY();
  return done;
}

void finish_pause(int64 began_us) {
  int64 pause = now_us() - began_us;
  if (pause < kNoticeablePauseUs) return;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] { dispatcher->not_served_for(std::chrono::microseconds(pause)); }));
}

// Does a chore that is due; after an ERROR, again later and later. Results on the wire do not wait for it.
void do_chore(Chore* chore) {
  int64 began_us = now_us();
  MemoryContextReset(turn_context);
  PG_TRY();
  {
    int64 again_us = chore->run();
    if (chore->wait_us > 0) registry_set_error(slot, "");
    chore->wait_us = 0;
    chore->at_us = again_us;
  }
  PG_CATCH();
  {
    const char* message = roll_back();
    if (chore->wait_us == 0) log_trouble(chore->name, message);
    registry_set_error(slot, message);
    chore->wait_us = chore->wait_us == 0 ? kChoreAgainUs : Min(chore->wait_us * 2, kLastChoreUs);
    chore->at_us = now_us() + chore->wait_us;
  }
  PG_END_TRY();
  MemoryContextSwitchTo(turn_context);
  finish_pause(began_us);
  pgstat_report_stat(true);
}

Turn* new_turn(bool read_ledger) {
  MemoryContextReset(turn_context);
  MemoryContextSwitchTo(turn_context);
  Turn* turn = static_cast<Turn*>(palloc0(sizeof(Turn)));
  turn->dispatcher = dispatcher;
  turn->context = turn_context;
  turn->base = process_settings;
  turn->read_ledger = read_ledger;
  turn->careful = retry_wait_us > 0;
  turn->retries_due = read_ledger && retries_due;
  turn->cancels_due = cancels_due;
  turn->outlook = outlook;
  return turn;
}

// Calls are announced by whoever makes them through our functions. What somebody wrote into the ledger himself is found
// by a round, which follows each wake, soon. It costs most where an old snapshot keeps what has ended in the index.
void look_everywhere_in_time() {
  int64 now = now_us();
  if (now < next_round_us) {
    round_wanted_at_us = next_round_us;
    return;
  }
  round_wanted_at_us = 0;
  round_began_us = now;
  next_round_us = now + kLookEverywhereUs;
  ask_for_round(&outlook, 0);
}

void note_round(bool under_way) {
  if (under_way || round_began_us == 0) return;
  int64 now = now_us();
  next_round_us = Max(next_round_us, now + Min(kLookEverywhereShare * (now - round_began_us), kLastChoreUs));
  round_began_us = 0;
}

// A call that is sent at most once leaves when a synchronous standby, too, has it that it was begun.
void send_claimed_calls() {
  if (!dispatcher->has_claimed() || standby_lacks(claimed_at)) return;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] {
    dispatcher->send_claimed();
    dispatcher->perform();
  }));
}

// What follows from a turn whose transaction is committed.
void follow_up(const Turn* turn) {
  Tally tally = turn->record ? tally_batch() : Tally{0, 0};
  // A row whose commit is not on disk yet might never have existed after a crash: such a call is not sent.
  if (turn->due.committed_at != InvalidXLogRecPtr) XLogFlush(turn->due.committed_at);
  // Nor one that is sent at most once, before it is on disk that it was begun.
  if (turn->claimed_count > 0) {
    claimed_at = XactLastCommitEnd;
    XLogFlush(claimed_at);
  }
  if (turn->runs_unbound && runs.at_us == 0) runs.at_us = now_us();
  if (turn->pg_net_outstanding && harvest.at_us == 0) harvest.at_us = now_us() + kChoreAgainUs;
  if (turn->alerts_pending && alerts.wait_us == 0) alerts.at_us = now_us();
  history.at_us = history_due_us(&turn->settings, history.at_us);
  outlook = turn->outlook;
  if (turn->retries_due) retries_due = false;
  if (turn->cancels_due) {
    cancels_due = turn->cancels_left != CancelsLeft::kNone;
    more_cancels = turn->cancels_left == CancelsLeft::kMore;
  }
  if (turn->next_attempt_known) next_attempt_us = turn->next_attempt_us;
  if (turn->held_back) round_wanted_at_us = Max(next_round_us, now_us() + kFirstRetryUs);
  note_round(something_new(&outlook) || outlook.under_way);
  settings_read_us = now_us();
  settings_current_until = turn->current_until;
  take_over_and_send(turn);
  send_claimed_calls();
  // Our own commit becomes durable while the next requests are on the wire; the next batch waits for it. So no more
  // calls can be sent again after a crash than are on the wire and in two batches.
  if (turn->record && XactLastCommitEnd != unflushed) {
    unflushed = XactLastCommitEnd;
    flush_asked_us = now_us();
    if (!registry_ask_for_flush(unflushed)) XLogFlush(unflushed);
  }
  if (turn->locked_count > 0) {
    locked_wait_us = locked_wait_us == 0 ? kFirstRetryUs : Min(locked_wait_us * 2, kLastRetryUs);
    locked_at_us = now_us() + locked_wait_us;
  } else if (turn->record) {
    locked_wait_us = 0;
  }
  note_success(&tally);
  if (turn->due.skipped > 0) ConditionVariableBroadcast(&slot->changed);
}

// The launcher is still busy with the log of the batch before, or a synchronous standby is, and there is room. However
// long the disk or the standby takes: who waited for it here could not serve the network.
bool batch_before_in_the_way() {
  if (unflushed == InvalidXLogRecPtr || dispatcher->results() >= kMostResultsHeld) return false;
  if (log_flushed_to() >= unflushed) return standby_lacks(unflushed);
  if (now_us() - flush_asked_us < kAskAgainUs) return true;
  // The launcher that was asked may have ended.
  flush_asked_us = now_us();
  return registry_ask_for_flush(unflushed);
}

void try_locked_again() {
  locked_at_us = 0;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] { dispatcher->retry_locked(); }));
}

void take_turn(bool read_ledger) {
  // A try after one that failed is no work yet: who looks meanwhile is told what is the matter.
  if (retry_wait_us == 0) set_state(WorkerState::kSending);
  pgstat_report_activity(STATE_RUNNING, "recording results and reading due calls");
  int64 began_us = now_us();
  Turn* turn = new_turn(read_ledger);
  turn->record = !batch_before_in_the_way();
  if (turn->record && unflushed != InvalidXLogRecPtr) XLogFlush(unflushed);
  bool done = protected_turn(turn);
  MemoryContextSwitchTo(turn_context);
  finish_pause(began_us);
  if (done && turn->standing == Standing::kReady) follow_up(turn);
  if (done && turn->standing != Standing::kReady) stand_still(turn->standing);
  // At most once a second, but always before a rest: autovacuum goes by it.
  pgstat_report_stat(dispatcher->in_flight() == 0);
  pgstat_report_activity(STATE_IDLE, nullptr);
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
  Need need = {false, something_new(&outlook) || retries_due || more_cancels, 0, 0, 0};
  bool must_wait = batch_before_in_the_way();
  int64 now = now_us();
  int64 look_again_us = now + Min(Max((now - flush_asked_us) / kFlushLookShare, kFlushLookUs), kAskAgainUs);
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] {
    need.read = need.read || dispatcher->wants_refill() || (outlook.under_way && dispatcher->wants_more_routes());
    need.write = dispatcher->can_dispatch() || (dispatcher->has_claims() && !dispatcher->has_claimed());
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
    sooner(round_wanted_at_us);
    sooner(next_attempt_us);
  }
  for (const Chore* chore : {&runs, &harvest, &watch, &history, &alerts}) sooner(chore->at_us);
  // No longer than epoll can wait: 24 days.
  int64 wait_us = Min(wake_us - now, static_cast<int64>(INT_MAX) * 1000 - 999);
  long wait_ms = wake_us == 0 ? -1 : wait_us <= 0 ? 0 : static_cast<long>((wait_us + 999) / 1000);
  long engine_ms = dispatcher->timeout_ms();
  if (engine_ms >= 0 && (wait_ms < 0 || engine_ms < wait_ms)) wait_ms = engine_ms;
  return wait_ms;
}

void work() {
  int64 now = now_us();
  if (due(next_attempt_us, now)) {
    next_attempt_us = 0;
    retries_due = true;
  }
  Need need = look_at_memory();
  if (retry_at_us == 0 || retry_at_us <= now) {
    retry_at_us = 0;
    send_claimed_calls();
    if (due(locked_at_us, now)) try_locked_again();
    if (due(round_wanted_at_us, now)) look_everywhere_in_time();
    if (need.write || need.read || due(need.next_write_us, now) || due(need.next_mark_us, now))
      take_turn(need.read || outlook.under_way);
  }
  for (Chore* chore : {&runs, &harvest, &watch, &history, &alerts})
    if (due(chore->at_us, chore == &alerts ? now_us() : now)) {
      do_chore(chore);
      // They may have found something to tell.
      if ((chore == &harvest || chore == &watch) && alerts.at_us == 0) alerts.at_us = now_us();
    }
  publish();
}

void settle_state() {
  if (retry_at_us != 0) return;  // blocked or incompatible
  set_state(dispatcher->in_flight() > 0 ? WorkerState::kSending : WorkerState::kIdle);
}

void serve_network() {
  // Nothing new is sent while the ledger cannot be written, nor with an address and a secret that may be others by now.
  bool may_send =
      retry_at_us == 0 && now_us() - settings_read_us < kFreshUs && transactions_ended() == settings_current_until;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [may_send] {
    dispatcher->perform();
    if (may_send) dispatcher->dispatch();
  }));
}

// The last thing before the end: what has been answered is recorded, so that it is not sent again.
[[noreturn]] void stop(int code) {
  set_state(WorkerState::kStopping);
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

void handle_interrupts() {
  if (ProcDiePending) stop(1);
  // A cancel outside of a statement would end the process, and what is on the wire would be sent again.
  QueryCancelPending = false;
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    settings_of_process(&process_settings);
    ask_for_round(&outlook, 0);
  }
  if (pg_atomic_exchange_u32(&slot->work_pending, 0) != 0) {
    if (registry_held(slot)) stop(0);
    take_announcements();
    if (retry_at_us == PG_INT64_MAX) {
      // What kept it from working may be over.
      retry_at_us = 0;
      watch.at_us = now_us();
      registry_set_error(slot, "");
    }
  }
  if (pg_atomic_exchange_u32(&slot->jobs_changed, 0) != 0) watch.at_us = now_us();
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
  registry_expect_worker();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
  pgstat_report_appname("wee5_cron worker");
  slot = registry_attach_worker();
  if (slot == nullptr) proc_exit(0);
  fix_session_settings();
  outlook.announced.look_from = 0;
  turn_context = AllocSetContextCreate(TopMemoryContext, "wee5_cron turn", ALLOCSET_DEFAULT_SIZES);
  open_dispatcher();
  run();
}

}  // namespace wee5::pg
