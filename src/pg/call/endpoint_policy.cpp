// Reading wee5_cron.endpoint. A process keeps what it has read until a relcache invalidation of the table arrives. The
// table's trigger sends one with every change.

#include "wee5_cron/pg/call/endpoint_policy.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

struct Known {
  Oid table;
  bool valid;
  bool empty;
  bool read_by_worker;
  uint64 generation;
  AttrNumber columns[kEndpointColumns];
};
Known known = {InvalidOid, false, false, false, 1, {}};

void at_invalidation(Datum arg, Oid relation) {
  (void)arg;
  if (OidIsValid(relation) && relation != known.table) return;
  known.valid = false;
  known.read_by_worker = false;
  ++known.generation;
}

char* text_of(Datum value, bool is_null) { return is_null ? nullptr : TextDatumGetCString(value); }

Overlap overlap_of(const char* text) {
  if (text != nullptr && strcmp(text, "skip") == 0) return Overlap::kSkip;
  if (text != nullptr && strcmp(text, "allow") == 0) return Overlap::kAllow;
  // The SQL of 0.1.0, which has fewer columns, cannot send a call that waits.
  if (text != nullptr && strcmp(text, "queue") == 0)
    return known.columns[kEndpointMaxInFlight] != InvalidAttrNumber ? Overlap::kQueue : Overlap::kSkip;
  return Overlap::kDefault;
}

void copy_timeout(const Interval* timeout, EndpointRow* row) {
  int64 ms = interval_milliseconds(timeout);
  if (ms < 1 || ms > kMostTimeoutMs) return;
  row->timeout = static_cast<Interval*>(palloc(sizeof(Interval)));
  memcpy(row->timeout, timeout, sizeof(Interval));
}

void copy_response_bytes(int32 bytes, EndpointRow* row) {
  if (bytes >= kMaxResponseBytesBounds.least && bytes <= kMaxResponseBytesBounds.most) row->max_response_bytes = bytes;
}

// If one of the delays is out of bounds, ignores all of them.
void copy_delays(ArrayType* array, EndpointRow* row) {
  Datum* values;
  bool* nulls;
  int count;
  deconstruct_array(array, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE, &values, &nulls, &count);
  if (count == 0) return;
  int64* delays = static_cast<int64*>(palloc(sizeof(int64) * static_cast<Size>(count)));
  for (int i = 0; i < count; ++i) {
    delays[i] = nulls[i] ? -1 : interval_milliseconds(DatumGetIntervalP(values[i]));
    if (delays[i] < 0) return;
  }
  row->retry_delays = delays;
  row->retry_delay_count = count;
}

void copy_row(HeapTuple tuple, TupleDesc descriptor, EndpointRow* row) {
  Datum values[kEndpointColumns] = {};
  bool nulls[kEndpointColumns];
  memset(nulls, true, sizeof(nulls));
  for (int i = 0; i < kEndpointColumns; ++i)
    if (known.columns[i] != InvalidAttrNumber) values[i] = heap_getattr(tuple, known.columns[i], descriptor, &nulls[i]);
  memset(row, 0, sizeof(*row));
  row->endpoint_path = text_of(values[kEndpointPath], nulls[kEndpointPath]);
  row->method = text_of(values[kEndpointMethod], nulls[kEndpointMethod]);
  if (!nulls[kEndpointBody]) row->body = JsonbPGetDatum(DatumGetJsonbPCopy(values[kEndpointBody]));
  if (!nulls[kEndpointHeaders]) row->headers = DatumGetJsonbPCopy(values[kEndpointHeaders]);
  if (!nulls[kEndpointTimeout]) copy_timeout(DatumGetIntervalP(values[kEndpointTimeout]), row);
  if (!nulls[kEndpointMaxAttempts]) row->max_attempts = DatumGetInt32(values[kEndpointMaxAttempts]);
  row->retry_on = text_of(values[kEndpointRetryOn], nulls[kEndpointRetryOn]);
  if (!nulls[kEndpointRetryDelays]) copy_delays(DatumGetArrayTypeP(values[kEndpointRetryDelays]), row);
  if (!nulls[kEndpointRetryWindow])
    row->retry_window = interval_milliseconds(DatumGetIntervalP(values[kEndpointRetryWindow]));
  if (!nulls[kEndpointCompleteWithin])
    row->complete_within = interval_milliseconds(DatumGetIntervalP(values[kEndpointCompleteWithin]));
  if (!nulls[kEndpointMaxInFlight]) row->max_in_flight = Max(DatumGetInt32(values[kEndpointMaxInFlight]), 0);
  row->max_response_bytes = -1;
  if (!nulls[kEndpointMaxResponseBytes]) copy_response_bytes(DatumGetInt32(values[kEndpointMaxResponseBytes]), row);
  row->overlap = overlap_of(text_of(values[kEndpointOverlap], nulls[kEndpointOverlap]));
}

// Raises if the table is missing: without policies, a call that must be made at most once could be made twice.
Oid find_table() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  if (!OidIsValid(extension.oid)) return InvalidOid;
  Oid table = relation_of_extension("wee5_cron", kEndpointLayout.name, extension.oid);
  if (!OidIsValid(table) || get_rel_relkind(table) != RELKIND_RELATION)
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the table wee5_cron.endpoint is missing"),
             errhint("If you renamed, moved or replaced the table, restore the original.")));
  return table;
}

// Also finds its columns. Raises if one was altered, or if a row security policy hides rows.
Relation open_table() {
  // Set first: an invalidation that arrives with the lock resets it.
  known.valid = true;
  Relation table = table_open(known.table, AccessShareLock);
  bool valid = known.valid;
  known.valid = false;
  refuse_hidden_rows(table);
  readable_columns(table, &kEndpointLayout, known.columns);
  known.valid = valid;
  return table;
}

// False if there is no such table.
bool know_table() {
  static bool registered = false;
  if (!registered) CacheRegisterRelcacheCallback(at_invalidation, static_cast<Datum>(0));
  registered = true;
  if (known.valid) return true;
  known.table = find_table();
  return OidIsValid(known.table);
}

// The primary key's index if it can find a path; else the whole table is read.
Oid key_in_c_collation(Relation table) {
  Oid oid = primary_key_on(table, known.columns[kEndpointPath]);
  if (!OidIsValid(oid)) return InvalidOid;
  Relation index = index_open(oid, AccessShareLock);
  bool fits = index->rd_indcollation[0] == C_COLLATION_OID && index->rd_opfamily[0] == TEXT_BTREE_FAM_OID;
  index_close(index, AccessShareLock);
  return fits ? oid : InvalidOid;
}

bool find_by_key(Relation table, Snapshot snapshot, const char* path, EndpointRow* row) {
  ScanKeyData key;
  // ScanKeyInit() fills in the collation "C", which the column has.
  ScanKeyInit(&key, known.columns[kEndpointPath], BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(path));
  Oid index = key_in_c_collation(table);
  SysScanDesc scan = systable_beginscan(table, index, OidIsValid(index), snapshot, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  bool found = HeapTupleIsValid(tuple);
  if (found) copy_row(tuple, RelationGetDescr(table), row);
  systable_endscan(scan);
  return found;
}

bool is_empty(Relation table, Snapshot snapshot) {
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, nullptr);
  bool empty = !HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  return empty;
}

}  // namespace

int64 interval_milliseconds(const Interval* interval) {
  constexpr double kCentury = 36'525.0 * SECS_PER_DAY * 1000.0;
  double ms = microseconds_of(interval) / 1000.0;
  return ms >= 0 && ms <= kCentury ? static_cast<int64>(ms) : -1;
}

core::RetryPolicy retry_policy_of(const EndpointRow* row) {
  core::RetryPolicy policy;
  if (row->max_attempts > 0) policy.max_attempts = row->max_attempts;
  if (row->retry_on != nullptr) policy.retry_on = core::parse_retry_on(row->retry_on).value_or(policy.retry_on);
  if (row->retry_delays != nullptr)
    policy.delays_ms.assign(row->retry_delays, row->retry_delays + row->retry_delay_count);
  if (row->retry_window > 0) policy.window_ms = row->retry_window;
  if (row->complete_within > 0) policy.complete_within_ms = row->complete_within;
  return policy;
}

void find_endpoint(const char* path, EndpointRow* row) {
  memset(row, 0, sizeof(*row));
  row->max_response_bytes = -1;
  // A change that was committed before this call counts.
  AcceptInvalidationMessages();
  if (known.valid && known.empty) return;
  if (!know_table()) return;
  bool was_known = known.valid;
  Relation table = open_table();
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  if (!was_known) known.empty = is_empty(table, snapshot);
  if (!known.empty && !find_by_key(table, snapshot, path, row)) {
    const char* query = strchr(path, '?');
    if (query != nullptr) find_by_key(table, snapshot, pnstrdup(path, static_cast<Size>(query - path)), row);
  }
  UnregisterSnapshot(snapshot);
  table_close(table, AccessShareLock);
}

bool policy_lets_calls_wait(const char* path) {
  EndpointRow policy;
  find_endpoint(path, &policy);
  return policy.overlap == Overlap::kQueue;
}

void take_over_policy(CallChoices* choices, const EndpointRow* row) {
  const char* policy_method = row->method != nullptr ? row->method : "GET";
  bool same_method = choices->method == nullptr || pg_strcasecmp(choices->method, policy_method) == 0;
  if (choices->method == nullptr) choices->method = pstrdup(policy_method);
  if (choices->body == 0 && same_method) choices->body = row->body;
  if (choices->timeout == nullptr) choices->timeout = row->timeout;
  if (row->headers == nullptr) return;
  if (choices->headers == nullptr) {
    choices->headers = row->headers;
    return;
  }
  HeaderList own;
  HeaderList all;
  headers_from_jsonb(choices->headers, &own);
  headers_from_jsonb(row->headers, &all);
  HeaderList merged;
  Size room = sizeof(char*) * static_cast<Size>(own.count + all.count + 1);
  merged.names = static_cast<char**>(palloc(room));
  merged.values = static_cast<char**>(palloc(room));
  merged.count = 0;
  auto add = [&merged](const HeaderList* from, int i) {
    merged.names[merged.count] = from->names[i];
    merged.values[merged.count++] = from->values[i];
  };
  for (int i = 0; i < all.count; ++i) {
    bool overridden = false;
    for (int j = 0; j < own.count; ++j) overridden = overridden || pg_strcasecmp(all.names[i], own.names[j]) == 0;
    if (!overridden) add(&all, i);
  }
  for (int j = 0; j < own.count; ++j) add(&own, j);
  choices->headers = jsonb_from_headers(&merged);
}

void forget_endpoints() { known.read_by_worker = false; }

uint64 endpoint_generation() { return known.generation; }

bool read_changed_endpoints(EndpointRow** rows, int* count) {
  *rows = nullptr;
  *count = 0;
  AcceptInvalidationMessages();
  if (known.read_by_worker) return false;
  if (!know_table()) return false;
  known.read_by_worker = true;
  Relation table = open_table();
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, nullptr);
  int capacity = 0;
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    if (*count == capacity) {
      capacity = capacity == 0 ? 16 : 2 * capacity;
      Size bytes = sizeof(EndpointRow) * static_cast<Size>(capacity);
      *rows = static_cast<EndpointRow*>(*rows == nullptr ? palloc(bytes) : repalloc(*rows, bytes));
    }
    copy_row(tuple, RelationGetDescr(table), &(*rows)[(*count)++]);
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(table, AccessShareLock);
  return true;
}

}  // namespace wee5::pg
