#include "wee5_cron/pg/ledger/record_results.h"

// Postgres's headers last.
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/ledger/table_writer.h"

namespace wee5::pg {

namespace {

constexpr int kAttemptsAtOnce = 64;

constexpr InvocationColumn kChanged[] = {
    kInvocationStatus,        kInvocationReason,           kInvocationError,    kInvocationHint,
    kInvocationHttpStatus,    kInvocationAttempts,         kInvocationUrl,      kInvocationFirstSentAt,
    kInvocationNextAttemptAt, kInvocationFinishedAt,       kInvocationDuration, kInvocationResponseContentType,
    kInvocationResponseBody,  kInvocationResponseTruncated};

struct Writer {
  LedgerTable ledger;
  TableWriter invocations;
  IndexScanDesc by_id;
  Relation key;
  TupleTableSlot* found;
  TupleTableSlot* changed;
  TableWriter attempts;
  AttrNumber attempt[kAttemptColumns];
  TupleTableSlot* attempt_rows[kAttemptsAtOnce];
  int attempt_count;
  MemoryContext context;      // of the scan, which allocates at its first use
  MemoryContext row_context;  // of rows that are not written yet
};

// One row's new values.
struct Values {
  Datum* values;
  bool* nulls;
  bool* replaced;  // NULL for a new row
};

void put(Values* row, AttrNumber number, Datum value, bool present) {
  int at = number - 1;
  row->values[at] = present ? value : 0;
  row->nulls[at] = !present;
  if (row->replaced != nullptr) row->replaced[at] = true;
}
void put(Values* row, AttrNumber number, const BoundResult* bound, ResultValue value) {
  put(row, number, bound->values[value], !bound->nulls[value]);
}

Datum duration_of(TimestampTz from, TimestampTz until) {
  return DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(until), TimestampTzGetDatum(from));
}

void set_invocation(Writer* writer, const BoundResult* bound, Values* row) {
  const AttrNumber* column = writer->ledger.invocation;
  bool ended = bound->nulls[kResultNextAttemptAt];
  bool never_sent;
  Datum first_sent = slot_getattr(writer->found, column[kInvocationFirstSentAt], &never_sent);
  if (never_sent) first_sent = bound->values[kResultStartedAt];
  bool sent = !never_sent || !bound->nulls[kResultStartedAt];
  Datum finished = bound->values[kResultFinishedAt];
  put(row, column[kInvocationStatus], bound, kResultStatus);
  put(row, column[kInvocationAttempts], bound, kResultAttempt);
  put(row, column[kInvocationNextAttemptAt], bound, kResultNextAttemptAt);
  put(row, column[kInvocationFinishedAt], finished, ended);
  put(row, column[kInvocationDuration],
      sent && ended ? duration_of(DatumGetTimestampTz(first_sent), DatumGetTimestampTz(finished)) : 0, sent && ended);
  if (DatumGetBool(bound->values[kResultKeepLastOutcome])) return;
  put(row, column[kInvocationReason], bound, kResultReason);
  put(row, column[kInvocationError], bound, kResultError);
  put(row, column[kInvocationHint], bound, kResultHint);
  put(row, column[kInvocationHttpStatus], bound, kResultHttpStatus);
  if (!bound->nulls[kResultUrl]) put(row, column[kInvocationUrl], bound, kResultUrl);
  put(row, column[kInvocationFirstSentAt], first_sent, sent);
  put(row, column[kInvocationResponseContentType], bound, kResultContentType);
  put(row, column[kInvocationResponseBody], bound, kResultBody);
  put(row, column[kInvocationResponseTruncated], bound, kResultTruncated);
}

enum class Recorded { kDone, kGone, kLeft };

bool find_row(Writer* writer, int64 id) {
  ScanKeyData key;
  ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
  MemoryContext old = MemoryContextSwitchTo(writer->context);
  index_rescan(writer->by_id, &key, 1, nullptr, 0);
  bool found = index_getnext_slot(writer->by_id, ForwardScanDirection, writer->found);
  MemoryContextSwitchTo(old);
  return found;
}

// Also fills in `bound` if the row is there.
Recorded record_invocation(Writer* writer, const delivery::Result* result, BoundResult* bound) {
  if (!find_row(writer, result->id)) return Recorded::kGone;
  bool is_null;
  slot_getattr(writer->found, writer->ledger.invocation[kInvocationFinishedAt], &is_null);
  if (!is_null) return Recorded::kGone;
  TupleDesc descriptor = RelationGetDescr(writer->ledger.invocation_relation);
  Size columns = static_cast<Size>(descriptor->natts);
  Values row;
  row.values = static_cast<Datum*>(palloc0(sizeof(Datum) * columns));
  row.nulls = static_cast<bool*>(palloc0(sizeof(bool) * columns));
  row.replaced = static_cast<bool*>(palloc0(sizeof(bool) * columns));
  bind_result(result, bound);
  set_invocation(writer, bound, &row);
  bool should_free;
  HeapTuple old = ExecFetchSlotHeapTuple(writer->found, false, &should_free);
  HeapTuple fresh = heap_modify_tuple(old, descriptor, row.values, row.nulls, row.replaced);
  ExecForceStoreHeapTuple(fresh, writer->changed, false);
  NewIndexEntries entries;
  if (!update_unless_locked(writer->ledger.invocation_relation, &writer->found->tts_tid, writer->changed,
                            GetActiveSnapshot(), &entries))
    return Recorded::kLeft;
  if (entries != NewIndexEntries::kNone) insert_index_entries(&writer->invocations, writer->changed, true, entries);
  return Recorded::kDone;
}

void flush_attempts(Writer* writer) {
  if (writer->attempt_count == 0) return;
  table_multi_insert(writer->attempts.relation, writer->attempt_rows, writer->attempt_count, GetCurrentCommandId(true),
                     0, nullptr);
  for (int i = 0; i < writer->attempt_count; ++i) {
    insert_index_entries(&writer->attempts, writer->attempt_rows[i], false, NewIndexEntries::kAll);
    ExecClearTuple(writer->attempt_rows[i]);
  }
  writer->attempt_count = 0;
  MemoryContextReset(writer->row_context);
}

void record_attempt(Writer* writer, const BoundResult* bound) {
  TupleTableSlot* slot = writer->attempt_rows[writer->attempt_count++];
  ExecClearTuple(slot);
  // Columns that a user added stay NULL. If one has a default, the statement writes the row.
  memset(slot->tts_isnull, true, sizeof(bool) * static_cast<Size>(slot->tts_tupleDescriptor->natts));
  Values row = {slot->tts_values, slot->tts_isnull, nullptr};
  const AttrNumber* column = writer->attempt;
  put(&row, column[kAttemptInvocationId], bound, kResultId);
  put(&row, column[kAttemptAttempt], bound, kResultAttempt);
  put(&row, column[kAttemptStartedAt], bound, kResultStartedAt);
  put(&row, column[kAttemptFinishedAt], bound, kResultFinishedAt);
  put(&row, column[kAttemptHttpStatus], bound, kResultHttpStatus);
  put(&row, column[kAttemptReason], bound, kResultReason);
  put(&row, column[kAttemptError], bound, kResultError);
  put(&row, column[kAttemptDnsMs], bound, kResultDnsMs);
  put(&row, column[kAttemptConnectMs], bound, kResultConnectMs);
  put(&row, column[kAttemptTlsMs], bound, kResultTlsMs);
  put(&row, column[kAttemptFirstByteMs], bound, kResultFirstByteMs);
  put(&row, column[kAttemptTotalMs], bound, kResultTotalMs);
  ExecStoreVirtualTuple(slot);
}

bool find_changed(Writer* writer, AttrNumber* changed) {
  TupleDesc descriptor = RelationGetDescr(writer->ledger.invocation_relation);
  for (Size i = 0; i < lengthof(kChanged); ++i) {
    changed[i] = writable_column(descriptor, &kInvocationLayout.columns[kChanged[i]]);
    if (changed[i] == InvalidAttrNumber) return false;
    writer->ledger.invocation[kChanged[i]] = changed[i];
  }
  return true;
}

// False if a column is not as the extension made it, or if a user's own column needs a value that only a statement
// gives.
bool find_attempt_columns(TupleDesc descriptor, AttrNumber* columns) {
  for (int i = 0; i < kAttemptColumns; ++i) {
    columns[i] = writable_column(descriptor, &kAttemptLayout.columns[i]);
    if (columns[i] == InvalidAttrNumber) return false;
  }
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    bool ours = false;
    for (int j = 0; j < kAttemptColumns; ++j) ours = ours || columns[j] == attribute->attnum;
    if (!ours && (attribute->attnotnull || attribute->atthasdef || attribute->attidentity != '\0' ||
                  get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN))
      return false;
  }
  return true;
}

void begin(Writer* writer, Relation attempts, const AttrNumber* changed) {
  Relation invocations = writer->ledger.invocation_relation;
  // The executor makes this check before it updates a published table.
  CheckCmdReplicaIdentity(invocations, CMD_UPDATE);
  begin_writing(&writer->invocations, invocations, changed, lengthof(kChanged));
  writer->key = index_open(writer->ledger.invocation_key, AccessShareLock);
  writer->by_id = begin_index_scan(invocations, writer->key, GetActiveSnapshot(), 1);
  writer->found = table_slot_create(invocations, nullptr);
  writer->changed = MakeSingleTupleTableSlot(RelationGetDescr(invocations), &TTSOpsHeapTuple);
  begin_writing(&writer->attempts, attempts, nullptr, 0);
  for (TupleTableSlot*& slot : writer->attempt_rows)
    slot = MakeSingleTupleTableSlot(RelationGetDescr(attempts), &TTSOpsVirtual);
  writer->context = CurrentMemoryContext;
  writer->row_context = AllocSetContextCreate(CurrentMemoryContext, "wee5_cron result", ALLOCSET_DEFAULT_SIZES);
}

void end(Writer* writer) {
  ExecDropSingleTupleTableSlot(writer->found);
  ExecDropSingleTupleTableSlot(writer->changed);
  for (TupleTableSlot* slot : writer->attempt_rows) ExecDropSingleTupleTableSlot(slot);
  index_endscan(writer->by_id);
  index_close(writer->key, AccessShareLock);
  end_writing(&writer->invocations);
  end_writing(&writer->attempts);
  MemoryContextDelete(writer->row_context);
}

}  // namespace

bool record_directly(const delivery::Result* results, int count, bool* left) {
  Writer* writer = static_cast<Writer*>(palloc0(sizeof(Writer)));
  open_ledger_table(&writer->ledger);
  Oid attempt_oid = get_relname_relid(kAttemptLayout.name, get_namespace_oid("wee5_cron", false));
  Relation attempts = table_open(attempt_oid, RowExclusiveLock);
  AttrNumber changed[lengthof(kChanged)];
  bool usual = find_changed(writer, changed) && find_attempt_columns(RelationGetDescr(attempts), writer->attempt) &&
               can_write_directly(writer->ledger.invocation_relation, &kInvocationLayout, ACL_SELECT | ACL_UPDATE) &&
               can_write_directly(attempts, &kAttemptLayout, ACL_INSERT);
  if (usual) {
    begin(writer, attempts, changed);
    MemoryContext old = MemoryContextSwitchTo(writer->row_context);
    for (int i = 0; i < count; ++i) {
      BoundResult bound;
      Recorded recorded = record_invocation(writer, &results[i], &bound);
      left[i] = recorded == Recorded::kLeft;
      if (recorded == Recorded::kDone && !bound.nulls[kResultStartedAt]) record_attempt(writer, &bound);
      if (writer->attempt_count == kAttemptsAtOnce) flush_attempts(writer);
    }
    flush_attempts(writer);
    MemoryContextSwitchTo(old);
    end(writer);
    CommandCounterIncrement();
  }
  table_close(attempts, NoLock);
  close_ledger_table(&writer->ledger);
  return usual;
}

}  // namespace wee5::pg
