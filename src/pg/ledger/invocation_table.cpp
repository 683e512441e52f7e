#include "wee5_cron/pg/ledger/invocation_table.h"

namespace wee5::pg {

namespace {

void require_readable_table(Relation relation) {
  if (relation->rd_rel->relkind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("wee5_cron.invocation is not an ordinary table of the access method heap"),
                    errhint("Restore the original table.")));
  refuse_hidden_rows(relation);
}

Oid invocation_table() {
  Oid relation = get_relname_relid("invocation", get_namespace_oid("wee5_cron", false));
  if (!OidIsValid(relation))
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the table wee5_cron.invocation is missing"),
             errhint("If you renamed or moved the table, undo that.")));
  return relation;
}

}  // namespace

Oid primary_key_on(Relation relation, AttrNumber column) {
  Oid oid = primary_key_index(relation);
  if (!OidIsValid(oid)) return InvalidOid;
  Relation index = index_open(oid, AccessShareLock);
  bool fits = index->rd_index->indkey.values[0] == column && index->rd_rel->relam == BTREE_AM_OID;
  // The lock is not kept: with a TRUNCATE, which locks the table first, it would deadlock.
  index_close(index, AccessShareLock);
  return fits ? oid : InvalidOid;
}

void check_ledger_columns(Relation invocation, AttrNumber* numbers) {
  require_readable_table(invocation);
  readable_columns(invocation, &kInvocationLayout, numbers);
}

void open_ledger_table(LedgerTable* table) {
  table->invocation_relation = table_open(invocation_table(), RowExclusiveLock);
  check_ledger_columns(table->invocation_relation, table->invocation);
  table->invocation_key = primary_key_on(table->invocation_relation, table->invocation[kInvocationId]);
  if (!OidIsValid(table->invocation_key))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("wee5_cron.invocation has no primary key on its column \"id\""),
                    errhint("ALTER TABLE wee5_cron.invocation ADD PRIMARY KEY (id);")));
  table->invocation_open = own_index(table->invocation_relation, &kInvocationOpenLayout);
}

// The lock stays until the transaction ends.
void close_ledger_table(LedgerTable* table) { table_close(table->invocation_relation, NoLock); }

void require_ledger_columns() {
  Relation relation = table_open(invocation_table(), AccessShareLock);
  AttrNumber numbers[kInvocationColumns];
  readable_columns(relation, &kInvocationLayout, numbers);
  table_close(relation, NoLock);
}

}  // namespace wee5::pg
