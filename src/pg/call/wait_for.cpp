// wee5_cron.wait_for(): waits until a call has ended. And what wee5_cron.run(), which waits by it, has to know before.

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/ledger/ended_calls.h"
#include "wee5_cron/pg/ledger/ledger.h"
#include "wee5_cron/pg/ledger/ledger_table.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

// How long to wait at most before looking again. The worker signals the calls that it ends; a harvest in another
// session, a user's UPDATE, or a server without our library preloaded does not. Neither does the primary of a standby.
constexpr long kLookAgainMs = 1'000;
constexpr long kLookAgainUnsignalledMs = 100;

enum class Seen { kNothing, kOwnTransaction, kUnfinished, kFinished };

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

// EXECUTE alone lets a role wait for any call. What was said in it is for whose call it is, namely session_user's, as
// whom calls are made, and for who may read the ledger, also by another role that the session has set.
bool may_see_content(Relation relation, HeapTuple tuple) {
  Oid table = RelationGetRelid(relation);
  AttrNumber maker_column = readable_column(relation, &kInvocationLayout, kInvocationRequestedBy);
  bool is_null = true;
  Datum maker = heap_getattr(tuple, maker_column, RelationGetDescr(relation), &is_null);
  if (!is_null && strcmp(NameStr(*DatumGetName(maker)), GetUserNameFromId(GetSessionUserId(), false)) == 0) return true;
  return pg_class_aclcheck(table, GetSessionUserId(), ACL_SELECT) == ACLCHECK_OK ||
         pg_class_aclcheck(table, GetOuterUserId(), ACL_SELECT) == ACLCHECK_OK;
}

// The row as a composite datum; without what was sent and answered where the caller may not see that.
Datum copy_row(Relation relation, HeapTuple tuple) {
  TupleDesc descriptor = RelationGetDescr(relation);
  if (may_see_content(relation, tuple)) return heap_copy_tuple_as_datum(tuple, descriptor);
  Size columns = static_cast<Size>(descriptor->natts);
  Datum* values = static_cast<Datum*>(palloc(sizeof(Datum) * columns));
  bool* nulls = static_cast<bool*>(palloc(sizeof(bool) * columns));
  heap_deform_tuple(tuple, descriptor, values, nulls);
  for (const char* name : {"headers", "body", "response_body"}) {
    AttrNumber number = get_attnum(RelationGetRelid(relation), name);
    if (number != InvalidAttrNumber) nulls[number - 1] = true;
  }
  return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

// Looks at the row as it is committed now, whatever the isolation level. *row: its copy, in the context `copies`, where
// the call has ended or this is the last look. A row may be large, so it is copied once and not at each look.
Seen look(Relation relation, int64 id, bool last, MemoryContext copies, Datum* row) {
  AttrNumber finished_column = readable_column(relation, &kInvocationLayout, kInvocationFinishedAt);
  Seen seen = Seen::kNothing;
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan;
  HeapTuple tuple = find_row(relation, snapshot, id, &scan);
  if (HeapTupleIsValid(tuple)) {
    bool unfinished;
    heap_getattr(tuple, finished_column, RelationGetDescr(relation), &unfinished);
    seen = unfinished ? Seen::kUnfinished : Seen::kFinished;
  }
  // An unfinished row of our own will not be sent before we commit: waiting would be for ever.
  if (seen != Seen::kFinished && written_by_own_transaction(relation, id))
    seen = Seen::kOwnTransaction;
  else if (seen == Seen::kFinished || (seen == Seen::kUnfinished && last)) {
    MemoryContext old = MemoryContextSwitchTo(copies);
    *row = copy_row(relation, tuple);
    MemoryContextSwitchTo(old);
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  return seen;
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
           errmsg("call " INT64_FORMAT " was made by the current transaction, and is sent when that commits", id),
           errhint("Commit first, then wait: SELECT wee5_cron.wait_for(" INT64_FORMAT ");", id)));
  pg_unreachable();
}

[[noreturn]] void raise_unknown(int64 id) {
  ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("there is no call " INT64_FORMAT " in wee5_cron.invocation", id),
                  errhint("Ids are returned by invoke_cron_endpoint(), and are known to others when its transaction "
                          "has committed; finished calls are removed after a while.")));
  pg_unreachable();
}

Relation open_ledger() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  Oid table = relation_of_extension("wee5_cron", "invocation", extension.oid);
  // Between the look and the lock a DROP EXTENSION may have ended.
  Relation relation = OidIsValid(table) ? try_relation_open(table, AccessShareLock) : nullptr;
  if (relation == nullptr)
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the extension wee5_cron is not installed in this database"),
             errhint("CREATE EXTENSION wee5_cron;")));
  return relation;
}

// Now plus the timeout. What lies beyond the calendar, infinity among it, is for ever: timestamptz's own + would raise.
TimestampTz deadline_after(const Interval* timeout) {
  TimestampTz now = GetCurrentTimestamp();
  double days = static_cast<double>(timeout->month) * DAYS_PER_MONTH + timeout->day;
  double microseconds = days * static_cast<double>(USECS_PER_DAY) + static_cast<double>(timeout->time);
  if (microseconds <= 0) return now;
  if (microseconds >= static_cast<double>(END_TIMESTAMP - now)) return DT_NOEND;
  return now + static_cast<int64>(microseconds);
}

// One look; true when *row is what to return.
bool look_once(int64 id, bool last, MemoryContext copies, Datum* row) {
  Relation relation = open_ledger();
  Seen seen = look(relation, id, last, copies, row);
  // Not kept while waiting: DROP EXTENSION and TRUNCATE shall not wait for us longer than a look takes.
  table_close(relation, AccessShareLock);
  if (seen == Seen::kNothing) raise_unknown(id);
  if (seen == Seen::kOwnTransaction) raise_own_transaction(id);
  return last || seen == Seen::kFinished;
}

Datum wait_until_finished(int64 id, TimestampTz deadline) {
  // What a look allocates goes with it: there may be a million of them.
  MemoryContext copies = CurrentMemoryContext;
  MemoryContext looks = AllocSetContextCreate(copies, "wee5_cron wait_for", ALLOCSET_SMALL_SIZES);
  MemoryContextSwitchTo(looks);
  ConditionVariable* ended = ended_call_variable(id);
  Datum row = 0;
  for (;;) {
    // Before the look: what ends from now on is signalled, and seen by the next one.
    if (ended != nullptr) ConditionVariablePrepareToSleep(ended);
    if (look_once(id, GetCurrentTimestamp() >= deadline, copies, &row)) break;
    book_on_pg_net(id);
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
                    errhint("Leave it out for one minute.")));
  int64 id = PG_GETARG_INT64(0);
  PG_RETURN_DATUM(wait_until_finished(id, deadline_after(PG_GETARG_INTERVAL_P(1))));
}

// wee5_cron.commit_is_possible() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_commit_is_possible) {
  (void)fcinfo;
  PG_RETURN_BOOL(commit_is_possible());
}

}  // namespace wee5::pg
