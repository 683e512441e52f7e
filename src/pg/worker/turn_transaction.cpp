#include "wee5_cron/pg/worker/turn_transaction.h"

#include <string>
#include <vector>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/as_owner.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/ledger/armed.h"
#include "wee5_cron/pg/ledger/record_results.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/registry/ended_calls.h"
#include "wee5_cron/pg/worker/alerts.h"
#include "wee5_cron/pg/worker/synchronous_standby.h"

namespace wee5::pg {

namespace {

constexpr std::size_t kResultsPerTurn = 4096;
constexpr int64 kLockedRowPauseUs = 100'000;

// A user has renamed, moved or replaced the table, unless the extension was dropped a moment ago.
LedgerStatus missing_table(const char* name) {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  if (!OidIsValid(extension.oid)) return LedgerStatus::kAbsent;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the table wee5_cron.%s is missing", name),
                  errhint("If you renamed, moved or replaced the table, restore the original.")));
  pg_unreachable();
}

// Waiting for the lock would keep the worker from serving the network.
LedgerStatus lock_table(const char* name, Oid extension, LOCKMODE mode) {
  Oid relation = relation_of_extension("wee5_cron", name, extension);
  if (!OidIsValid(relation)) return missing_table(name);
  return ConditionalLockRelationOid(relation, mode) ? LedgerStatus::kReady : LedgerStatus::kLocked;
}

LedgerStatus lock_ledger(Oid extension) {
  LedgerStatus status = lock_table("invocation", extension, RowExclusiveLock);
  if (status == LedgerStatus::kReady) status = lock_table("attempt", extension, RowExclusiveLock);
  if (status == LedgerStatus::kReady) status = lock_table("armed", extension, AccessShareLock);
  return status;
}

// The extension was dropped, and perhaps created again: the calls in memory belong to a ledger that is gone.
void forget_former_ledger(Turn* turn, Oid extension) {
  Worker* worker = turn->worker;
  if (OidIsValid(worker->extension) && worker->extension != extension) {
    CppFailure failure;
    if (!run_cpp(&failure, [worker] { worker->dispatcher->forget(); })) raise(&failure);
    turn->pending.round_under_way = false;
    want_round(&turn->pending, 0);
  }
  worker->extension = extension;
}

// What the dispatcher has for the ledger.
struct Batch {
  const delivery::Result* results;
  int result_count;
  const delivery::OnTheWire* marks;
  int mark_count;
  const delivery::OnTheWire* claims;
  int claim_count;
  bool has_retries;  // some of the results are of calls that will be made again, or that the app works on
};

void collect_batch(Turn* turn, Batch* batch) {
  delivery::Dispatcher* dispatcher = turn->worker->dispatcher;
  memset(batch, 0, sizeof(*batch));
  int64 now = unix_us_of(now_us());
  CppFailure failure;
  if (!run_cpp(&failure, [=] {
        if (turn->record_results) {
          const std::vector<delivery::Result>& results = dispatcher->batch(kResultsPerTurn);
          batch->results = results.data();
          batch->result_count = static_cast<int>(results.size());
          for (const delivery::Result& result : results) batch->has_retries |= result.retry_at_us > 0;
        }
        const std::vector<delivery::OnTheWire>& marks = dispatcher->unmarked(now, kMarkAfterUs);
        batch->marks = marks.data();
        batch->mark_count = static_cast<int>(marks.size());
        // One batch of claims at a time: the one before may still wait for a standby.
        turn->claims_written = turn->status == LedgerStatus::kReady && !dispatcher->has_claimed();
        if (turn->claims_written) {
          const std::vector<delivery::OnTheWire>& claims = dispatcher->claims();
          batch->claims = claims.data();
          batch->claim_count = static_cast<int>(claims.size());
        }
      }))
    raise(&failure);
}

void note_settled(Turn* turn, Settled settled) {
  turn->alerts_pending = turn->alerts_pending || settled.alerts;
  turn->runs_unbound = turn->runs_unbound || (settled.ended > 0 && cron_runs_unbound());
}

// The app may have completed a call before it answered 202.
void settle_recorded(Turn* turn, const Batch* batch) {
  int64* accepted = static_cast<int64*>(palloc(sizeof(int64) * static_cast<Size>(batch->result_count)));
  int count = 0;
  for (int i = 0; i < batch->result_count; ++i)
    if (batch->results[i].status == core::Status::kAccepted) accepted[count++] = batch->results[i].id;
  if (count > 0) note_settled(turn, settle_accepted(accepted, count));
}

void write_batch(Turn* turn, const Batch* batch) {
  MemoryContext context = turn->worker->turn_context;
  if (batch->result_count > 0) {
    turn->locked =
        static_cast<int64*>(MemoryContextAlloc(context, sizeof(int64) * static_cast<Size>(batch->result_count)));
    turn->locked_count = record_results(batch->results, batch->result_count, !turn->careful, turn->locked);
    note_html_pages(batch->results, batch->result_count);
    turn->alerts_pending = note_outcomes(batch->results, batch->result_count);
    settle_recorded(turn, batch);
  }
  if (batch->mark_count > 0) mark_sending(batch->marks, batch->mark_count);
  if (batch->claim_count > 0) claim(batch->claims, batch->claim_count, context, &turn->claimed, &turn->claimed_count);
  turn->rows_were_locked = turn->claimed_count < batch->claim_count;
}

void cancel_calls(Turn* turn) {
  turn->cancels_left = cancel_requested_calls(turn->worker->dispatcher, &turn->due, turn->worker->turn_context,
                                              &turn->cancelled, &turn->cancelled_count, &turn->ended);
}

// After the due calls were read: a policy that was committed before a call applies to it.
void read_policies(Turn* turn) {
  MemoryContext old = MemoryContextSwitchTo(turn->worker->turn_context);
  turn->endpoints_changed = read_changed_endpoints(&turn->endpoints, &turn->endpoint_count);
  for (int i = 0; i < turn->endpoint_count; ++i)
    turn->endpoints[i].endpoint_path = to_utf8_lossy(turn->endpoints[i].endpoint_path);
  MemoryContextSwitchTo(old);
}

void find_next_attempt(Turn* turn, bool more_are_due) {
  turn->next_attempt_known = true;
  turn->next_attempt_us = next_attempt_at();
  int64 now = now_us();
  // A call that is due and was neither queued nor settled: somebody holds its row locked.
  if (turn->next_attempt_us != 0 && turn->next_attempt_us <= now)
    turn->next_attempt_us = more_are_due ? now : now + kLockedRowPauseUs;
}

void read_role(RoleSettings* role, const FreshSnapshot* now) {
  // A role that was dropped meanwhile has the settings of the database.
  Oid oid = get_role_oid(role->name, true);
  read_stored_settings_at(now->snapshot, oid, &role->stored);
  complete_from_vault_at(now, oid, nullptr, &role->stored, &role->vault);
}

void read_roles(Turn* turn) {
  const std::string* waiting = nullptr;
  int waiting_count = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::vector<std::string>& roles = turn->worker->dispatcher->waiting_roles();
        waiting = roles.data();
        waiting_count = static_cast<int>(roles.size());
      }))
    raise(&failure);
  MemoryContext old = MemoryContextSwitchTo(turn->worker->turn_context);
  int count = waiting_count + turn->due.count;
  turn->roles = static_cast<RoleSettings*>(palloc(sizeof(RoleSettings) * static_cast<Size>(count)));
  turn->role_count = 0;
  FreshSnapshot now = take_fresh_snapshot();
  for (int i = 0; i < count; ++i) {
    const char* name = i < waiting_count ? waiting[i].c_str() : turn->due.rows[i - waiting_count].requested_by;
    bool known = false;
    for (int j = 0; j < turn->role_count && !known; ++j) known = strcmp(turn->roles[j].name, name) == 0;
    if (known) continue;
    RoleSettings* role = &turn->roles[turn->role_count++];
    role->name = pstrdup(name);
    read_role(role, &now);
  }
  UnregisterSnapshot(now.snapshot);
  MemoryContextSwitchTo(old);
}

void read_ledger(Turn* turn) {
  Worker* worker = turn->worker;
  read_due(worker->dispatcher, &turn->pending, turn->careful, worker->turn_context, &turn->due, &turn->ended);
  turn->pg_net_outstanding =
      pg_net_calls_outstanding() || ((turn->retries_due || turn->waits_ended) && pg_net_calls_due());
  turn->rows_were_locked = turn->rows_were_locked || turn->due.rows_were_locked;
  if (turn->due.ended > 0) turn->runs_unbound = cron_runs_unbound();
  // A row can be read before its commit has woken this worker. If the commit also cancels the call, that can be read
  // too.
  if (turn->due.count > 0) cancel_calls(turn);
}

void work_on_ledger(Turn* turn) {
  Batch batch;
  collect_batch(turn, &batch);
  write_batch(turn, &batch);
  if (turn->cancels_due) cancel_calls(turn);
  // A call that the dispatcher does not hold and that has not ended is locked by somebody.
  if (turn->cancels_left == CancelsLeft::kUnsettled && turn->cancelled_count == 0) turn->rows_were_locked = true;
  if (turn->retries_due) note_settled(turn, settle_accepted(nullptr, 0));
  bool more_are_due = turn->retries_due && queue_due_calls(&turn->pending);
  if (turn->retries_due || turn->cancels_due || batch.result_count > 0)
    turn->waits_ended = send_waiting_calls(&turn->pending);
  if (batch.result_count > 0 || has_new_calls(&turn->pending)) turn->runs_unbound = cron_runs_unbound();
  turn->settings = turn->worker->process_settings;
  apply_stored_worker_settings(&turn->settings);
  if (turn->read_ledger) read_ledger(turn);
  if (turn->retries_due || batch.has_retries) find_next_attempt(turn, more_are_due);
  read_policies(turn);
  read_roles(turn);
}

// If a database is disarmed or cut off, nothing is sent, but results are still recorded.
void only_record(Turn* turn) {
  Batch batch;
  collect_batch(turn, &batch);
  write_batch(turn, &batch);
  if (turn->cancels_due) cancel_calls(turn);
  turn->only_recorded = true;
}

void drop_waiting_calls(Turn* turn) {
  CppFailure failure;
  if (!run_cpp(&failure, [turn] { turn->worker->dispatcher->drop_waiting(); })) raise(&failure);
}

// Postgres does not let code that runs with somebody else's rights leave a deferred trigger behind, because the trigger
// would fire later, outside. So all triggers fire at the end of their statement.
void fire_deferred_triggers_at_once() {
  ConstraintsSetStmt* statement = makeNode(ConstraintsSetStmt);
  statement->constraints = NIL;  // all
  statement->deferred = false;
  AfterTriggerSetState(statement);
}

// Whether a user's change of a table may be the cause of the ERROR: bad data, a constraint, a type, a trigger's own
// error.
bool may_come_from_altered_table(int sqlstate) {
  for (int category :
       {ERRCODE_DATA_EXCEPTION, ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION, ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
        ERRCODE_FEATURE_NOT_SUPPORTED, ERRCODE_PLPGSQL_ERROR, ERRCODE_WITH_CHECK_OPTION_VIOLATION,
        ERRCODE_TRIGGERED_ACTION_EXCEPTION, ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE})
    if (ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TO_CATEGORY(category)) return sqlstate != ERRCODE_LOCK_NOT_AVAILABLE;
  return false;
}

// In the given context; NULL: nothing was altered.
char* read_table_changes(MemoryContext context) {
  begin_worker_transaction();
  LedgerAccess access;
  open_ledger(&access);
  char* changes = nullptr;
  if (access.status == LedgerStatus::kReady)
    as_owner(access.extension.owner, [context, &changes] {
      SPI_execute("SELECT pg_catalog.string_agg(what, '; ') FROM wee5_cron.table_changes()", true, 1);
      const char* found = SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : nullptr;
      if (found != nullptr) changes = MemoryContextStrdup(context, found);
    });
  commit_worker_transaction();
  return changes;
}

// What users have altered on the extension's tables; NULL: nothing, or it cannot be read.
char* table_changes(Worker* worker) {
  char* volatile changes = nullptr;
  PG_TRY();
  { changes = read_table_changes(worker->turn_context); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(worker->turn_context);
    FlushErrorState();
    AbortCurrentTransaction();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(worker->turn_context);
  return changes;
}

}  // namespace

void begin_worker_transaction() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  // The commit waits neither for the disk nor for a standby, because a worker that waits cannot serve the network. A
  // turn flushes by itself, once the next requests are in flight.
  set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
  PushActiveSnapshot(GetTransactionSnapshot());
  fire_deferred_triggers_at_once();
}

void commit_worker_transaction() {
  PopActiveSnapshot();
  CommitTransactionCommand();
}

namespace {

// Not by the cache: a transaction that renames the schema wakes the worker before it invalidates what others have
// cached, and nothing would wake the worker again.
bool own_schema_exists() {
  NameData name;
  namestrcpy(&name, "wee5_cron");
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_namespace_nspname, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
  Relation namespaces = table_open(NamespaceRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(namespaces, NamespaceNameIndexId, true, nullptr, 1, &key);
  bool exists = HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  table_close(namespaces, AccessShareLock);
  return exists;
}

}  // namespace

void open_ledger(LedgerAccess* access) {
  memset(access, 0, sizeof(*access));
  access->disarmed_reason = "";
  find_extension("wee5_cron", &access->extension);
  access->status = LedgerStatus::kAbsent;
  if (!OidIsValid(access->extension.oid)) return;
  if (!own_schema_exists()) {
    access->status = LedgerStatus::kDisarmed;
    access->renamed = true;
    access->disarmed_reason = explain_permit(CallPermit::kRenamed);
    return;
  }
  access->status = LedgerStatus::kIncompatible;
  if (find_sql_version(access->extension.version) == nullptr) return;
  access->status = lock_ledger(access->extension.oid);
  if (access->status != LedgerStatus::kReady) return;
  // Again: ALTER EXTENSION ... UPDATE, which locks the ledger, may have ended just before.
  find_extension("wee5_cron", &access->extension);
  SqlVersion* sql = find_sql_version(access->extension.version);
  if (sql == nullptr) {
    access->status = LedgerStatus::kIncompatible;
    return;
  }
  database_sql = sql;
  CallPermit permit = call_permit();
  access->disarmed_reason = explain_permit(permit);
  access->subscriber = permit == CallPermit::kSubscriber;
  access->renamed = permit == CallPermit::kRenamed;
  if (permit != CallPermit::kGranted) access->status = LedgerStatus::kDisarmed;
}

void run_turn_transaction(Turn* turn) {
  forget_ended_calls();
  bool cut_off = is_cut_off(turn->worker);
  begin_worker_transaction();
  // Before anything is read: a transaction that ends meanwhile counts as later.
  turn->settings_valid_until = transactions_ended();
  LedgerAccess access;
  open_ledger(&access);
  turn->status = access.status;
  turn->disarmed_reason = access.disarmed_reason;
  forget_former_ledger(turn, access.extension.oid);
  Oid owner = access.extension.owner;
  if (turn->status == LedgerStatus::kReady && cut_off) turn->status = LedgerStatus::kCutOff;
  if (turn->status == LedgerStatus::kReady) as_owner(owner, [turn] { work_on_ledger(turn); });
  bool disarmed = turn->status == LedgerStatus::kDisarmed && !access.renamed;
  if (disarmed) drop_waiting_calls(turn);
  if (disarmed || turn->status == LedgerStatus::kCutOff) as_owner(owner, [turn] { only_record(turn); });
  if (access.subscriber) disarm_subscriber(&access.extension);
  if (TransactionIdIsValid(GetTopTransactionIdIfAny())) ++turn->settings_valid_until;  // this one
  commit_worker_transaction();
  announce_ended_calls();
}

void fix_session_settings() {
  struct Fixed {
    const char* name;
    const char* value;
  };
  static const Fixed settings[] = {{"search_path", "pg_catalog, pg_temp"},
                                   {"statement_timeout", "0"},
                                   // The worker cannot serve the network while it waits for a lock. It tries again.
                                   {"lock_timeout", "100ms"},
                                   {"transaction_timeout", "0"},
                                   {"idle_in_transaction_session_timeout", "0"},
                                   // If the worker ended with an error, the next one would send its calls again.
                                   {"exit_on_error", "off"},
                                   {"default_transaction_isolation", "read committed"},
                                   {"default_transaction_read_only", "off"},
                                   {"default_transaction_deferrable", "off"},
                                   {"row_security", "off"},
                                   {"session_replication_role", "origin"},
                                   // The statements are index look-ups whatever the statistics say.
                                   {"enable_seqscan", "off"},
                                   {"enable_indexscan", "on"},
                                   {"enable_indexonlyscan", "on"},
                                   {"enable_bitmapscan", "on"},
                                   {"enable_nestloop", "on"},
                                   {"enable_hashjoin", "off"},
                                   {"enable_mergejoin", "off"},
                                   // Rows that are wanted in an order come from the index that has this order.
                                   {"enable_sort", "off"},
                                   {"jit", "off"},
                                   // The processes of a parallel query would be taken from other databases' workers.
                                   {"max_parallel_workers_per_gather", "0"},
                                   // What is set for users' queries must not make a task of the worker fail.
                                   {"temp_file_limit", "-1"}};
  for (const Fixed& setting : settings)
    if (GetConfigOption(setting.name, true, false) != nullptr)  // not every version has all of them
      SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
}

bool extension_is_absent() {
  begin_worker_transaction();
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  commit_worker_transaction();
  return !OidIsValid(extension.oid);
}

char* roll_back(Worker* worker) {
  MemoryContextSwitchTo(worker->turn_context);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortCurrentTransaction();
  MemoryContextSwitchTo(worker->turn_context);
  const char* changes = may_come_from_altered_table(error->sqlerrcode) ? table_changes(worker) : nullptr;
  bool is_said = changes == nullptr || strstr(changes, error->message) != nullptr;
  return is_said ? error->message : psprintf("%s (altered: %s)", error->message, changes);
}

void log_failure(const char* purpose, const char* message) {
  ereport(LOG, (errmsg("wee5_cron worker cannot %s: %s", purpose, message),
                errdetail("Nothing is lost. The worker tries again until it works.")));
}

}  // namespace wee5::pg
