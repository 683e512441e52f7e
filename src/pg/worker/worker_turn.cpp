// The database part of the worker: its transactions.

#include <string>
#include <vector>

#include "wee5_cron/core/version.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/as_owner.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/ledger/armed.h"
#include "wee5_cron/pg/ledger/book_results.h"
#include "wee5_cron/pg/registry/ended_calls.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/worker/alerts.h"
#include "wee5_cron/pg/worker/history.h"
#include "wee5_cron/pg/worker/worker_turn.h"

namespace wee5::pg {

namespace {

constexpr std::size_t kResultsPerTurn = 4096;
constexpr int64 kHeldRowAgainUs = 100'000;

// Whether this database may send now; if not, why: last_error of the view worker. In a transaction.
struct Permission {
  CallPermit permit;
  const char* reason;
};

// A user has renamed, moved or replaced the table, unless the extension was dropped since we looked.
Standing missing_table(const char* name) {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  if (!OidIsValid(extension.oid)) return Standing::kAbsent;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the table wee5_cron.%s is missing", name),
                  errhint("If you renamed, moved or replaced the table, put back the one that the extension made.")));
  pg_unreachable();
}

Standing look_at_extension(ExtensionInfo* extension, Permission* permission) {
  find_extension("wee5_cron", extension);
  if (!OidIsValid(extension->oid)) return Standing::kAbsent;
  if (!OidIsValid(get_namespace_oid("wee5_cron", true))) {
    *permission = {CallPermit::kRenamed, explain_permit(CallPermit::kRenamed)};
    return Standing::kDisarmed;
  }
  if (strcmp(extension->version, core::kVersion) != 0) return Standing::kIncompatible;
  // Conditionally: who waits for a lock cannot serve the network.
  for (const char* table : {"invocation", "attempt"}) {
    Oid relation = relation_of_extension("wee5_cron", table, extension->oid);
    if (!OidIsValid(relation)) return missing_table(table);
    if (!ConditionalLockRelationOid(relation, RowExclusiveLock)) return Standing::kLocked;
  }
  Oid armed = relation_of_extension("wee5_cron", "armed", extension->oid);
  if (!OidIsValid(armed)) return missing_table("armed");
  if (!ConditionalLockRelationOid(armed, AccessShareLock)) return Standing::kLocked;
  permission->permit = call_permit();
  permission->reason = explain_permit(permission->permit);
  return permission->permit == CallPermit::kGranted ? Standing::kReady : Standing::kDisarmed;
}

// Dropped, perhaps made anew: what is held in memory belongs to a ledger that is gone.
void forget_former_ledger(Turn* turn, Oid extension) {
  static Oid known_extension = InvalidOid;
  if (OidIsValid(known_extension) && known_extension != extension) {
    CppFailure failure;
    if (!run_cpp(&failure, [&] { turn->dispatcher->forget(); })) raise(&failure);
    turn->outlook.under_way = false;
    ask_for_round(&turn->outlook, 0);
  }
  known_extension = extension;
}

struct Recorded {
  bool results;
  bool retries;  // among them are calls that will be made again
};

Recorded record_and_mark(Turn* turn) {
  delivery::Dispatcher* dispatcher = turn->dispatcher;
  Recorded recorded = {false, false};
  const delivery::OnTheWire* claims = nullptr;
  int claim_count = 0;
  const delivery::Result* results = nullptr;
  int result_count = 0;
  const delivery::OnTheWire* calls = nullptr;
  int call_count = 0;
  int64 now = unix_us(now_us());
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        if (turn->record) {
          const std::vector<delivery::Result>& batch = dispatcher->batch(kResultsPerTurn);
          results = batch.data();
          result_count = static_cast<int>(batch.size());
          for (const delivery::Result& result : batch) recorded.retries = recorded.retries || result.retry_at_us > 0;
        }
        const std::vector<delivery::OnTheWire>& marks = dispatcher->unmarked(now, kMarkAfterUs);
        calls = marks.data();
        call_count = static_cast<int>(marks.size());
        // One after the other: those before may have to wait for a standby.
        turn->claims_written = !dispatcher->has_claimed();
        if (turn->claims_written) {
          const std::vector<delivery::OnTheWire>& waiting = dispatcher->claims();
          claims = waiting.data();
          claim_count = static_cast<int>(waiting.size());
        }
      }))
    raise(&failure);
  if (result_count > 0) {
    turn->locked =
        static_cast<int64*>(MemoryContextAlloc(turn->context, sizeof(int64) * static_cast<Size>(result_count)));
    turn->locked_count = record_results(results, result_count, !turn->careful, turn->locked);
    note_html_pages(results, result_count);
    turn->alerts_pending = note_outcomes(results, result_count);
  }
  if (call_count > 0) mark_sending(calls, call_count);
  if (claim_count > 0) claim(claims, claim_count, turn->context, &turn->claimed, &turn->claimed_count);
  turn->held_back = turn->claimed_count < claim_count;
  recorded.results = result_count > 0;
  return recorded;
}

// After what is due was read: a policy that was committed before a call counts for it.
void read_policies(Turn* turn) {
  MemoryContext old = MemoryContextSwitchTo(turn->context);
  turn->endpoints_changed = read_changed_endpoints(&turn->endpoints, &turn->endpoint_count);
  for (int i = 0; i < turn->endpoint_count; ++i)
    turn->endpoints[i].endpoint_path = to_utf8_lossy(turn->endpoints[i].endpoint_path);
  MemoryContextSwitchTo(old);
}

void look_ahead(Turn* turn, bool more_are_due) {
  turn->next_attempt_known = true;
  turn->next_attempt_us = next_attempt_at();
  int64 now = now_us();
  // What is due and could not take its turn: somebody holds the row.
  if (turn->next_attempt_us != 0 && turn->next_attempt_us <= now)
    turn->next_attempt_us = more_are_due ? now : now + kHeldRowAgainUs;
}

void read_roles(Turn* turn) {
  const std::string* waiting = nullptr;
  int waiting_count = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::vector<std::string>& roles = turn->dispatcher->waiting_roles();
        waiting = roles.data();
        waiting_count = static_cast<int>(roles.size());
      }))
    raise(&failure);
  MemoryContext old = MemoryContextSwitchTo(turn->context);
  turn->roles = static_cast<RoleRow*>(palloc(sizeof(RoleRow) * static_cast<Size>(waiting_count + turn->due.count)));
  turn->role_count = 0;
  FreshSnapshot now = take_fresh_snapshot();
  for (int i = 0; i < waiting_count + turn->due.count; ++i) {
    const char* name = i < waiting_count ? waiting[i].c_str() : turn->due.rows[i - waiting_count].requested_by;
    bool known = false;
    for (int j = 0; j < turn->role_count && !known; ++j) known = strcmp(turn->roles[j].name, name) == 0;
    if (known) continue;
    RoleRow* role = &turn->roles[turn->role_count++];
    role->name = pstrdup(name);
    // A role that was dropped meanwhile: what is stored for everybody.
    Oid oid = get_role_oid(name, true);
    read_stored_settings_at(now.snapshot, oid, &role->stored);
    complete_from_vault_at(&now, oid, nullptr, &role->stored, &role->vault);
  }
  UnregisterSnapshot(now.snapshot);
  MemoryContextSwitchTo(old);
}

void work_on_ledger(Turn* turn) {
  Recorded recorded = record_and_mark(turn);
  if (turn->cancels_due)
    turn->cancels_left = give_up_calls(turn->dispatcher, turn->context, &turn->given_up, &turn->given_up_count);
  // What is not held here and has not ended either, somebody holds locked.
  if (turn->cancels_left == CancelsLeft::kUnsettled && turn->given_up_count == 0) turn->held_back = true;
  bool more_are_due = turn->retries_due && let_due_retries_take_their_turn(&turn->outlook);
  if (recorded.results || something_new(&turn->outlook)) turn->runs_unbound = cron_runs_unbound();
  turn->settings = turn->base;
  apply_stored_worker_settings(&turn->settings);
  if (turn->read_ledger) {
    read_due(turn->dispatcher, &turn->outlook, turn->careful, turn->context, &turn->due);
    turn->pg_net_outstanding = pg_net_calls_outstanding() || (turn->retries_due && pg_net_calls_due());
    turn->held_back = turn->held_back || turn->due.held_back;
    if (turn->due.skipped > 0) turn->runs_unbound = cron_runs_unbound();
  }
  if (turn->retries_due || recorded.retries) look_ahead(turn, more_are_due);
  read_policies(turn);
  read_roles(turn);
}

// Where nothing may be sent: what has ended is recorded all the same.
void record_only(Turn* turn) {
  CppFailure failure;
  if (!run_cpp(&failure, [turn] { turn->dispatcher->drop_waiting(); })) raise(&failure);
  record_and_mark(turn);
  if (turn->cancels_due)
    turn->cancels_left = give_up_calls(turn->dispatcher, turn->context, &turn->given_up, &turn->given_up_count);
  turn->recorded_only = true;
}

// A deferred trigger cannot fire where we run: Postgres refuses it to code that runs with somebody else's rights, since
// it would fire later, outside. So all of them fire at the end of their statement.
void fire_deferred_triggers_at_once() {
  ConstraintsSetStmt* statement = makeNode(ConstraintsSetStmt);
  statement->constraints = NIL;  // all
  statement->deferred = false;
  AfterTriggerSetState(statement);
}

void begin_transaction() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  // Nobody is waited for at the commit, neither the disk nor a standby: who waits cannot serve the network. A turn
  // flushes by itself, after the next requests are on the wire.
  set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
  PushActiveSnapshot(GetTransactionSnapshot());
  fire_deferred_triggers_at_once();
}

void commit_transaction() {
  PopActiveSnapshot();
  CommitTransactionCommand();
}

}  // namespace

void fix_session_settings() {
  struct Fixed {
    const char* name;
    const char* value;
  };
  static const Fixed settings[] = {{"search_path", "pg_catalog, pg_temp"},
                                   {"statement_timeout", "0"},
                                   // Who waits for a lock cannot serve the network; what waits is tried again.
                                   {"lock_timeout", "100ms"},
                                   {"transaction_timeout", "0"},
                                   {"idle_in_transaction_session_timeout", "0"},
                                   {"default_transaction_isolation", "read committed"},
                                   {"default_transaction_read_only", "off"},
                                   {"default_transaction_deferrable", "off"},
                                   {"row_security", "off"},
                                   {"session_replication_role", "origin"},
                                   // The statements are index look-ups whatever the statistics say.
                                   {"enable_seqscan", "off"},
                                   {"enable_hashjoin", "off"},
                                   {"enable_mergejoin", "off"},
                                   // What is asked for in an order is read by the index that has it.
                                   {"enable_sort", "off"},
                                   {"jit", "off"}};
  for (const Fixed& setting : settings)
    if (GetConfigOption(setting.name, true, false) != nullptr)  // not every version has all of them
      SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
}

bool extension_is_absent() {
  begin_transaction();
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  commit_transaction();
  return !OidIsValid(extension.oid);
}

void run_turn_transaction(Turn* turn) {
  forget_ended_calls();
  begin_transaction();
  // Before anything is read: who ends meanwhile counts as later.
  turn->current_until = transactions_ended();
  ExtensionInfo extension;
  Permission permission = {CallPermit::kGranted, ""};
  turn->standing = look_at_extension(&extension, &permission);
  turn->why_disarmed = permission.reason;
  forget_former_ledger(turn, extension.oid);
  if (turn->standing == Standing::kReady) as_owner(extension.owner, [turn] { work_on_ledger(turn); });
  if (turn->standing == Standing::kDisarmed && permission.permit != CallPermit::kRenamed)
    as_owner(extension.owner, [turn] { record_only(turn); });
  if (permission.permit == CallPermit::kSubscriber && subscriber_has_mark())
    as_owner(extension.owner, [] { SPI_execute("SELECT wee5_cron.disarm_subscriber()", false, 0); });
  if (TransactionIdIsValid(GetTopTransactionIdIfAny())) ++turn->current_until;  // this one
  commit_transaction();
  announce_ended_calls();
}

namespace {

// Work in a transaction of its own, which says when it is due again.
int64 run_apart(int64 (*work)()) {
  begin_transaction();
  ExtensionInfo extension;
  int64 again_us = 0;
  Permission permission = {CallPermit::kGranted, ""};
  Standing standing = look_at_extension(&extension, &permission);
  if (standing == Standing::kReady) as_owner(extension.owner, [&again_us, work] { again_us = work(); });
  if (standing == Standing::kLocked) again_us = now_us() + kChoreAgainUs;
  commit_transaction();
  return again_us;
}

int64 again_if(bool left) { return left ? now_us() + kChoreAgainUs : 0; }

int64 next_attempt_after_harvest = 0;

int64 harvest_answers() {
  harvest_pg_net();
  next_attempt_after_harvest = next_attempt_at();
  // With what was just handed over, here or by somebody else's harvest().
  PushActiveSnapshot(GetLatestSnapshot());
  bool left = pg_net_calls_outstanding() || pg_net_calls_due();
  PopActiveSnapshot();
  return again_if(left);
}

int64 look_up_runs() {
  bind_cron_runs();
  return again_if(cron_runs_unbound());
}

int64 look_at_jobs() {
  ExtensionInfo pg_cron;
  find_extension("pg_cron", &pg_cron);
  registry_watch(relation_of_extension("cron", "job", pg_cron.oid));
  return watch_jobs();
}

}  // namespace

char* run_changes_transaction(MemoryContext context) {
  begin_transaction();
  ExtensionInfo extension;
  Permission permission;
  char* words = nullptr;
  if (look_at_extension(&extension, &permission) == Standing::kReady)
    as_owner(extension.owner, [context, &words] {
      SPI_execute("SELECT pg_catalog.string_agg(what, '; ') FROM wee5_cron.table_changes()", true, 1);
      const char* found = SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : nullptr;
      if (found != nullptr) words = MemoryContextStrdup(context, found);
    });
  commit_transaction();
  return words;
}

int64 run_harvest_transaction(int64* next_attempt_us) {
  next_attempt_after_harvest = 0;
  int64 again_us = run_apart(harvest_answers);
  *next_attempt_us = next_attempt_after_harvest;
  return again_us;
}
int64 run_bind_transaction() { return run_apart(look_up_runs); }
int64 run_watch_transaction() { return run_apart(look_at_jobs); }
int64 run_alerts_transaction(const WorkerSettings* base) {
  static const WorkerSettings* settings = nullptr;
  settings = base;
  return run_apart([] { return tell_alerts(settings); });
}
int64 run_history_transaction(const WorkerSettings* base) {
  static const WorkerSettings* settings = nullptr;
  settings = base;
  return run_apart([] { return prune_some_history(settings); });
}

}  // namespace wee5::pg
