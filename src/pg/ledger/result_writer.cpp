// Booking results without a statement: a third of its cost.

#include "wee5_cron/pg/ledger/result_writer.h"

#include <string>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/ledger/ledger_table.h"
#include "wee5_cron/pg/ledger/table_writer.h"

namespace wee5::pg {

namespace {

constexpr int kAttemptsAtOnce = 64;

constexpr InvocationColumn kChanged[] = {
    kInvocationStatus,        kInvocationReason,           kInvocationError,    kInvocationHint,
    kInvocationHttpStatus,    kInvocationAttempts,         kInvocationUrl,      kInvocationFirstSentAt,
    kInvocationNextAttemptAt, kInvocationFinishedAt,       kInvocationDuration, kInvocationResponseContentType,
    kInvocationResponseBody,  kInvocationResponseTruncated};

TimestampTz timestamp_of_unix_us(int64 unix_us) {
  return unix_us - static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

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
  MemoryContext context;      // of all of this: a scan allocates when it is first used, for as long as it lives
  MemoryContext row_context;  // of the rows that are not written yet
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
Datum text_datum(const std::string* utf8) { return utf8->empty() ? 0 : CStringGetTextDatum(from_utf8(utf8->c_str())); }
void put_text(Values* row, AttrNumber number, const std::string* utf8) {
  put(row, number, text_datum(utf8), !utf8->empty());
}
void put_ms(Values* row, AttrNumber number, float ms) { put(row, number, Float4GetDatum(ms), ms >= 0); }

Datum duration_of(TimestampTz from, TimestampTz until) {
  return DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(until), TimestampTzGetDatum(from));
}

void set_invocation(Writer* writer, const delivery::Result* result, Values* row) {
  const AttrNumber* column = writer->ledger.invocation;
  const core::Explanation* outcome = &result->outcome;
  const char* reason = core::reason_name(outcome->reason);
  bool again = is_made_again(result);
  bool begun = result->started_us > 0;
  bool never_sent;
  Datum first_sent = slot_getattr(writer->found, column[kInvocationFirstSentAt], &never_sent);
  if (never_sent && begun) first_sent = TimestampTzGetDatum(timestamp_of_unix_us(result->started_us));
  bool sent = !never_sent || begun;
  TimestampTz finished = timestamp_of_unix_us(result->finished_us);
  put(row, column[kInvocationStatus], CStringGetTextDatum(status_of(result)), true);
  put(row, column[kInvocationAttempts], Int32GetDatum(result->attempt), true);
  put(row, column[kInvocationNextAttemptAt], TimestampTzGetDatum(timestamp_of_unix_us(result->retry_at_us)), again);
  put(row, column[kInvocationFinishedAt], TimestampTzGetDatum(finished), !again);
  put(row, column[kInvocationDuration], sent && !again ? duration_of(DatumGetTimestampTz(first_sent), finished) : 0,
      sent && !again);
  if (result->as_before) return;
  put(row, column[kInvocationReason], reason[0] != '\0' ? CStringGetTextDatum(reason) : 0, reason[0] != '\0');
  put_text(row, column[kInvocationError], &outcome->error);
  put_text(row, column[kInvocationHint], &outcome->hint);
  put(row, column[kInvocationHttpStatus], Int32GetDatum(result->http_status), result->http_status != 0);
  if (!result->url.empty()) put_text(row, column[kInvocationUrl], &result->url);
  put(row, column[kInvocationFirstSentAt], first_sent, sent);
  put_text(row, column[kInvocationResponseContentType], &result->response_content_type);
  // An answer without a body has an empty one; without an answer there is none.
  put(row, column[kInvocationResponseBody],
      result->http_status != 0 ? CStringGetTextDatum(from_utf8(result->response_body.c_str())) : 0,
      result->http_status != 0);
  put(row, column[kInvocationResponseTruncated], BoolGetDatum(result->response_truncated), true);
}

enum class Booked { kDone, kGone, kLeft };

bool find_row(Writer* writer, int64 id) {
  ScanKeyData key;
  ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
  MemoryContext old = MemoryContextSwitchTo(writer->context);
  index_rescan(writer->by_id, &key, 1, nullptr, 0);
  bool found = index_getnext_slot(writer->by_id, ForwardScanDirection, writer->found);
  MemoryContextSwitchTo(old);
  return found;
}

Booked book_invocation(Writer* writer, const delivery::Result* result) {
  if (!find_row(writer, result->id)) return Booked::kGone;
  bool is_null;
  slot_getattr(writer->found, writer->ledger.invocation[kInvocationFinishedAt], &is_null);
  if (!is_null) return Booked::kGone;
  TupleDesc descriptor = RelationGetDescr(writer->ledger.invocation_relation);
  Size columns = static_cast<Size>(descriptor->natts);
  Values row;
  row.values = static_cast<Datum*>(palloc0(sizeof(Datum) * columns));
  row.nulls = static_cast<bool*>(palloc0(sizeof(bool) * columns));
  row.replaced = static_cast<bool*>(palloc0(sizeof(bool) * columns));
  set_invocation(writer, result, &row);
  bool should_free;
  HeapTuple old = ExecFetchSlotHeapTuple(writer->found, false, &should_free);
  HeapTuple fresh = heap_modify_tuple(old, descriptor, row.values, row.nulls, row.replaced);
  ExecForceStoreHeapTuple(fresh, writer->changed, false);
  NewIndexEntries entries;
  if (!update_unless_locked(writer->ledger.invocation_relation, &writer->found->tts_tid, writer->changed,
                            GetActiveSnapshot(), &entries))
    return Booked::kLeft;
  if (entries != NewIndexEntries::kNone) insert_index_entries(&writer->invocations, writer->changed, true, entries);
  return Booked::kDone;
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

void book_attempt(Writer* writer, const delivery::Result* result) {
  TupleTableSlot* slot = writer->attempt_rows[writer->attempt_count++];
  ExecClearTuple(slot);
  // Columns that a user added stay NULL: one with a default is written by statement.
  memset(slot->tts_isnull, true, sizeof(bool) * static_cast<Size>(slot->tts_tupleDescriptor->natts));
  Values row = {slot->tts_values, slot->tts_isnull, nullptr};
  const AttrNumber* column = writer->attempt;
  const char* reason = core::reason_name(result->outcome.reason);
  const delivery::Timings* timings = &result->timings;
  put(&row, column[kAttemptInvocationId], Int64GetDatum(result->id), true);
  put(&row, column[kAttemptAttempt], Int32GetDatum(result->attempt), true);
  put(&row, column[kAttemptStartedAt], TimestampTzGetDatum(timestamp_of_unix_us(result->started_us)), true);
  put(&row, column[kAttemptFinishedAt], TimestampTzGetDatum(timestamp_of_unix_us(result->finished_us)), true);
  put(&row, column[kAttemptHttpStatus], Int32GetDatum(result->http_status), result->http_status != 0);
  put(&row, column[kAttemptReason], reason[0] != '\0' ? CStringGetTextDatum(reason) : 0, reason[0] != '\0');
  put_text(&row, column[kAttemptError], &result->outcome.error);
  put_ms(&row, column[kAttemptDnsMs], timings->dns_ms);
  put_ms(&row, column[kAttemptConnectMs], timings->connect_ms);
  put_ms(&row, column[kAttemptTlsMs], timings->tls_ms);
  put_ms(&row, column[kAttemptFirstByteMs], timings->first_byte_ms);
  put_ms(&row, column[kAttemptTotalMs], timings->total_ms);
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

// False where a column is not as the extension made it, or a user's own needs a value that only a statement gives it.
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
  // The executor asks so before it updates a table that is published.
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

bool write_results(const delivery::Result* results, int count, bool* left) {
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
      Booked booked = book_invocation(writer, &results[i]);
      left[i] = booked == Booked::kLeft;
      if (booked == Booked::kDone && results[i].started_us > 0) book_attempt(writer, &results[i]);
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
