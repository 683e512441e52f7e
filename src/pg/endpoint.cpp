// Reading wee5_cron.endpoint. What a process knows of the table stays valid until a relcache invalidation of it
// arrives, which the table's trigger sends with every change.

#include "wee5_cron/pg/endpoint.h"

#include "wee5_cron/pg/boundary.h"
#include "wee5_cron/pg/pg_extension_lookup.h"

namespace wee5::pg {

namespace {

// The columns in the order of the table's definition.
enum Column {
  kPath,
  kMethod,
  kBody,
  kHeaders,
  kTimeout,
  kMaxAttempts,
  kRetryOn,
  kRetryDelays,
  kRetryWindow,
  kOverlap,
  kColumns
};

struct Known {
  Oid table;
  bool valid;
  bool empty;
  bool read_by_worker;
};
Known known = {InvalidOid, false, false, false};

void at_invalidation(Datum arg, Oid relation) {
  (void)arg;
  if (OidIsValid(relation) && relation != known.table) return;
  known.valid = false;
  known.read_by_worker = false;
}

char* text_of(Datum value, bool is_null) { return is_null ? nullptr : TextDatumGetCString(value); }

Overlap overlap_of(const char* text) {
  if (text == nullptr) return Overlap::kDefault;
  return strcmp(text, "skip") == 0 ? Overlap::kSkip : Overlap::kAllow;
}

void copy_delays(ArrayType* array, EndpointRow* row) {
  Datum* values;
  bool* nulls;
  int count;
  deconstruct_array(array, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE, &values, &nulls, &count);
  row->retry_delays = static_cast<int64*>(palloc(sizeof(int64) * static_cast<Size>(Max(count, 1))));
  for (int i = 0; i < count; ++i)
    row->retry_delays[row->retry_delay_count++] =
        nulls[i] ? 0 : Max(interval_milliseconds(DatumGetIntervalP(values[i])), 0);
}

void copy_row(HeapTuple tuple, TupleDesc descriptor, EndpointRow* row) {
  Datum values[kColumns];
  bool nulls[kColumns];
  for (int i = 0; i < kColumns; ++i) values[i] = heap_getattr(tuple, i + 1, descriptor, &nulls[i]);
  memset(row, 0, sizeof(*row));
  row->endpoint_path = text_of(values[kPath], nulls[kPath]);
  row->method = text_of(values[kMethod], nulls[kMethod]);
  if (!nulls[kBody]) row->body = JsonbPGetDatum(DatumGetJsonbPCopy(values[kBody]));
  if (!nulls[kHeaders]) row->headers = DatumGetJsonbPCopy(values[kHeaders]);
  if (!nulls[kTimeout]) {
    row->timeout = static_cast<Interval*>(palloc(sizeof(Interval)));
    memcpy(row->timeout, DatumGetIntervalP(values[kTimeout]), sizeof(Interval));
  }
  if (!nulls[kMaxAttempts]) row->max_attempts = DatumGetInt32(values[kMaxAttempts]);
  row->retry_on = text_of(values[kRetryOn], nulls[kRetryOn]);
  if (!nulls[kRetryDelays]) copy_delays(DatumGetArrayTypeP(values[kRetryDelays]), row);
  if (!nulls[kRetryWindow]) row->retry_window = interval_milliseconds(DatumGetIntervalP(values[kRetryWindow]));
  row->overlap = overlap_of(text_of(values[kOverlap], nulls[kOverlap]));
}

Oid find_table() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  return relation_of_extension("wee5_cron", "endpoint", extension.oid);
}

// False where there is no such table.
bool know_table() {
  static bool registered = false;
  if (!registered) CacheRegisterRelcacheCallback(at_invalidation, static_cast<Datum>(0));
  registered = true;
  if (known.valid) return true;
  known.table = find_table();
  return OidIsValid(known.table);
}

bool find_by_key(Relation table, Snapshot snapshot, const char* path, EndpointRow* row) {
  ScanKeyData key;
  // The column's collation is "C", which is the one that ScanKeyInit() fills in.
  ScanKeyInit(&key, kPath + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(path));
  Oid index = primary_key_index(table);
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
  double ms = (static_cast<double>(interval->month) * DAYS_PER_MONTH + interval->day) * (SECS_PER_DAY * 1000.0) +
              static_cast<double>(interval->time) / 1000.0;
  return ms >= 0 && ms <= kCentury ? static_cast<int64>(ms) : -1;
}

core::RetryPolicy retry_policy_of(const EndpointRow* row) {
  core::RetryPolicy policy;
  if (row->max_attempts > 0) policy.max_attempts = row->max_attempts;
  if (row->retry_on != nullptr) policy.retry_on = core::parse_retry_on(row->retry_on).value_or(policy.retry_on);
  if (row->retry_delays != nullptr)
    policy.delays_ms.assign(row->retry_delays, row->retry_delays + row->retry_delay_count);
  if (row->retry_window > 0) policy.window_ms = row->retry_window;
  return policy;
}

void find_endpoint(const char* path, EndpointRow* row) {
  memset(row, 0, sizeof(*row));
  // A change that was committed before this call shall count for it.
  AcceptInvalidationMessages();
  if (known.valid && known.empty) return;
  if (!know_table()) return;
  // Set first: an invalidation that arrives with the lock takes it back.
  bool was_known = known.valid;
  known.valid = true;
  Relation table = table_open(known.table, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  if (!was_known) known.empty = is_empty(table, snapshot);
  if (!known.empty && !find_by_key(table, snapshot, path, row)) {
    const char* query = strchr(path, '?');
    if (query != nullptr) find_by_key(table, snapshot, pnstrdup(path, static_cast<Size>(query - path)), row);
  }
  UnregisterSnapshot(snapshot);
  table_close(table, AccessShareLock);
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

bool read_changed_endpoints(EndpointRow** rows, int* count) {
  *rows = nullptr;
  *count = 0;
  AcceptInvalidationMessages();
  if (known.read_by_worker) return false;
  if (!know_table()) return false;
  known.read_by_worker = true;
  Relation table = table_open(known.table, AccessShareLock);
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
