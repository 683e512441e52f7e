#include "wee5_cron/pg/ledger_table.h"

namespace wee5::pg {

namespace {

// In the order of InvocationColumn.
const char* const kInvocationNames[kInvocationColumns] = {"id",
                                                          "job_name",
                                                          "endpoint_path",
                                                          "method",
                                                          "body",
                                                          "headers",
                                                          "url",
                                                          "transport",
                                                          "status",
                                                          "reason",
                                                          "error",
                                                          "hint",
                                                          "http_status",
                                                          "attempts",
                                                          "requested_by",
                                                          "scheduled_at",
                                                          "first_sent_at",
                                                          "next_attempt_at",
                                                          "finished_at",
                                                          "duration",
                                                          "idempotency_key",
                                                          "response_content_type",
                                                          "response_body",
                                                          "response_truncated",
                                                          "timeout",
                                                          "exclusive"};

void missing(const char* what, const char* name) {
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("wee5_cron's %s \"%s\" is missing", what, name),
                  errhint("Somebody changed the extension's own objects: make it again as it was, or restore it.")));
}

}  // namespace

void open_ledger_table(LedgerTable* table) {
  Oid schema = get_namespace_oid("wee5_cron", false);
  Oid relation = get_relname_relid("invocation", schema);
  if (!OidIsValid(relation)) missing("table", "invocation");
  for (int i = 0; i < kInvocationColumns; ++i) {
    table->invocation[i] = get_attnum(relation, kInvocationNames[i]);
    if (table->invocation[i] == InvalidAttrNumber) missing("column", kInvocationNames[i]);
  }
  table->invocation_relation = table_open(relation, RowExclusiveLock);
  table->invocation_key = primary_key_index(table->invocation_relation);
  if (!OidIsValid(table->invocation_key)) missing("index", "invocation_pkey");
  table->invocation_open = get_relname_relid("invocation_open", schema);
  if (!OidIsValid(table->invocation_open)) missing("index", "invocation_open");
}

// The lock stays until the transaction ends.
void close_ledger_table(LedgerTable* table) { table_close(table->invocation_relation, NoLock); }

}  // namespace wee5::pg
