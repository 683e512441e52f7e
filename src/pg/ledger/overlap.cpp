// Whether a call would overlap with another one.
//
// Under `skip`, a new call is skipped at once if an unfinished call of its path is visible. A call in a transaction
// that has not committed is invisible, so the sender decides about it later. There is one sender. It sees everything
// that is committed, and sends the first call. So nobody waits for a lock, two paths cannot deadlock, and no call is
// skipped because of one that is rolled back.

#include "wee5_cron/pg/ledger/overlap.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/ledger/end_call.h"
#include "wee5_cron/pg/ledger/insert_call.h"
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/ledger/path_floor.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

namespace {

constexpr uint16 kLockClass = 5;  // advisory locks of SQL are of class 1 and 2
constexpr uint32 kLocks = 1024;   // so that a transaction that calls many paths does not fill the lock table

struct Ledger {
  Relation table;
  Oid by_path;
  Oid later_by_path;  // calls whose time has come; InvalidOid: the SQL is of a version without such calls
  AttrNumber columns[kInvocationColumns];
};

// The numbers of the columns that this file reads.
struct Columns {
  AttrNumber id;
  AttrNumber path;
  AttrNumber transport;
  AttrNumber status;
  AttrNumber attempts;
  AttrNumber next_attempt_at;
  AttrNumber requested_by;
  AttrNumber requested_at;
  AttrNumber due_at;  // InvalidAttrNumber in the SQL of 0.1.0
  AttrNumber key;     // likewise
};

Ledger open_ledger() {
  Oid table = own_table("invocation");
  if (!OidIsValid(table)) elog(ERROR, "wee5_cron.invocation is missing");
  Ledger ledger;
  ledger.table = table_open(table, AccessShareLock);
  check_ledger_columns(ledger.table, ledger.columns);
  ledger.by_path = own_index(ledger.table, &kInvocationUnfinishedLayout);
  ledger.later_by_path = ledger.columns[kInvocationDueAt] == InvalidAttrNumber
                             ? InvalidOid
                             : own_index(ledger.table, &kInvocationUnfinishedLaterLayout);
  return ledger;
}

Columns columns_of(const Ledger* ledger) {
  Columns columns;
  columns.id = ledger->columns[kInvocationId];
  columns.path = ledger->columns[kInvocationEndpointPath];
  columns.transport = ledger->columns[kInvocationTransport];
  columns.status = ledger->columns[kInvocationStatus];
  columns.attempts = ledger->columns[kInvocationAttempts];
  columns.next_attempt_at = ledger->columns[kInvocationNextAttemptAt];
  columns.requested_by = ledger->columns[kInvocationRequestedBy];
  columns.requested_at = ledger->columns[kInvocationRequestedAt];
  columns.due_at = ledger->columns[kInvocationDueAt];
  columns.key = ledger->columns[kInvocationKey];
  return columns;
}

char* text_of(HeapTuple tuple, TupleDesc descriptor, AttrNumber column) {
  bool is_null;
  Datum value = heap_getattr(tuple, column, descriptor, &is_null);
  return is_null ? pstrdup("") : TextDatumGetCString(value);
}

// pg_net does not tell whether it has begun the request.
bool is_handed_over(HeapTuple tuple, TupleDesc descriptor, const Columns* columns) {
  return heap_attisnull(tuple, columns->next_attempt_at, descriptor) &&
         strcmp(text_of(tuple, descriptor, columns->transport), "pg_net") == 0;
}

// Whether the call has been sent or handed over to pg_net.
bool is_begun(HeapTuple tuple, TupleDesc descriptor, const Columns* columns) {
  if (strcmp(text_of(tuple, descriptor, columns->status), "queued") != 0) return true;
  bool is_null;
  if (DatumGetInt32(heap_getattr(tuple, columns->attempts, descriptor, &is_null)) > 0) return true;
  return is_handed_over(tuple, descriptor, columns);
}

// The app's address as it is stored for a role; "" if none is.
const char* stored_api_url(const char* role) {
  StoredSettings settings;
  read_stored_settings(get_role_oid(role, true), &settings);
  const StoredValue* url = &settings.api_url;
  for (const char* value : {url->role_in_database, url->role, url->database, url->all})
    if (!is_blank(value)) return value;
  return "";
}

// Each role may have its own app, in which the same path is another route.
bool call_same_app(const char* role, const char* other) {
  return strcmp(role, other) == 0 || strcmp(stored_api_url(role), stored_api_url(other)) == 0;
}

TimestampTz time_of(HeapTuple tuple, TupleDesc descriptor, AttrNumber column, bool* is_null) {
  *is_null = column == InvalidAttrNumber;
  return *is_null ? 0 : DatumGetTimestampTz(heap_getattr(tuple, column, descriptor, is_null));
}

// Whether the call `id` was queued before the one in question.
bool is_older(HeapTuple tuple, TupleDesc descriptor, const Columns* columns, const OverlapQuery* query, int64 id) {
  bool at_once, never;
  TimestampTz queued_at = time_of(tuple, descriptor, columns->due_at, &at_once);
  if (at_once && !query->has_due_at) return id < query->call_id;
  if (at_once) queued_at = time_of(tuple, descriptor, columns->requested_at, &never);
  TimestampTz other = query->has_due_at ? query->due_at : query->made_at;
  return queued_at != other ? queued_at < other : id < query->call_id;
}

// Whether a new call replaces this one. One that may be in flight is the sender's to judge.
bool gives_way_to_key(HeapTuple tuple, TupleDesc descriptor, const Columns* columns, const OverlapQuery* query) {
  if (query->key == nullptr || strcmp(text_of(tuple, descriptor, columns->key), query->key) != 0) return false;
  const char* status = text_of(tuple, descriptor, columns->status);
  if (strcmp(status, "queued") != 0 && strcmp(status, "retrying") != 0) return false;
  if (is_handed_over(tuple, descriptor, columns)) return false;
  bool is_null;
  Datum role = heap_getattr(tuple, columns->requested_by, descriptor, &is_null);
  return !is_null && strcmp(NameStr(*DatumGetName(role)), query->role) == 0;
}

// Whether the call `id` has precedence over the one in question: it was queued before it, or has been sent.
bool precedes(HeapTuple tuple, TupleDesc descriptor, const Columns* columns, const OverlapQuery* query, int64 id) {
  if (id == query->besides) return false;
  if (query->call_id == 0) return !gives_way_to_key(tuple, descriptor, columns, query);
  if (id == query->call_id) return false;
  if (is_older(tuple, descriptor, columns, query, id)) return true;
  if (query->is_held != nullptr && query->is_held(id, query->context)) return true;
  return is_begun(tuple, descriptor, columns);
}

bool overlaps(HeapTuple tuple, TupleDesc descriptor, const Columns* columns, const OverlapQuery* query, int64 id) {
  if (!precedes(tuple, descriptor, columns, query, id)) return false;
  bool is_null;
  Datum role = heap_getattr(tuple, columns->requested_by, descriptor, &is_null);
  return is_null || call_same_app(query->role, NameStr(*DatumGetName(role)));
}

struct Found {
  int64 overlapping;        // 0: none
  int64 lowest_unfinished;  // of those that were seen
};

// Goes through the index entries of the keys until a call overlaps. A call that is about to be sent gives way to older
// ones, so the scan begins with those. For a new call, the newest one is the likeliest to overlap.
Found find_unfinished(const Ledger* ledger, Oid by_path, Snapshot snapshot, const Columns* columns, ScanKey keys,
                      int key_count, const OverlapQuery* query) {
  TupleDesc descriptor = RelationGetDescr(ledger->table);
  ScanDirection direction = query->call_id == 0 ? BackwardScanDirection : ForwardScanDirection;
  Relation index = index_open(by_path, AccessShareLock);
  SysScanDesc scan = systable_beginscan_ordered(ledger->table, index, snapshot, key_count, keys);
  Found found = {0, PG_INT64_MAX};
  while (found.overlapping == 0) {
    HeapTuple tuple = systable_getnext_ordered(scan, direction);
    if (!HeapTupleIsValid(tuple)) break;
    bool is_null;
    int64 id = DatumGetInt64(heap_getattr(tuple, columns->id, descriptor, &is_null));
    found.lowest_unfinished = Min(found.lowest_unfinished, id);
    if (overlaps(tuple, descriptor, columns, query, id)) found.overlapping = id;
  }
  systable_endscan_ordered(scan);
  index_close(index, AccessShareLock);
  return found;
}

// Whether the second column of the index is the id. In 0.1.0 the index had the path alone.
bool index_has_ids(const Ledger* ledger, const Columns* columns) {
  Relation index = index_open(ledger->by_path, AccessShareLock);
  bool has = index->rd_index->indnkeyatts > 1 && index->rd_index->indkey.values[1] == columns->id;
  index_close(index, AccessShareLock);
  return has;
}

// ScanKeyInit() sets the collation "C", which the index has.
void path_key(ScanKey key, AttrNumber column, StrategyNumber strategy, RegProcedure procedure, const char* path) {
  ScanKeyInit(key, column, strategy, procedure, CStringGetTextDatum(path));
}

int64 find_by_path(const Ledger* ledger, const char* path, const OverlapQuery* query) {
  Columns columns = columns_of(ledger);
  Oid file = ledger->table->rd_rel->relfilenode;
  bool has_ids = index_has_ids(ledger, &columns);
  // An id that was drawn before the snapshot is taken: that of the call to be sent, or of the last call that this
  // process made. The id of a call that has waited for its time is too old to say much.
  int64 drawn = query->call_id != 0 && !query->has_due_at ? query->call_id : last_inserted_call();
  ScanKeyData keys[2];
  path_key(&keys[0], columns.path, BTEqualStrategyNumber, F_TEXTEQ, path);
  ScanKeyInit(&keys[1], columns.id, BTGreaterEqualStrategyNumber, F_INT8GE,
              Int64GetDatum(has_ids ? path_floor(file, path) : 0));
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  Found found = find_unfinished(ledger, ledger->by_path, snapshot, &columns, keys, has_ids ? 2 : 1, query);
  if (found.overlapping == 0 && has_ids && drawn != 0)
    learn_path_floor(file, path, Min(drawn, found.lowest_unfinished), snapshot);
  UnregisterSnapshot(snapshot);
  return found.overlapping;
}

// Searches the calls in [from, to) of an index.
int64 find_in_range(const Ledger* ledger, Oid by_path, const char* from, const char* to, const OverlapQuery* query) {
  Columns columns = columns_of(ledger);
  ScanKeyData keys[2];
  path_key(&keys[0], columns.path, BTGreaterEqualStrategyNumber, F_TEXT_GE, from);
  path_key(&keys[1], columns.path, BTLessStrategyNumber, F_TEXT_LT, to);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  Found found = find_unfinished(ledger, by_path, snapshot, &columns, keys, 2, query);
  UnregisterSnapshot(snapshot);
  return found.overlapping;
}

// Searches the calls of exactly this path.
int64 find_at_path(const Ledger* ledger, const char* path, const OverlapQuery* query) {
  int64 found = find_by_path(ledger, path, query);
  if (found != 0 || !OidIsValid(ledger->later_by_path)) return found;
  return find_in_range(ledger, ledger->later_by_path, path, psprintf("%s\x01", path), query);
}

// Searches the calls of this path with any query.
int64 find_with_queries(const Ledger* ledger, const char* route, const OverlapQuery* query) {
  const char* from = psprintf("%s?", route);
  const char* to = psprintf("%s@", route);  // '@' follows '?'
  int64 found = find_in_range(ledger, ledger->by_path, from, to, query);
  if (found != 0 || !OidIsValid(ledger->later_by_path)) return found;
  return find_in_range(ledger, ledger->later_by_path, from, to, query);
}

char* route_of(const char* path) {
  const char* query = strchr(path, '?');
  return query == nullptr ? pstrdup(path) : pnstrdup(path, static_cast<Size>(query - path));
}

}  // namespace

int64 find_overlapping_call(const OverlapQuery* query) {
  // Makes the calls of this transaction visible.
  CommandCounterIncrement();
  Ledger ledger = open_ledger();
  int64 found;
  if (strcmp(query->exclusive, kExclusiveRoute) == 0) {
    const char* route = route_of(query->path);
    found = find_at_path(&ledger, route, query);
    if (found == 0) found = find_with_queries(&ledger, route, query);
  } else {
    found = find_at_path(&ledger, query->path, query);
  }
  table_close(ledger.table, AccessShareLock);
  return found;
}

int64 find_call_that_waits(const OverlapQuery* query, int64 overlapping) {
  OverlapQuery other = *query;
  other.besides = overlapping;
  return find_overlapping_call(&other);
}

bool lock_path(const char* path) {
  const char* route = route_of(path);
  uint32 hash =
      DatumGetUInt32(hash_any(reinterpret_cast<const unsigned char*>(route), static_cast<int>(strlen(route))));
  LOCKTAG tag;
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, hash % kLocks, kLockClass);
  return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

char* overlap_error(const char* path, int64 overlapping) {
  return outcome_error(core::Reason::kOverlap, path, psprintf(INT64_FORMAT, overlapping));
}

char* overlap_hint(const char* path) {
  const char* literal = quote_literal_cstr(path);
  return psprintf(
      "Calls of this path are skipped while one has not ended. To let them overlap: INSERT INTO wee5_cron.endpoint "
      "(endpoint_path, overlap) VALUES (%s, 'allow') ON CONFLICT (endpoint_path) DO UPDATE SET overlap = 'allow';",
      literal);
}

// wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name, requested_at
// timestamptz,
//                       due_at timestamptz, besides bigint) -> bigint: NULL where it may be sent. 0.1.0 has not got the
//                       last three.
WEE5_SQL_FUNCTION(wee5_cron_call_beside) {
  for (int i = 0; i < 4; ++i)
    if (PG_ARGISNULL(i)) PG_RETURN_NULL();
  OverlapQuery query;
  memset(&query, 0, sizeof(query));
  query.call_id = PG_GETARG_INT64(0);
  query.path = text_to_cstring(PG_GETARG_TEXT_PP(1));
  query.exclusive = text_to_cstring(PG_GETARG_TEXT_PP(2));
  query.role = NameStr(*PG_GETARG_NAME(3));
  if (PG_NARGS() > 4 && !PG_ARGISNULL(4)) query.made_at = PG_GETARG_TIMESTAMPTZ(4);
  query.has_due_at = PG_NARGS() > 5 && !PG_ARGISNULL(5);
  if (query.has_due_at) query.due_at = PG_GETARG_TIMESTAMPTZ(5);
  if (PG_NARGS() > 6 && !PG_ARGISNULL(6)) query.besides = PG_GETARG_INT64(6);
  int64 overlapping = find_overlapping_call(&query);
  if (overlapping == 0) PG_RETURN_NULL();
  PG_RETURN_INT64(overlapping);
}

// wee5_cron.lock_path(endpoint_path text) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_lock_path) {
  if (PG_ARGISNULL(0)) PG_RETURN_BOOL(false);
  PG_RETURN_BOOL(lock_path(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

// wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
WEE5_SQL_FUNCTION(wee5_cron_explain_overlap) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.explain_overlap must return a row");
  const char* path = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
  Datum values[2] = {CStringGetTextDatum(overlap_error(path, PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1))),
                     CStringGetTextDatum(overlap_hint(path))};
  bool nulls[2] = {false, false};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

}  // namespace wee5::pg
