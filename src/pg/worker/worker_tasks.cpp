// What the worker does: a turn with what follows from it, and the chores beside it.

#include <chrono>
#include <string>
#include <unordered_map>
#include <vector>

#include "wee5_cron/core/error.hpp"
#include "wee5_cron/delivery/dispatcher.hpp"
#include "wee5_cron/delivery/proxy.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/worker/history.h"
#include "wee5_cron/pg/worker/synchronous_standby.h"
#include "wee5_cron/pg/worker/worker_tasks.h"

namespace wee5::pg::worker {

delivery::Dispatcher* dispatcher = nullptr;
WorkerSlot* slot = nullptr;
MemoryContext turn_context = nullptr;
WorkerSettings process_settings;
RequestCapacity capacity;
Outlook outlook;
int64 flush_asked_us = 0;
int64 settings_read_us = 0;
uint64 settings_current_until = 0;
int64 round_wanted_at_us = 0;
int64 locked_at_us = 0;
bool retries_due = true;
bool cancels_due = true;  // calls that may have to be given up;
bool more_cancels = false;
int64 next_attempt_us = 0;
int64 retry_at_us = 0;
bool draining = false;

namespace {

constexpr int64 kLastChoreUs = 60'000'000;     // between two tries of one that fails
constexpr int64 kNoticeablePauseUs = 100'000;  // a turn that took longer moves the requests' deadlines
constexpr int64 kFirstRetryUs = 100'000;       // after a turn that failed; doubles up to
constexpr int64 kLastRetryUs = 5'000'000;
// The batch before is not on disk yet: the next one waits, and grows, but not beyond so many.
constexpr std::size_t kMostResultsHeld = 2'048;
constexpr int64 kLookEverywhereUs = 1'000'000;  // see look_everywhere_in_time(): the least pause,
constexpr int64 kLookEverywhereShare = 20;      // and in relation to how long it took

XLogRecPtr unflushed = InvalidXLogRecPtr;   // of the last recorded batch
XLogRecPtr claimed_at = InvalidXLogRecPtr;  // of the calls that were claimed and are not sent yet
int64 round_began_us = 0;
int64 next_round_us = 0;  // not before
int64 locked_wait_us = 0;
int64 retry_wait_us = 0;
int shortage_reported_for = 0;  // the max_in_flight that was found to be too large for the limit of open files
char shortage[kLastErrorBytes] = "";
bool stood_still = false;  // the turn before found the database disarmed

int64 run_harvest() {
  int64 next = 0;
  int64 again_us = run_harvest_transaction(&next);
  if (next != 0 && (next_attempt_us == 0 || next < next_attempt_us)) next_attempt_us = next;
  return again_us;
}

}  // namespace

Chore harvest = {"harvest pg_net's answers", run_harvest, 0, 0};
Chore runs = {"look up pg_cron's runs", run_bind_transaction, 0, 0};
Chore watch = {"look for missed runs", run_watch_transaction, 1, 0};  // what the server missed while it was down
Chore alerts = {"tell of failures", [] { return run_alerts_transaction(&process_settings); }, 1, 0};
Chore history = {"delete what the ledger keeps no longer", [] { return run_history_transaction(&process_settings); }, 1,
                 0};

void clear_error() { registry_set_error(slot, shortage); }

void withdraw_shortage() {
  if (shortage[0] == '\0') return;
  shortage[0] = '\0';
  shortage_reported_for = 0;
  clear_error();
}

void run_or_exit(CppFailure* failure, bool done) {
  if (done) return;
  // Out of memory, or libcurl is unusable: a fresh process starts with what the ledger says.
  registry_set_error(slot, failure->message);
  raise(failure);
}

namespace {

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

// A text that nobody checked, since it was stored while the library was not loaded: no call leaves by another way than
// it may be meant to.
delivery::Proxy proxy_of(const char* text) {
  try {
    return delivery::parse_proxy(text);
  } catch (const core::Error&) {
    return {"invalid", "0", "", ""};
  }
}

// Says so when max_in_flight asks for more requests than the process has descriptors for.
void report_shortage(int max_in_flight) {
  if (max_in_flight <= capacity.requests) {
    withdraw_shortage();
    return;
  }
  if (shortage_reported_for == max_in_flight) return;
  shortage_reported_for = max_in_flight;
  long limit = static_cast<long>(file_limit_for(max_in_flight));
  snprintf(
      shortage, sizeof(shortage),
      "wee5_cron.max_in_flight is %d, but only %d requests fit into the limit of %ld open files; %d need a limit of "
      "%ld",
      max_in_flight, capacity.requests, static_cast<long>(capacity.file_limit), max_in_flight, limit);
  clear_error();
  ereport(LOG,
          (errmsg("wee5_cron worker: %s", shortage),
           errhint("Raise the server's limit of open files to %ld (LimitNOFILE= in its systemd unit, or ulimit -n) "
                   "and restart the server, or lower wee5_cron.max_in_flight.",
                   limit)));
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
    settings.max_in_flight = static_cast<std::size_t>(Min(turn->settings.max_in_flight, capacity.requests));
    settings.max_response_bytes = static_cast<std::size_t>(turn->settings.max_response_bytes);
    settings.allow_plain_http = turn->settings.allow_plain_http;
    settings.proxy = proxy_of(turn->settings.proxy);
    settings.trace = static_cast<core::Trace>(turn->settings.trace);
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
    if (!draining) dispatcher->dispatch();
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

void count_ended(const Tally* tally) {
  pg_atomic_fetch_add_u64(&slot->succeeded, static_cast<int64>(tally->succeeded));
  pg_atomic_fetch_add_u64(&slot->failed, static_cast<int64>(tally->failed));
}

void note_success(const Tally* tally) {
  count_ended(tally);
  if (retry_wait_us > 0 || stood_still) clear_error();
  if (stood_still) watch.at_us = now_us();
  stood_still = false;
  retry_wait_us = 0;
  retry_at_us = 0;
  registry_note_success(slot);
}

void note_trouble(const char* message) {
  retry_wait_us = retry_wait_us == 0 ? kFirstRetryUs : Min(retry_wait_us * 2, kLastRetryUs);
  retry_at_us = now_us() + retry_wait_us;
  registry_set_error(slot, message);
  report(WorkerEvent::kFoundBlocked);
}

// The database is not for us at the moment. Nothing is sent; what is on the wire goes on.
void stand_still(const Turn* turn) {
  switch (turn->standing) {
    case Standing::kAbsent:
      registry_note_absent();
      proc_exit(0);
    case Standing::kIncompatible:
      report(WorkerEvent::kFoundIncompatible);
      registry_set_error(slot,
                         "the library's version is not the extension's: ALTER EXTENSION wee5_cron UPDATE, or install "
                         "the library of that version and restart the server");
      // ALTER EXTENSION wakes us.
      retry_at_us = PG_INT64_MAX;
      break;
    case Standing::kLocked:
      note_trouble("the ledger is locked by somebody else");
      break;
    case Standing::kDisarmed:
      report(WorkerEvent::kFoundBlocked);
      registry_set_error(slot, turn->why_disarmed);
      stood_still = true;
      // arm(), DROP SUBSCRIPTION, ALTER SCHEMA and a reload wake us. What is on the wire is waited for.
      retry_at_us = dispatcher->in_flight() > 0 || dispatcher->has_results() || dispatcher->has_locked()
                        ? now_us() + kFirstRetryUs
                        : PG_INT64_MAX;
      break;
    case Standing::kReady:
      break;
  }
}

// Whether an altered table may be behind the ERROR: bad data, a constraint, a type, a trigger's own error.
bool may_come_from_altered_table(int sqlstate) {
  for (int category :
       {ERRCODE_DATA_EXCEPTION, ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION, ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
        ERRCODE_FEATURE_NOT_SUPPORTED, ERRCODE_PLPGSQL_ERROR, ERRCODE_WITH_CHECK_OPTION_VIOLATION,
        ERRCODE_TRIGGERED_ACTION_EXCEPTION, ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE})
    if (ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TO_CATEGORY(category)) return sqlstate != ERRCODE_LOCK_NOT_AVAILABLE;
  return false;
}

// What users have altered on the extension's tables; NULL: nothing, or it cannot be found out.
char* altered_tables() {
  char* volatile words = nullptr;
  PG_TRY();
  { words = run_changes_transaction(turn_context); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(turn_context);
    FlushErrorState();
    AbortCurrentTransaction();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(turn_context);
  return words;
}

char* with_changes(char* message) {
  const char* words = altered_tables();
  bool said = words == nullptr || strstr(words, message) != nullptr;
  return said ? message : psprintf("%s (altered: %s)", message, words);
}

// The words of the ERROR that was caught, after its transaction was rolled back. In turn_context.
char* roll_back() {
  MemoryContextSwitchTo(turn_context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortCurrentTransaction();
  MemoryContextSwitchTo(turn_context);
  return may_come_from_altered_table(error->sqlerrcode) ? with_changes(error->message) : error->message;
}

void log_trouble(const char* what, const char* message) {
  ereport(LOG, (errmsg("wee5_cron worker cannot %s: %s", what, message),
                errdetail("Nothing is lost; it is tried again until it works.")));
}

}  // namespace

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
    note_trouble(message);
  }
  PG_END_TRY();
  return done;
}

namespace {

void finish_pause(int64 began_us) {
  int64 pause = now_us() - began_us;
  if (pause < kNoticeablePauseUs) return;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [&] { dispatcher->not_served_for(std::chrono::microseconds(pause)); }));
}

}  // namespace

void do_chore(Chore* chore) {
  int64 began_us = now_us();
  MemoryContextReset(turn_context);
  PG_TRY();
  {
    int64 again_us = chore->run();
    if (chore->wait_us > 0) clear_error();
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

void look_everywhere_now() {
  next_round_us = 0;
  look_everywhere_in_time();
}

namespace {

void note_round(bool under_way) {
  if (under_way || round_began_us == 0) return;
  int64 now = now_us();
  next_round_us = Max(next_round_us, now + Min(kLookEverywhereShare * (now - round_began_us), kLastChoreUs));
  round_began_us = 0;
}

}  // namespace

void send_claimed_calls() {
  if (!dispatcher->has_claimed() || standby_lacks(claimed_at)) return;
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [] {
    dispatcher->send_claimed();
    dispatcher->perform();
  }));
}

namespace {

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
  report_shortage(turn->settings.max_in_flight);
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
}

}  // namespace

namespace {

// What follows from a turn of a disarmed database, which has only recorded.
void follow_up_recording(const Turn* turn) {
  Tally tally = turn->record ? tally_batch() : Tally{0, 0};
  if (turn->record) XLogFlush(XactLastCommitEnd);
  CppFailure failure;
  run_or_exit(&failure, run_cpp(&failure, [turn] {
    if (turn->record)
      dispatcher->batch_recorded(std::vector<std::int64_t>(turn->locked, turn->locked + turn->locked_count));
    dispatcher->retry_locked();
    dispatcher->marked();
    for (int i = 0; i < turn->given_up_count; ++i) dispatcher->cancel(turn->given_up[i]);
    dispatcher->perform();
  }));
  if (turn->cancels_due) cancels_due = turn->cancels_left != CancelsLeft::kNone;
  count_ended(&tally);
}

}  // namespace

bool batch_before_in_the_way() {
  if (unflushed == InvalidXLogRecPtr || dispatcher->results() >= kMostResultsHeld) return false;
  if (log_flushed_to() >= unflushed) return standby_lacks(unflushed);
  if (now_us() - flush_asked_us < kAskAgainUs) return true;
  // The launcher that was asked may have ended.
  flush_asked_us = now_us();
  return registry_ask_for_flush(unflushed);
}

namespace {

// False where the transaction failed.
bool run_turn(bool read_ledger, bool careful) {
  int64 began_us = now_us();
  Turn* turn = new_turn(read_ledger);
  turn->careful = careful;
  turn->record = !batch_before_in_the_way();
  if (turn->record && unflushed != InvalidXLogRecPtr) XLogFlush(unflushed);
  bool done = protected_turn(turn);
  MemoryContextSwitchTo(turn_context);
  finish_pause(began_us);
  if (done && turn->standing == Standing::kReady) follow_up(turn);
  if (done && turn->recorded_only) follow_up_recording(turn);
  if (done && turn->standing != Standing::kReady) stand_still(turn);
  return done && turn->standing == Standing::kReady;
}

}  // namespace

void take_turn(bool read_ledger) {
  // A try after one that failed is no work yet: who looks meanwhile is told what is the matter.
  bool careful = retry_wait_us > 0;
  if (!careful) report(WorkerEvent::kFoundSending);
  pgstat_report_activity(STATE_RUNNING, "recording results and reading due calls");
  // What keeps due calls from being read must not keep results from being recorded, nor the other way round.
  bool apart = careful && read_ledger && dispatcher->has_results();
  if (!apart || run_turn(false, true)) run_turn(read_ledger, careful);
  // At most once a second, but always before a rest: autovacuum goes by it.
  pgstat_report_stat(dispatcher->in_flight() == 0);
  pgstat_report_activity(STATE_IDLE, nullptr);
}

}  // namespace wee5::pg::worker
