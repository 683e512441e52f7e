// A turn of the worker: its transaction, and what follows from it.

#include "wee5_cron/pg/worker/turn.h"

#include <chrono>
#include <string>
#include <unordered_map>
#include <vector>

#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/worker/background_tasks.h"
#include "wee5_cron/pg/worker/history.h"
#include "wee5_cron/pg/worker/synchronous_standby.h"
#include "wee5_cron/pg/worker/turn_transaction.h"

namespace wee5::pg {

namespace {

constexpr int64 kNoticeablePauseUs = 100'000;  // a turn that took longer moves the requests' deadlines
constexpr int64 kFirstBackoffUs = 100'000;     // after a turn that failed; it doubles up to
constexpr int64 kLastBackoffUs = 5'000'000;
// While a batch is not on disk yet, the next one waits and grows, but not beyond this.
constexpr std::size_t kMostResultsHeld = 2'048;
constexpr int64 kRoundPauseUs = 1'000'000;       // between two rounds, at least;
constexpr int64 kRoundPauseShare = 20;           // and at least this many times as long as a round took,
constexpr int64 kLastRoundPauseUs = 60'000'000;  // at most this

int64 doubled_backoff(int64 backoff_us) {
  return backoff_us == 0 ? kFirstBackoffUs : Min(backoff_us * 2, kLastBackoffUs);
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

delivery::PathPolicies path_policies(const Turn* turn) {
  std::unordered_map<std::string, delivery::PathPolicy> policies;
  for (int i = 0; i < turn->endpoint_count; ++i) {
    const EndpointRow* row = &turn->endpoints[i];
    delivery::PathPolicy policy;
    policy.retry = retry_policy_of(row);
    if (row->max_in_flight > 0) policy.max_in_flight = static_cast<std::size_t>(row->max_in_flight);
    if (row->max_response_bytes >= 0) policy.max_response_bytes = static_cast<std::size_t>(row->max_response_bytes);
    policies.emplace(row->endpoint_path, std::move(policy));
  }
  return delivery::PathPolicies(std::move(policies));
}

// Nobody checked a text that was stored while the library was not loaded. If it is invalid no call may leave by another
// way than the one that was meant.
delivery::Proxy proxy_of(const char* text) {
  try {
    return delivery::parse_proxy(text);
  } catch (const core::Error&) {
    return {"invalid", "0", "", ""};
  }
}

delivery::DispatchSettings dispatch_settings(const WorkerSettings& stored, int capacity) {
  delivery::DispatchSettings settings;
  settings.request_timeout_ms = stored.request_timeout_ms;
  settings.connect_timeout_ms = stored.connect_timeout_ms;
  settings.max_in_flight = static_cast<std::size_t>(Min(stored.max_in_flight, capacity));
  settings.max_response_bytes = static_cast<std::size_t>(stored.max_response_bytes);
  settings.allow_plain_http = stored.allow_plain_http;
  settings.proxy = proxy_of(stored.proxy);
  settings.trace = static_cast<core::Trace>(stored.trace);
  settings.ca_file = stored.ca_file;
  settings.alert_url = stored.alert_url;
  settings.may_accept = database_sql->settle_accepted.text != nullptr;
  return settings;
}

// In C++: the dispatcher may drop the results that the ledger has.
void forget_recorded(delivery::Dispatcher* dispatcher, const Turn* turn) {
  if (turn->record_results)
    dispatcher->batch_recorded(std::vector<std::int64_t>(turn->locked, turn->locked + turn->locked_count));
  dispatcher->marked();
  for (int i = 0; i < turn->cancelled_count; ++i) dispatcher->cancel(turn->cancelled[i]);
}

// In C++.
void add_due_calls(Worker* worker, const Turn* turn) {
  for (int i = 0; i < turn->due.count; ++i) worker->dispatcher->add(due_call(turn->due.rows[i]));
  for (int i = 0; i < turn->ended.count; ++i) worker->dispatcher->forget_ended(turn->ended.ids[i]);
  for (int i = 0; i < turn->due.read_count; ++i) {
    const RouteRead& read = turn->due.reads[i];
    // If there are more routes than the dispatcher remembers, another round finds the rest.
    if (!worker->dispatcher->set_read(read.route, read.from, read.next, read.end))
      want_round(&worker->pending, read.next);
  }
}

// Takes over what the transaction read, and sends. The results of the batch are durable, or will be before anything
// else is recorded.
void take_over_and_send(Worker* worker, const Turn* turn) {
  SessionSettings command_line = command_line_settings();
  // Everything that the turn has seen is in the log before this.
  if (turn->due.count > 0) worker->calls_read_at = log_flushed_to();
  bool held = worker->draining || standby_lacks_calls(worker);
  run_cpp_or_exit(worker, [=] {
    delivery::Dispatcher* dispatcher = worker->dispatcher;
    dispatcher->configure(dispatch_settings(turn->settings, worker->capacity.requests));
    if (turn->endpoints_changed) dispatcher->set_policies(path_policies(turn));
    forget_recorded(dispatcher, turn);
    if (turn->claims_written)
      dispatcher->claimed(std::vector<std::int64_t>(turn->claimed, turn->claimed + turn->claimed_count));
    for (int i = 0; i < turn->role_count; ++i) {
      const RoleSettings& role = turn->roles[i];
      dispatcher->set_role(role.name, app_settings(role.stored, role.vault, {}, command_line));
    }
    add_due_calls(worker, turn);
    if (!held) dispatcher->dispatch();
    dispatcher->perform();
  });
}

// Reports that max_in_flight asks for more requests than the process has descriptors for.
void report_shortage(Worker* worker, int max_in_flight) {
  const RequestCapacity* capacity = &worker->capacity;
  if (max_in_flight <= capacity->requests) {
    withdraw_shortage(worker);
    return;
  }
  if (worker->shortage_reported_for == max_in_flight) return;
  worker->shortage_reported_for = max_in_flight;
  long limit = static_cast<long>(file_limit_for(max_in_flight));
  snprintf(
      worker->shortage, sizeof(worker->shortage),
      "wee5_cron.max_in_flight is %d, but only %d requests fit into the limit of %ld open files; %d need a limit of "
      "%ld",
      max_in_flight, capacity->requests, static_cast<long>(capacity->file_limit), max_in_flight, limit);
  clear_error(worker);
  ereport(LOG,
          (errmsg("wee5_cron worker: %s", worker->shortage),
           errhint("Raise the server's limit of open files to %ld (LimitNOFILE= in its systemd unit, or ulimit -n) "
                   "and restart the server, or lower wee5_cron.max_in_flight.",
                   limit)));
}

// Says once that the SQL is of an earlier version. Calls go on, without what is new.
void report_earlier_sql(WorkerSlot* slot) {
  bool earlier = database_sql != own_sql;
  if (earlier && !slot->earlier_sql_reported)
    ereport(LOG, (errmsg("wee5_cron worker: the SQL of this database has version %s, and the library has version %s",
                         database_sql->name, own_sql->name),
                  errdetail("Calls are made. What is new in version %s is missing.", own_sql->name),
                  errhint("ALTER EXTENSION wee5_cron UPDATE;")));
  slot->earlier_sql_reported = earlier;
}

struct Tally {
  uint64 succeeded;
  uint64 failed;
};

Tally tally_batch(Worker* worker) {
  Tally tally = {0, 0};
  run_cpp_or_exit(worker, [worker, &tally] {
    for (const delivery::Result& result : worker->dispatcher->batch(0)) {
      if (result.outcome.succeeded)
        ++tally.succeeded;
      else if (result.retry_at_us == 0 && result.outcome.reason != core::Reason::kCancelled)
        ++tally.failed;
    }
  });
  return tally;
}

void count_ended(WorkerSlot* slot, const Tally* tally) {
  pg_atomic_fetch_add_u64(&slot->succeeded, static_cast<int64>(tally->succeeded));
  pg_atomic_fetch_add_u64(&slot->failed, static_cast<int64>(tally->failed));
}

void note_success(Worker* worker, const Tally* tally) {
  count_ended(worker->slot, tally);
  if (worker->ledger_backoff_us > 0 || worker->was_paused) clear_error(worker);
  if (worker->was_paused) look_at_all_jobs(worker);
  worker->was_paused = false;
  worker->ledger_backoff_us = 0;
  worker->timers.ledger_retry_us = 0;
  registry_note_success(worker->slot);
}

void note_failure(Worker* worker, const char* message) {
  worker->ledger_backoff_us = doubled_backoff(worker->ledger_backoff_us);
  worker->timers.ledger_retry_us = now_us() + worker->ledger_backoff_us;
  registry_set_error(worker->slot, message);
  report_state(worker, WorkerEvent::kFoundBlocked);
}

// The ledger cannot be used at the moment. Nothing is sent, and requests in flight go on.
void pause_sending(Worker* worker, const Turn* turn) {
  delivery::Dispatcher* dispatcher = worker->dispatcher;
  switch (turn->status) {
    case LedgerStatus::kAbsent:
      registry_note_absent();
      proc_exit(0);
    case LedgerStatus::kIncompatible:
      report_state(worker, WorkerEvent::kFoundIncompatible);
      registry_set_error(worker->slot,
                         "the library and the extension have different versions: run ALTER EXTENSION wee5_cron "
                         "UPDATE, or install the library of the extension's version and restart the server");
      // ALTER EXTENSION wakes the worker.
      worker->timers.ledger_retry_us = PG_INT64_MAX;
      break;
    case LedgerStatus::kLocked:
      note_failure(worker, "another session has locked the ledger");
      break;
    case LedgerStatus::kDisarmed:
      report_state(worker, WorkerEvent::kFoundBlocked);
      registry_set_error(worker->slot, turn->disarmed_reason);
      worker->was_paused = true;
      // arm(), DROP SUBSCRIPTION, ALTER SCHEMA and a reload wake the worker. It waits for requests in flight by itself.
      worker->timers.ledger_retry_us =
          dispatcher->in_flight() > 0 || dispatcher->has_results() || dispatcher->has_locked()
              ? now_us() + kFirstBackoffUs
              : PG_INT64_MAX;
      break;
    case LedgerStatus::kCutOff:
      report_state(worker, WorkerEvent::kFoundBlocked);
      registry_set_error(worker->slot, "commits wait for a synchronous standby, and calls wait with them");
      worker->was_paused = true;
      // Nothing wakes the worker when a standby connects. The next turn also looks for what became due meanwhile.
      worker->retries_due = worker->cancels_due = true;
      worker->timers.ledger_retry_us = now_us() + kFirstBackoffUs;
      break;
    case LedgerStatus::kReady:
      break;
  }
}

Turn* new_turn(Worker* worker, bool read_ledger) {
  MemoryContextReset(worker->turn_context);
  MemoryContextSwitchTo(worker->turn_context);
  Turn* turn = static_cast<Turn*>(palloc0(sizeof(Turn)));
  turn->worker = worker;
  turn->read_ledger = read_ledger;
  turn->careful = worker->ledger_backoff_us > 0;
  turn->retries_due = read_ledger && worker->retries_due;
  turn->cancels_due = worker->cancels_due;
  turn->pending = worker->pending;
  turn->ended.context = worker->turn_context;
  return turn;
}

// False after an ERROR, which is then in last_error and, the first time, in the log.
bool try_transaction(Worker* worker, Turn* turn) {
  volatile bool done = false;
  PG_TRY();
  {
    run_turn_transaction(turn);
    done = true;
  }
  PG_CATCH();
  {
    const char* message = roll_back(worker);
    forget_endpoints();
    if (worker->ledger_backoff_us == 0) log_failure("use the ledger", message);
    note_failure(worker, message);
  }
  PG_END_TRY();
  return done;
}

void note_end_of_round(Worker* worker) {
  if (has_new_calls(&worker->pending) || worker->pending.round_under_way || worker->round_began_us == 0) return;
  int64 now = now_us();
  int64 pause = Min(kRoundPauseShare * (now - worker->round_began_us), kLastRoundPauseUs);
  worker->next_round_us = Max(worker->next_round_us, now + pause);
  worker->round_began_us = 0;
}

void schedule_tasks(Worker* worker, const Turn* turn) {
  BackgroundTask* tasks = worker->tasks;
  if (turn->runs_unbound && tasks[kBindRuns].due_us == 0) tasks[kBindRuns].due_us = now_us();
  if (turn->pg_net_outstanding && tasks[kHarvestPgNet].due_us == 0)
    tasks[kHarvestPgNet].due_us = now_us() + kTaskPauseUs;
  bool repeat_changed = turn->settings.alert_repeat_ms != worker->alert_repeat_ms;
  if ((turn->alerts_pending || repeat_changed) && tasks[kTellAlerts].backoff_us == 0)
    tasks[kTellAlerts].due_us = now_us();
  tasks[kPruneHistory].due_us = history_due_us(&turn->settings, &worker->history, tasks[kPruneHistory].due_us);
}

void take_over_pending_work(Worker* worker, const Turn* turn) {
  worker->pending = turn->pending;
  if (turn->retries_due) worker->retries_due = false;
  if (turn->cancels_due) {
    worker->cancels_due = turn->cancels_left != CancelsLeft::kNone;
    worker->more_cancels = turn->cancels_left == CancelsLeft::kMore;
  }
  if (turn->due.cancels_left) worker->cancels_due = true;
  if (turn->next_attempt_known) worker->timers.next_attempt_us = turn->next_attempt_us;
  if (turn->due.next_wait != 0) keep_earlier(&worker->timers.next_attempt_us, turn->due.next_wait);
  if (worker->pending.waits_unknown) worker->retries_due = true;
  worker->pending.waits_unknown = false;
  if (turn->rows_were_locked) worker->timers.round_us = Max(worker->next_round_us, now_us() + kFirstBackoffUs);
  note_end_of_round(worker);
  worker->settings_read_us = now_us();
  worker->settings_valid_until = turn->settings_valid_until;
}

// What has to be on disk before a call may be sent.
void flush_before_sending(Worker* worker, const Turn* turn) {
  // After a crash, a row whose commit is not on disk never existed: such a call is not sent.
  if (turn->due.committed_at != InvalidXLogRecPtr) XLogFlush(turn->due.committed_at);
  // A call that is sent at most once is not sent before it is on disk that it was begun.
  if (turn->claimed_count > 0) {
    worker->claims_commit = XactLastCommitEnd;
    XLogFlush(worker->claims_commit);
  }
}

// The commit of the results becomes durable while the next requests are in flight, and the next batch waits for it. So
// a crash repeats no more calls than are in flight and in two batches.
void request_flush_of_results(Worker* worker) {
  if (XactLastCommitEnd == worker->unflushed_commit) return;
  worker->unflushed_commit = XactLastCommitEnd;
  worker->flush_requested_us = now_us();
  if (!registry_ask_for_flush(worker->unflushed_commit)) XLogFlush(worker->unflushed_commit);
}

void schedule_locked_results(Worker* worker, const Turn* turn) {
  if (turn->locked_count > 0) {
    worker->results_backoff_us = doubled_backoff(worker->results_backoff_us);
    worker->timers.locked_results_us = now_us() + worker->results_backoff_us;
  } else if (turn->record_results) {
    worker->results_backoff_us = 0;
  }
}

void follow_up(Worker* worker, const Turn* turn) {
  Tally tally = turn->record_results ? tally_batch(worker) : Tally{0, 0};
  flush_before_sending(worker, turn);
  schedule_tasks(worker, turn);
  take_over_pending_work(worker, turn);
  report_shortage(worker, turn->settings.max_in_flight);
  report_earlier_sql(worker->slot);
  take_over_and_send(worker, turn);
  send_claimed_calls(worker);
  if (turn->record_results) request_flush_of_results(worker);
  schedule_locked_results(worker, turn);
  note_success(worker, &tally);
}

// After a turn that has only recorded.
void follow_up_recording(Worker* worker, const Turn* turn) {
  Tally tally = turn->record_results ? tally_batch(worker) : Tally{0, 0};
  if (turn->record_results) XLogFlush(XactLastCommitEnd);
  run_cpp_or_exit(worker, [=] {
    forget_recorded(worker->dispatcher, turn);
    worker->dispatcher->retry_locked();
    worker->dispatcher->perform();
  });
  if (turn->cancels_due) worker->cancels_due = turn->cancels_left != CancelsLeft::kNone;
  count_ended(worker->slot, &tally);
}

// False if the ledger could not be used.
bool run_turn(Worker* worker, bool read_ledger, bool careful) {
  int64 began_us = now_us();
  Turn* turn = new_turn(worker, read_ledger);
  turn->careful = careful;
  turn->record_results = !previous_batch_is_unflushed(worker);
  if (turn->record_results && worker->unflushed_commit != InvalidXLogRecPtr) XLogFlush(worker->unflushed_commit);
  bool done = try_transaction(worker, turn);
  MemoryContextSwitchTo(worker->turn_context);
  extend_deadlines(worker, began_us);
  if (!done) return false;
  bool ready = turn->status == LedgerStatus::kReady;
  if (ready) follow_up(worker, turn);
  if (turn->only_recorded) follow_up_recording(worker, turn);
  if (!ready) pause_sending(worker, turn);
  return ready;
}

}  // namespace

void take_turn(Worker* worker, bool read_ledger) {
  // A turn after one that failed does not count as work yet: the state stays `blocked`, with its reason.
  bool careful = worker->ledger_backoff_us > 0;
  if (!careful && !worker->was_paused) report_state(worker, WorkerEvent::kFoundSending);
  pgstat_report_activity(STATE_RUNNING, "recording results and reading due calls");
  // An ERROR in reading due calls must not keep results from being recorded, nor the other way round.
  bool apart = careful && read_ledger && worker->dispatcher->has_results();
  if (!apart || run_turn(worker, false, true)) run_turn(worker, read_ledger, careful);
  // At most once a second, but always before a rest: autovacuum goes by these statistics.
  pgstat_report_stat(worker->dispatcher->in_flight() == 0);
  pgstat_report_activity(STATE_IDLE, nullptr);
}

void record_last_results(Worker* worker) {
  Turn* turn = new_turn(worker, false);
  turn->record_results = true;
  if (try_transaction(worker, turn) && XactLastCommitEnd != InvalidXLogRecPtr) XLogFlush(XactLastCommitEnd);
}

void request_round(Worker* worker) {
  int64 now = now_us();
  if (now < worker->next_round_us) {
    worker->timers.round_us = worker->next_round_us;
    return;
  }
  worker->timers.round_us = 0;
  worker->round_began_us = now;
  worker->next_round_us = now + kRoundPauseUs;
  want_round(&worker->pending, 0);
}

void request_round_at_once(Worker* worker) {
  worker->next_round_us = 0;
  request_round(worker);
}

void send_claimed_calls(Worker* worker) {
  if (!worker->dispatcher->has_claimed() || standby_lacks(worker->claims_commit)) return;
  run_cpp_or_exit(worker, [worker] {
    worker->dispatcher->send_claimed();
    worker->dispatcher->perform();
  });
}

bool previous_batch_is_unflushed(Worker* worker) {
  if (worker->unflushed_commit == InvalidXLogRecPtr || worker->dispatcher->results() >= kMostResultsHeld) return false;
  // Without standbys, results are recorded as they come: if the server is still the primary, this saves repeats.
  if (log_flushed_to() >= worker->unflushed_commit)
    return standby_lacks(worker->unflushed_commit) && standbys_are_there();
  if (now_us() - worker->flush_requested_us < kFlushPatienceUs) return true;
  // The launcher may have ended since it was asked.
  worker->flush_requested_us = now_us();
  return registry_ask_for_flush(worker->unflushed_commit);
}

void extend_deadlines(Worker* worker, int64 since_us) {
  int64 pause = now_us() - since_us;
  if (pause < kNoticeablePauseUs) return;
  run_cpp_or_exit(worker, [=] { worker->dispatcher->extend_deadlines(std::chrono::microseconds(pause)); });
}

void withdraw_shortage(Worker* worker) {
  if (worker->shortage[0] == '\0') return;
  worker->shortage[0] = '\0';
  worker->shortage_reported_for = 0;
  clear_error(worker);
}

}  // namespace wee5::pg
