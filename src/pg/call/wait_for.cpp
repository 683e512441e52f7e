// wee5_cron.wait_for(), which waits until a call has ended, and a check for wee5_cron.run(), which uses it.

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/call/pg_net_handover.h"
#include "wee5_cron/pg/ledger/armed.h"
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/registry/ended_calls.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

// The longest wait before another look at the row. The worker signals the calls that it ends. Nothing signals the end
// of a call by a harvest in another session, by a user's UPDATE, on a server that did not preload our library, or on
// the primary of a standby.
constexpr long kLookAgainMs = 1'000;
constexpr long kLookAgainUnsignalledMs = 100;

// After this long a call that is on the wire is marked in the ledger as `sending`.
constexpr TimestampTz kMarkedAfterUs = 500'000;

enum class Seen {
  kNothing,
  kOwnTransaction,
  kUnsent,  // queued, or waiting for a retry
  kSent,    // on the wire, or with pg_net
  kFinished
};

struct Look {
  Seen seen;
  int32 attempts;  // those that are recorded
};

HeapTuple find_row(Relation relation, Snapshot snapshot, int64 id, SysScanDesc* scan) {
  AttrNumber column = readable_column(relation, &kInvocationLayout, kInvocationId);
  Oid index = primary_key_on(relation, column);
  ScanKeyData key;
  ScanKeyInit(&key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
  *scan = systable_beginscan(relation, index, OidIsValid(index), snapshot, 1, &key);
  return systable_getnext(*scan);
}

bool written_by_own_transaction(Relation relation, int64 id) {
  SysScanDesc scan;
  HeapTuple tuple = find_row(relation, SnapshotSelf, id, &scan);
  bool own = HeapTupleIsValid(tuple) && TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(tuple->t_data));
  systable_endscan(scan);
  return own;
}

// EXECUTE alone lets a role wait for any call. Headers and bodies are shown only to the role that made the call, and to
// roles that may read the ledger: session_user, or the role that the session has set.
bool may_see_content(Relation relation, HeapTuple tuple) {
  Oid table = RelationGetRelid(relation);
  AttrNumber maker_column = readable_column(relation, &kInvocationLayout, kInvocationRequestedBy);
  bool is_null = true;
  Datum maker = heap_getattr(tuple, maker_column, RelationGetDescr(relation), &is_null);
  if (!is_null && strcmp(NameStr(*DatumGetName(maker)), GetUserNameFromId(GetSessionUserId(), false)) == 0) return true;
  return pg_class_aclcheck(table, GetSessionUserId(), ACL_SELECT) == ACLCHECK_OK ||
         pg_class_aclcheck(table, GetOuterUserId(), ACL_SELECT) == ACLCHECK_OK;
}

// The row as a composite datum, without headers and bodies if the caller may not see them.
Datum copy_row(Relation relation, HeapTuple tuple) {
  TupleDesc descriptor = RelationGetDescr(relation);
  if (may_see_content(relation, tuple)) return heap_copy_tuple_as_datum(tuple, descriptor);
  Size columns = static_cast<Size>(descriptor->natts);
  Datum* values = static_cast<Datum*>(palloc(sizeof(Datum) * columns));
  bool* nulls = static_cast<bool*>(palloc(sizeof(bool) * columns));
  heap_deform_tuple(tuple, descriptor, values, nulls);
  for (const char* name : {"headers", "body", "response_body", "idempotency_key", "key"}) {
    AttrNumber number = get_attnum(RelationGetRelid(relation), name);
    if (number != InvalidAttrNumber) nulls[number - 1] = true;
  }
  return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

bool text_is(Relation relation, HeapTuple tuple, InvocationColumn column, const char* expected) {
  bool is_null;
  Datum value =
      heap_getattr(tuple, readable_column(relation, &kInvocationLayout, column), RelationGetDescr(relation), &is_null);
  return !is_null && strcmp(TextDatumGetCString(value), expected) == 0;
}

Seen state_of_row(Relation relation, HeapTuple tuple) {
  auto is_null = [relation, tuple](InvocationColumn column) {
    return heap_attisnull(tuple, readable_column(relation, &kInvocationLayout, column), RelationGetDescr(relation));
  };
  if (!is_null(kInvocationFinishedAt)) return Seen::kFinished;
  bool with_pg_net = text_is(relation, tuple, kInvocationTransport, "pg_net") && is_null(kInvocationNextAttemptAt);
  return with_pg_net || text_is(relation, tuple, kInvocationStatus, "sending") ? Seen::kSent : Seen::kUnsent;
}

int32 attempts_of_row(Relation relation, HeapTuple tuple) {
  AttrNumber column = readable_column(relation, &kInvocationLayout, kInvocationAttempts);
  bool is_null;
  Datum value = heap_getattr(tuple, column, RelationGetDescr(relation), &is_null);
  return is_null ? 0 : DatumGetInt32(value);
}

// Looks at the row as it is committed now, whatever the isolation level. If the call has ended, or this is the last
// look, *row becomes a copy of it in the context `copies`. A row may be large, so it is copied only once.
Look look(Relation relation, int64 id, bool last, MemoryContext copies, Datum* row) {
  Look result = {Seen::kNothing, 0};
  Seen& seen = result.seen;
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan;
  HeapTuple tuple = find_row(relation, snapshot, id, &scan);
  if (HeapTupleIsValid(tuple)) result = {state_of_row(relation, tuple), attempts_of_row(relation, tuple)};
  // An unfinished call of our own is not sent before we commit, so the wait would never end.
  if (seen != Seen::kFinished && written_by_own_transaction(relation, id))
    seen = Seen::kOwnTransaction;
  else if (seen == Seen::kFinished || (seen != Seen::kNothing && last)) {
    MemoryContext old = MemoryContextSwitchTo(copies);
    *row = copy_row(relation, tuple);
    MemoryContextSwitchTo(old);
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  return result;
}

void wait_for_change(ConditionVariable* ended, TimestampTz deadline) {
  long left_ms = static_cast<long>((deadline - GetCurrentTimestamp()) / 1000 + 1);
  if (ended != nullptr && !RecoveryInProgress()) {
    ConditionVariableTimedSleep(ended, Max(1, Min(kLookAgainMs, left_ms)), wait_event("Wee5CronWaitFor"));
  } else {
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(0, Min(kLookAgainUnsignalledMs, left_ms)),
              wait_event("Wee5CronWaitFor"));
    ResetLatch(MyLatch);
  }
  CHECK_FOR_INTERRUPTS();
}

[[noreturn]] void raise_own_transaction(int64 id) {
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("call " INT64_FORMAT " was made by the current transaction and is not sent before that commits", id),
           errhint("Commit first, then wait: SELECT wee5_cron.wait_for(" INT64_FORMAT ");", id)));
  pg_unreachable();
}

[[noreturn]] void raise_unknown(int64 id) {
  ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("there is no call " INT64_FORMAT " in wee5_cron.invocation", id),
                  errhint("Give the id that invoke_cron_endpoint() returned. Other sessions see the call when its "
                          "transaction has committed. Finished calls are deleted after a while.")));
  pg_unreachable();
}

Relation open_ledger() {
  Oid table = own_table("invocation");
  // A DROP EXTENSION may have committed between the look-up and the lock.
  Relation relation = OidIsValid(table) ? try_relation_open(table, AccessShareLock) : nullptr;
  if (relation == nullptr)
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the extension wee5_cron is not installed in this database"),
             errhint("CREATE EXTENSION wee5_cron;")));
  return relation;
}

// Now plus the timeout. A moment beyond the calendar, and infinity, means for ever; timestamptz's own + would raise.
TimestampTz deadline_after(const Interval* timeout) {
  TimestampTz now = GetCurrentTimestamp();
  double microseconds = microseconds_of(timeout);
  if (microseconds <= 0) return now;
  if (microseconds >= static_cast<double>(END_TIMESTAMP - now)) return DT_NOEND;
  return now + static_cast<int64>(microseconds);
}

Look look_once(int64 id, bool last, MemoryContext copies, Datum* row) {
  Relation relation = open_ledger();
  Look result = look(relation, id, last, copies, row);
  // The lock is not kept during the wait: DROP EXTENSION and TRUNCATE need it.
  table_close(relation, AccessShareLock);
  if (result.seen == Seen::kNothing) raise_unknown(id);
  if (result.seen == Seen::kOwnTransaction) raise_own_transaction(id);
  return result;
}

Datum wait_until_finished(int64 id, TimestampTz deadline) {
  // There may be a million looks, so each frees what it allocates.
  MemoryContext copies = CurrentMemoryContext;
  MemoryContext looks = AllocSetContextCreate(copies, "wee5_cron wait_for", ALLOCSET_SMALL_SIZES);
  MemoryContextSwitchTo(looks);
  ConditionVariable* ended = ended_call_variable(id);
  TimestampTz begun = GetCurrentTimestamp();
  int32 left_to_harvest = -1;  // attempts of the call when its answer did not end it
  Datum row = 0;
  for (;;) {
    // Before the look: a call that ends from now on is signalled, and the next look sees it.
    if (ended != nullptr) ConditionVariablePrepareToSleep(ended);
    TimestampTz now = GetCurrentTimestamp();
    Look look = look_once(id, now >= deadline, copies, &row);
    if (look.seen == Seen::kUnsent && now - begun >= kMarkedAfterUs) require_sender();
    if (now >= deadline || look.seen == Seen::kFinished) break;
    if (look.attempts > left_to_harvest && !record_end_on_pg_net(id)) left_to_harvest = look.attempts;
    wait_for_change(ended, deadline);
    MemoryContextReset(looks);
  }
  ConditionVariableCancelSleep();
  MemoryContextSwitchTo(copies);
  MemoryContextDelete(looks);
  return row;
}

}  // namespace

// wee5_cron.wait_for(id bigint, timeout interval) -> wee5_cron.invocation
WEE5_SQL_FUNCTION(wee5_cron_wait_for) {
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("id must not be NULL"),
                    errhint("Give the id that invoke_cron_endpoint() returned.")));
  if (PG_ARGISNULL(1))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("timeout must not be NULL"),
                    errhint("Leave it out to wait for one minute.")));
  int64 id = PG_GETARG_INT64(0);
  PG_RETURN_DATUM(wait_until_finished(id, deadline_after(PG_GETARG_INTERVAL_P(1))));
}

// wee5_cron.commit_is_possible(commit_error text) -> boolean. It needs no commit_error, which 0.1.0 does not pass.
WEE5_SQL_FUNCTION(wee5_cron_commit_is_possible) {
  (void)fcinfo;
  PG_RETURN_BOOL(commit_is_possible());
}

}  // namespace wee5::pg
