#pragma once

#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/settings/vault.h"
#include "wee5_cron/pg/worker/worker.h"

namespace wee5::pg {

// Whether the worker can use the ledger of its database. kCutOff: a commit would not return, because a synchronous
// standby is missing or silent.
enum class LedgerStatus { kReady, kAbsent, kIncompatible, kLocked, kDisarmed, kCutOff };

// app.settings.* of a role.
struct RoleSettings {
  const char* name;
  StoredSettings stored;
  VaultValues vault;
};

// One short transaction of the worker: it records results, marks calls as `sending`, and reads due calls and the
// present settings.
struct Turn {
  Worker* worker;
  // In.
  bool read_ledger;
  bool record_results;
  bool retries_due;      // the next attempt of some call is due, or may be
  bool cancels_due;      // cancel() may have been called
  bool careful;          // the turn before failed: only statements, and each row is tried alone
  PendingReads pending;  // in, and out: what is left to read
  // Out.
  LedgerStatus status;
  const char* disarmed_reason;  // set where the status is kDisarmed
  bool only_recorded;           // the database is disarmed or cut off, but results were recorded
  WorkerSettings settings;
  DueRows due;
  int64* locked;  // ids of results that were not recorded because somebody holds their rows locked
  int locked_count;
  int64* cancelled;  // ids of calls that the dispatcher holds and has to give up
  int cancelled_count;
  EndedCalls ended;  // calls that the dispatcher has and must not send
  CancelsLeft cancels_left;
  bool claims_written;
  int64* claimed;  // ids of calls that may be sent once this transaction is durable
  int claimed_count;
  bool rows_were_locked;   // calls could not be claimed, skipped or cancelled
  bool endpoints_changed;  // then `endpoints` has all rows of wee5_cron.endpoint, paths in UTF-8
  EndpointRow* endpoints;
  int endpoint_count;
  bool next_attempt_known;
  int64 next_attempt_us;  // Postgres time; 0: no call waits for its next attempt
  RoleSettings* roles;    // of all calls that wait or were read
  int role_count;
  uint64 settings_valid_until;  // the settings are current until more transactions than these have ended
  bool waits_ended;             // calls are due that waited for the end of another one
  bool alerts_pending;          // a recorded result calls for an alert
  bool runs_unbound;            // a call by pg_cron has ended whose run is not known yet
  bool pg_net_outstanding;      // known where the ledger was read
};

inline constexpr int64 kMarkAfterUs = 250'000;  // a call in flight for longer is `sending` in the ledger

// An ERROR leaves the dispatcher as it was. The caller rolls back and tries again later.
void run_turn_transaction(Turn* turn);

// For every transaction of a worker.
void begin_worker_transaction();
void commit_worker_transaction();

// Looks at the extension and locks its tables, without waiting.
struct LedgerAccess {
  LedgerStatus status;
  ExtensionInfo extension;
  bool renamed;  // kDisarmed: the schema wee5_cron is gone, so that nothing can be recorded
  bool subscriber;
  const char* disarmed_reason;
};
void open_ledger(LedgerAccess* access);

// Sets what the worker's statements rely on, whatever ALTER DATABASE or ALTER ROLE say about sessions. Once, after the
// connection.
void fix_session_settings();
// Whether the database lacks the extension. Cheaper than everything else.
bool extension_is_absent();

// After an ERROR in a transaction of the worker: rolls it back and returns its message, with what users have altered on
// the extension's tables if that may be the cause. In worker->turn_context.
char* roll_back(Worker* worker);
void log_failure(const char* purpose, const char* message);

}  // namespace wee5::pg
