#include "wee5_cron/pg/ledger/table_layout.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/ledger/sql_version.h"

namespace wee5::pg {

namespace {

constexpr ColumnLayout kInvocation[kInvocationColumns] = {{"id", INT8OID, true, true},
                                                          {"job_name", TEXTOID, false, true},
                                                          {"endpoint_path", TEXTOID, true, true},
                                                          {"method", TEXTOID, true, true},
                                                          {"body", JSONBOID, false, true},
                                                          {"headers", JSONBOID, true, true},
                                                          {"url", TEXTOID, false, false},
                                                          {"transport", TEXTOID, true, true},
                                                          {"status", TEXTOID, true, true},
                                                          {"reason", TEXTOID, false, false},
                                                          {"error", TEXTOID, false, false},
                                                          {"hint", TEXTOID, false, false},
                                                          {"http_status", INT4OID, false, false},
                                                          {"attempts", INT4OID, true, true},
                                                          {"requested_at", TIMESTAMPTZOID, true, true},
                                                          {"requested_by", NAMEOID, true, true},
                                                          {"scheduled_at", TIMESTAMPTZOID, false, true},
                                                          {"first_sent_at", TIMESTAMPTZOID, false, true},
                                                          {"next_attempt_at", TIMESTAMPTZOID, false, true},
                                                          {"finished_at", TIMESTAMPTZOID, false, true},
                                                          {"duration", INTERVALOID, false, false},
                                                          {"cron_run_id", INT8OID, false, false},
                                                          {"idempotency_key", UUIDOID, true, true},
                                                          {"response_content_type", TEXTOID, false, false},
                                                          {"response_body", TEXTOID, false, false},
                                                          {"response_truncated", BOOLOID, true, false},
                                                          {"timeout", INTERVALOID, false, true},
                                                          {"exclusive", TEXTOID, false, true},
                                                          {"due_at", TIMESTAMPTZOID, false, true},
                                                          {"key", TEXTOID, false, true}};
constexpr const char* kInvocationChecks[] = {
    "(transport = ANY (ARRAY['builtin'::text, 'pg_net'::text]))",
    "(status = ANY (ARRAY['queued'::text, 'sending'::text, 'retrying'::text, 'accepted'::text, 'succeeded'::text,"
    " 'failed'::text, 'skipped'::text, 'cancelled'::text]))",
    "(reason = ANY (ARRAY['config'::text, 'dns'::text, 'connect'::text, 'tls'::text, 'timeout'::text, 'http'::text,"
    " 'redirect'::text, 'response'::text, 'lost'::text, 'incomplete'::text, 'overlap'::text, 'cancelled'::text]))",
    "(exclusive = ANY (ARRAY['path'::text, 'route'::text]))"};

constexpr ColumnLayout kAttempt[kAttemptColumns] = {{"invocation_id", INT8OID, true, false},
                                                    {"attempt", INT4OID, true, false},
                                                    {"started_at", TIMESTAMPTZOID, false, false},
                                                    {"finished_at", TIMESTAMPTZOID, false, false},
                                                    {"http_status", INT4OID, false, false},
                                                    {"reason", TEXTOID, false, false},
                                                    {"error", TEXTOID, false, false},
                                                    {"dns_ms", FLOAT4OID, false, false},
                                                    {"connect_ms", FLOAT4OID, false, false},
                                                    {"tls_ms", FLOAT4OID, false, false},
                                                    {"first_byte_ms", FLOAT4OID, false, false},
                                                    {"total_ms", FLOAT4OID, false, false}};

constexpr ColumnLayout kEndpoint[kEndpointColumns] = {{"endpoint_path", TEXTOID, true, true},
                                                      {"method", TEXTOID, false, true},
                                                      {"body", JSONBOID, false, true},
                                                      {"headers", JSONBOID, false, true},
                                                      {"timeout", INTERVALOID, false, true},
                                                      {"max_attempts", INT4OID, false, true},
                                                      {"retry_on", TEXTOID, false, true},
                                                      {"retry_delays", INTERVALARRAYOID, false, true},
                                                      {"retry_window", INTERVALOID, false, true},
                                                      {"overlap", TEXTOID, false, true},
                                                      {"alert_after", INT4OID, false, false},
                                                      {"note", TEXTOID, false, false},
                                                      {"complete_within", INTERVALOID, false, true},
                                                      {"keep_succeeded", INTERVALOID, false, false},
                                                      {"keep_failed", INTERVALOID, false, false},
                                                      {"max_in_flight", INT4OID, false, true},
                                                      {"max_response_bytes", INT4OID, false, true}};

constexpr ColumnLayout kJob[] = {{"job_name", TEXTOID, true, false},       {"jobid", INT8OID, false, false},
                                 {"endpoint_path", TEXTOID, false, false}, {"catch_up", TEXTOID, false, false},
                                 {"registered", BOOLOID, true, false},     {"paused_at", TIMESTAMPTZOID, false, false},
                                 {"pause_note", TEXTOID, false, false},    {"applied", BOOLOID, true, false}};
constexpr ColumnLayout kPgNetRequest[] = {
    {"invocation_id", INT8OID, true, false},          {"request_id", INT8OID, true, false},
    {"handed_over_at", TIMESTAMPTZOID, true, false},  {"queue", OIDOID, false, false},
    {"previous_until", TIMESTAMPTZOID, false, false}, {"secret_digests", INT4ARRAYOID, false, false}};
constexpr ColumnLayout kCronCaller[] = {{"invocation_id", INT8OID, true, false}, {"pid", INT4OID, true, false}};
constexpr ColumnLayout kCancellation[] = {{"invocation_id", INT8OID, true, false},
                                          {"requested_at", TIMESTAMPTZOID, true, false},
                                          {"requested_by", NAMEOID, true, false},
                                          {"replaced_by", INT8OID, false, false}};
constexpr ColumnLayout kClaim[] = {{"idempotency_key", UUIDOID, true, false},
                                   {"claimed_by", NAMEOID, true, false},
                                   {"claimed_at", TIMESTAMPTZOID, true, false},
                                   {"lease_until", TIMESTAMPTZOID, false, false},
                                   {"completed_at", TIMESTAMPTZOID, false, false},
                                   {"ok", BOOLOID, false, false},
                                   {"note", TEXTOID, false, false}};
constexpr ColumnLayout kTrouble[] = {
    {"kind", TEXTOID, true, false},     {"name", TEXTOID, true, false},
    {"failures", INT4OID, true, false}, {"since", TIMESTAMPTZOID, true, false},
    {"told", BOOLOID, true, false},     {"last_failed_at", TIMESTAMPTZOID, false, false},
    {"by_job", BOOLOID, true, false},   {"told_at", TIMESTAMPTZOID, false, false},
    {"alert", JSONBOID, false, false}};
constexpr ColumnLayout kPendingAlert[] = {
    {"id", UUIDOID, true, false}, {"at", TIMESTAMPTZOID, true, false}, {"content", JSONBOID, true, false}};
constexpr ColumnLayout kPendingOutcome[] = {{"invocation_id", INT8OID, true, false}};
constexpr ColumnLayout kNewestCall[] = {{"route", TEXTOID, true, false},
                                        {"job_name", TEXTOID, true, false},
                                        {"run_id", INT8OID, true, false},
                                        {"success_id", INT8OID, false, false}};
constexpr ColumnLayout kJobWatch[] = {{"jobid", INT8OID, true, false},
                                      {"schedule", TEXTOID, true, false},
                                      {"active", BOOLOID, true, false},
                                      {"judged_until", TIMESTAMPTZOID, true, false},
                                      {"missed_runs", INT8OID, true, false},
                                      {"last_missed", TIMESTAMPTZOID, false, false},
                                      {"seen_run", INT8OID, false, false},
                                      {"job_name", TEXTOID, false, false},
                                      {"username", TEXTOID, false, false},
                                      {"cron_job", OIDOID, false, false},
                                      {"runs", TIMESTAMPTZARRAYOID, true, false},
                                      {"unended_runs", INT8ARRAYOID, true, false}};
constexpr ColumnLayout kArmed[] = {{"database", OIDOID, true, false},  {"armed_at", TIMESTAMPTZOID, true, false},
                                   {"armed_by", NAMEOID, true, false}, {"xid", XIDOID, true, false},
                                   {"note", TEXTOID, false, false},    {"system_identifier", INT8OID, false, false},
                                   {"timeline", INT4OID, false, false}};
constexpr ColumnLayout kArming[] = {
    {"database", OIDOID, true, false}, {"xid", XIDOID, true, false}, {"id", BYTEAOID, true, false}};

template <int count>
constexpr TableLayout layout_of(const char* name, const ColumnLayout (&columns)[count]) {
  return {name, columns, count, nullptr, 0};
}

}  // namespace

const TableLayout kInvocationLayout = {"invocation", kInvocation, kInvocationColumns, kInvocationChecks,
                                       lengthof(kInvocationChecks)};
const TableLayout kAttemptLayout = layout_of("attempt", kAttempt);
const TableLayout kEndpointLayout = layout_of("endpoint", kEndpoint);

const TableLayout* all_table_layouts(int* count) {
  static const TableLayout all[] = {kInvocationLayout,
                                    kAttemptLayout,
                                    kEndpointLayout,
                                    layout_of("job", kJob),
                                    layout_of("pg_net_request", kPgNetRequest),
                                    layout_of("cron_caller", kCronCaller),
                                    layout_of("cancellation", kCancellation),
                                    layout_of("claim", kClaim),
                                    layout_of("trouble", kTrouble),
                                    layout_of("pending_alert", kPendingAlert),
                                    layout_of("pending_outcome", kPendingOutcome),
                                    layout_of("newest_call", kNewestCall),
                                    layout_of("job_watch", kJobWatch),
                                    layout_of("armed", kArmed),
                                    layout_of("arming", kArming)};
  *count = lengthof(all);
  return all;
}

namespace {

bool stored_alike(Oid type, Oid expected) {
  Oid base = getBaseType(type);
  return base == expected || (expected == TEXTOID && base == VARCHAROID);
}

Form_pg_attribute attribute_of_name(TupleDesc descriptor, const char* name) {
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0) return attribute;
  }
  return nullptr;
}

[[noreturn]] void raise_missing(const TableLayout* layout, const ColumnLayout* column) {
  const char* name = quote_identifier(column->name);
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("wee5_cron.%s has no column \"%s\"", layout->name, column->name),
           errhint("If you renamed the column, rename it back. If you dropped it: ALTER TABLE wee5_cron.%s ADD %s %s;",
                   layout->name, name, format_type_be(column->type))));
  pg_unreachable();
}

[[noreturn]] void raise_other_type(const TableLayout* layout, const ColumnLayout* column, Form_pg_attribute attribute) {
  const char* name = quote_identifier(column->name);
  const char* type = format_type_be(column->type);
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("column \"%s\" of wee5_cron.%s has type %s instead of %s", column->name, layout->name,
                  format_type_with_typemod(attribute->atttypid, attribute->atttypmod), type),
           errhint("ALTER TABLE wee5_cron.%s ALTER %s TYPE %s USING %s::%s;", layout->name, name, type, name, type)));
  pg_unreachable();
}

}  // namespace

AttrNumber readable_column(Relation relation, const TableLayout* layout, int column) {
  const ColumnLayout* expected = &layout->columns[column];
  Form_pg_attribute attribute = attribute_of_name(RelationGetDescr(relation), expected->name);
  if (attribute == nullptr && sql_is_earlier()) return InvalidAttrNumber;
  if (attribute == nullptr) raise_missing(layout, expected);
  if (attribute->atttypid != expected->type && !stored_alike(attribute->atttypid, expected->type))
    raise_other_type(layout, expected, attribute);
  return attribute->attnum;
}

void readable_columns(Relation relation, const TableLayout* layout, AttrNumber* numbers) {
  for (int i = 0; i < layout->column_count; ++i)
    numbers[i] = layout->columns[i].read ? readable_column(relation, layout, i) : AttrNumber{InvalidAttrNumber};
}

AttrNumber readable_column_named(Relation relation, const TableLayout* layout, const char* name) {
  for (int i = 0; i < layout->column_count; ++i)
    if (strcmp(layout->columns[i].name, name) == 0) return readable_column(relation, layout, i);
  elog(ERROR, "unknown column \"%s\" of wee5_cron.%s", name, layout->name);
  pg_unreachable();
}

AttrNumber writable_column(TupleDesc descriptor, const ColumnLayout* column) {
  Form_pg_attribute attribute = attribute_of_name(descriptor, column->name);
  if (attribute == nullptr || attribute->atttypid != column->type || attribute->atttypmod != -1 ||
      attribute->attgenerated != '\0' || (attribute->attnotnull && !column->not_null))
    return InvalidAttrNumber;
  return attribute->attnum;
}

void refuse_hidden_rows(Relation relation) {
  if (check_enable_rls(RelationGetRelid(relation), InvalidOid, true) != RLS_ENABLED) return;
  const char* name = RelationGetRelationName(relation);
  ereport(
      ERROR,
      (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
       errmsg("row-level security applies to the extension's owner on wee5_cron.%s", name),
       errhint("ALTER TABLE wee5_cron.%s NO FORCE ROW LEVEL SECURITY; -- and let the extension's owner own it", name)));
}

// --- comparisons that are expensive, and made once after each change ----------------------------------------------

namespace {

// Whether a relation passed the comparison. Valid until an invalidation of the relation arrives.
struct Verdict {
  Oid relation;
  bool passed;
  bool current;
};
Verdict check_verdicts[2];  // invocation, attempt
Verdict index_verdicts[3];  // invocation_open, invocation_unfinished, invocation_unfinished_later

void forget_verdict(Verdict* verdict, Oid relation) {
  if (!OidIsValid(relation) || verdict->relation == relation) verdict->current = false;
}

void forget_verdicts(Datum arg, Oid relation) {
  (void)arg;
  for (Verdict& verdict : check_verdicts) forget_verdict(&verdict, relation);
  for (Verdict& verdict : index_verdicts) forget_verdict(&verdict, relation);
}

Verdict* verdict_of(Verdict* verdicts, int which, Oid relation) {
  static bool listening = false;
  if (!listening) CacheRegisterRelcacheCallback(forget_verdicts, 0);
  listening = true;
  Verdict* verdict = &verdicts[which];
  if (verdict->relation != relation) *verdict = {relation, false, false};
  return verdict;
}

bool is_own_check(const char* expression, const TableLayout* layout) {
  for (int i = 0; i < layout->check_count; ++i)
    if (strcmp(expression, layout->checks[i]) == 0) return true;
  return false;
}

// The session's settings change how Postgres writes an expression. AtEOXact_GUC(true, level) restores them.
int begin_plain_names() {
  int level = NewGUCNestLevel();
  set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  return level;
}

char* shown_expression(Datum expression, Oid relation) {
  return TextDatumGetCString(DirectFunctionCall2(pg_get_expr, expression, ObjectIdGetDatum(relation)));
}

bool compare_checks(Relation relation, const TableLayout* layout) {
  const TupleConstr* constraints = RelationGetDescr(relation)->constr;
  if (constraints == nullptr) return true;
  for (int i = 0; i < constraints->num_check; ++i)
    if (!is_own_check(shown_expression(CStringGetTextDatum(constraints->check[i].ccbin), RelationGetRelid(relation)),
                      layout))
      return false;
  return true;
}

bool is_key(Relation index, int position, const IndexKeyLayout* layout) {
  if (index->rd_opfamily[position] != layout->family || index->rd_indoption[position] != 0) return false;
  if (OidIsValid(layout->collation) && index->rd_indcollation[position] != layout->collation) return false;
  char* shown = TextDatumGetCString(DirectFunctionCall3(pg_get_indexdef_ext, ObjectIdGetDatum(RelationGetRelid(index)),
                                                        Int32GetDatum(position + 1), BoolGetDatum(false)));
  return strcmp(shown, layout->key) == 0 || (layout->other_form != nullptr && strcmp(shown, layout->other_form) == 0);
}

bool has_predicate(Relation index, const IndexLayout* layout) {
  HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(RelationGetRelid(index)));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is_null;
  Datum predicate = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indpred, &is_null);
  const char* shown = is_null ? "" : shown_expression(predicate, index->rd_index->indrelid);
  ReleaseSysCache(tuple);
  return strcmp(shown, layout->predicate) == 0 ||
         (layout->older_predicate != nullptr && strcmp(shown, layout->older_predicate) == 0);
}

bool compare_index(Relation index, const IndexLayout* layout) {
  if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_rel->relam != BTREE_AM_OID ||
      index->rd_index->indnkeyatts < layout->least_keys || index->rd_index->indnkeyatts > layout->key_count)
    return false;
  for (int i = 0; i < index->rd_index->indnkeyatts; ++i)
    if (!is_key(index, i, &layout->keys[i])) return false;
  return has_predicate(index, layout);
}

[[noreturn]] void raise_index(const IndexLayout* layout, const char* what) {
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("index wee5_cron.%s %s", layout->name, what),
           errhint("SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'ledger_tables';")));
  pg_unreachable();
}

constexpr IndexKeyLayout kOpenKeys[] = {
    {"transport", nullptr, TEXT_BTREE_FAM_OID, InvalidOid},
    {"split_part(endpoint_path, '?'::text, 1)", "split_part((endpoint_path)::text, '?'::text, 1)", TEXT_BTREE_FAM_OID,
     C_COLLATION_OID},
    {"id", nullptr, INTEGER_BTREE_FAM_OID, InvalidOid}};
constexpr IndexKeyLayout kUnfinishedKeys[] = {{"endpoint_path", nullptr, TEXT_BTREE_FAM_OID, C_COLLATION_OID},
                                              {"id", nullptr, INTEGER_BTREE_FAM_OID, InvalidOid}};

}  // namespace

const IndexLayout kInvocationOpenLayout = {"invocation_open",
                                           kOpenKeys,
                                           lengthof(kOpenKeys),
                                           lengthof(kOpenKeys),
                                           "((finished_at IS NULL) AND (next_attempt_at IS NULL))",
                                           nullptr};
const IndexLayout kInvocationUnfinishedLayout = {"invocation_unfinished",
                                                 kUnfinishedKeys,
                                                 lengthof(kUnfinishedKeys),
                                                 1,
                                                 "((finished_at IS NULL) AND (due_at IS NULL))",
                                                 "(finished_at IS NULL)"};
const IndexLayout kInvocationUnfinishedLaterLayout = {
    "invocation_unfinished_later",
    kUnfinishedKeys,
    lengthof(kUnfinishedKeys),
    lengthof(kUnfinishedKeys),
    "((finished_at IS NULL) AND (due_at IS NOT NULL) AND ((next_attempt_at = due_at) IS NOT TRUE))",
    nullptr};

bool has_only_own_checks(Relation relation, const TableLayout* layout) {
  Verdict* verdict = verdict_of(check_verdicts, layout == &kInvocationLayout ? 0 : 1, RelationGetRelid(relation));
  if (verdict->current) return verdict->passed;
  // Set first, so that an invalidation that arrives during the comparison clears it.
  verdict->current = true;
  verdict->passed = false;
  int level = begin_plain_names();
  bool passed = compare_checks(relation, layout);
  AtEOXact_GUC(true, level);
  verdict->passed = passed;
  return passed;
}

Oid own_index(Relation table, const IndexLayout* layout) {
  Oid oid = get_relname_relid(layout->name, RelationGetNamespace(table));
  if (!OidIsValid(oid) || IndexGetRelation(oid, true) != RelationGetRelid(table)) raise_index(layout, "is missing");
  Relation index = index_open(oid, AccessShareLock);
  bool valid = index->rd_index->indisvalid && index->rd_index->indisready;
  int which = layout == &kInvocationOpenLayout ? 0 : layout == &kInvocationUnfinishedLayout ? 1 : 2;
  Verdict* verdict = verdict_of(index_verdicts, which, oid);
  if (!verdict->current) {
    verdict->current = true;
    verdict->passed = false;
    int level = begin_plain_names();
    bool passed = compare_index(index, layout);
    AtEOXact_GUC(true, level);
    verdict->passed = passed;
  }
  bool same = verdict->passed;
  index_close(index, AccessShareLock);
  if (!valid) raise_index(layout, "is not valid");
  if (!same) raise_index(layout, "differs from the one that the extension created");
  return oid;
}

}  // namespace wee5::pg

// wee5_cron.table_layout(OUT table_name text, OUT column_name text, OUT column_type regtype, OUT read_directly boolean)
WEE5_SQL_FUNCTION(wee5_cron_table_layout) {
  using wee5::pg::ColumnLayout;
  using wee5::pg::TableLayout;
  wee5::pg::materialized_srf(fcinfo);
  ReturnSetInfo* rows = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  int count;
  const TableLayout* layouts = wee5::pg::all_table_layouts(&count);
  for (const TableLayout* layout = layouts; layout < layouts + count; ++layout) {
    for (const ColumnLayout* column = layout->columns; column < layout->columns + layout->column_count; ++column) {
      Datum values[4] = {CStringGetTextDatum(layout->name), CStringGetTextDatum(column->name),
                         ObjectIdGetDatum(column->type), BoolGetDatum(column->read)};
      bool nulls[4] = {false, false, false, false};
      tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
    }
  }
  return static_cast<Datum>(0);
}
