#pragma once

#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"
#include "wee5_cron/pg/worker/worker_ledger.h"

namespace wee5::pg {

// Why a worker can, or cannot, work in its database.
enum class Standing { kReady, kAbsent, kIncompatible, kLocked, kDisarmed };

// What app.settings.* are for a role.
struct RoleRow {
  const char* name;
  StoredSettings stored;
  VaultValues vault;
};

// One short transaction of the worker: it records what has ended, marks what is on the wire for long, and reads what is
// due, with the settings as they are now.
struct Turn {
  // In.
  delivery::Dispatcher* dispatcher;
  MemoryContext context;  // for what comes out
  WorkerSettings base;    // the settings without what is stored for the database
  bool read_ledger;
  bool record;       // results, too
  bool retries_due;  // a call's next attempt is due, or may be
  bool cancels_due;  // cancel() may have been called
  bool careful;      // the turn before failed: by statements only
  Outlook outlook;   // in, and out: what is left
  // Out.
  Standing standing;
  const char* why_disarmed;  // where it is kDisarmed
  bool recorded_only;        // what had ended was recorded all the same
  WorkerSettings settings;
  DueRows due;
  int64* locked;  // results that were not recorded, since somebody holds their rows locked
  int locked_count;
  int64* given_up;  // ids of calls that the dispatcher holds and shall give up
  int given_up_count;
  CancelsLeft cancels_left;  // calls that are to be given up and have not ended yet
  bool claims_written;       // what was to be claimed
  int64* claimed;            // ids of calls that may be sent once this transaction is durable
  int claimed_count;
  bool held_back;          // calls that somebody holds locked could not be claimed, or skipped
  bool endpoints_changed;  // then all rows of wee5_cron.endpoint, paths in UTF-8
  EndpointRow* endpoints;
  int endpoint_count;
  bool next_attempt_known;
  int64 next_attempt_us;  // Postgres time; 0: nothing waits for its next attempt
  RoleRow* roles;         // of all calls that wait or were read
  int role_count;
  uint64 current_until;     // while no more transactions than these have ended, the settings are those of now
  bool alerts_pending;      // somebody is to be told of what was recorded
  bool runs_unbound;        // a call by pg_cron has ended whose run is not known yet
  bool pg_net_outstanding;  // known where the ledger was read
};

// Microseconds since 2000, and since 1970.
inline int64 now_us() { return GetCurrentTimestamp(); }
inline int64 unix_us(int64 postgres_us) {
  return postgres_us + static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

inline constexpr int64 kMarkAfterUs = 250'000;  // a call on the wire for longer is `sending` in the ledger

// Once, after the connection: what the statements rely on, whatever ALTER DATABASE or ALTER ROLE say about sessions.
void fix_session_settings();
// The quickest look of all.
bool extension_is_absent();
// An ERROR leaves the dispatcher as it was; the caller rolls back and tries again later.
void run_turn_transaction(Turn* turn);

// After a turn or a chore that failed: what users have altered on the extension's tables, in words, since the ERROR
// need not name it. NULL: nothing. Raises like everything here.
char* run_changes_transaction(MemoryContext context);

// Chores: work beside the ledger, in transactions of their own, because trouble with other extensions' tables is not
// the ledger's. Each returns when it is due again, in Postgres's time; 0: when something happens.
inline constexpr int64 kChoreAgainUs = 1'000'000;  // while something is left
// Books pg_net's answers, and hands over what is to be made again. *next_attempt_us: as in Turn.
int64 run_harvest_transaction(int64* next_attempt_us);
int64 run_bind_transaction();   // looks up the pg_cron runs of calls that have ended
int64 run_watch_transaction();  // looks for runs that pg_cron missed
// Deletes a little of what the ledger keeps no longer. `base`: as in Turn.
int64 run_history_transaction(const WorkerSettings* base);
// Tells of failures. `base`: as in Turn.
int64 run_alerts_transaction(const WorkerSettings* base);

}  // namespace wee5::pg
