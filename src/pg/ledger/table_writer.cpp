#include "wee5_cron/pg/ledger/table_writer.h"

namespace wee5::pg {

namespace {

bool is_ordinary_table(Relation relation) {
  Form_pg_class form = relation->rd_rel;
  return form->relkind == RELKIND_RELATION && form->relam == HEAP_TABLE_AM_OID && !form->relispartition &&
         !form->relhassubclass && relation->rd_rules == nullptr && !has_insert_trigger(relation->trigdesc) &&
         !has_update_trigger(relation->trigdesc);
}

bool computes_columns(Relation relation) {
  const TupleConstr* constraints = RelationGetDescr(relation)->constr;
  return constraints != nullptr && has_generated_columns(constraints);
}

bool has_plain_indexes(Relation relation) {
  List* oids = RelationGetIndexList(relation);
  bool plain = true;
  ListCell* cell;
  foreach (cell, oids) {
    Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
    plain = plain && !index->rd_index->indisexclusion && index->rd_index->indimmediate;
    index_close(index, NoLock);
  }
  list_free(oids);
  return plain;
}

}  // namespace

bool has_insert_trigger(const TriggerDesc* triggers) {
  return triggers != nullptr && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
                                 triggers->trig_insert_instead_row || triggers->trig_insert_before_statement ||
                                 triggers->trig_insert_after_statement || triggers->trig_insert_new_table);
}

bool has_update_trigger(const TriggerDesc* triggers) {
  return triggers != nullptr &&
         (triggers->trig_update_before_row || triggers->trig_update_after_row || triggers->trig_update_instead_row ||
          triggers->trig_update_before_statement || triggers->trig_update_after_statement ||
          triggers->trig_update_old_table || triggers->trig_update_new_table);
}

bool can_write_directly(Relation relation, const TableLayout* layout, AclMode privileges) {
  Oid oid = RelationGetRelid(relation);
  return is_ordinary_table(relation) && !computes_columns(relation) && has_only_own_checks(relation, layout) &&
         check_enable_rls(oid, InvalidOid, true) != RLS_ENABLED &&
         pg_class_aclmask(oid, GetUserId(), privileges, ACLMASK_ALL) == privileges && has_plain_indexes(relation);
}

void begin_writing(TableWriter* writer, Relation relation, const AttrNumber* changed, int count) {
  writer->relation = relation;
  writer->estate = CreateExecutorState();
  List* oids = RelationGetIndexList(relation);
  Size size = static_cast<Size>(list_length(oids));
  writer->index_count = 0;
  writer->indexes = static_cast<Relation*>(palloc(sizeof(Relation) * size));
  writer->index_infos = static_cast<IndexInfo**>(palloc(sizeof(IndexInfo*) * size));
  writer->hint_unchanged = static_cast<bool*>(palloc(sizeof(bool) * size));
  ListCell* cell;
  foreach (cell, oids) {
    Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
    IndexInfo* info = BuildIndexInfo(index);
    bool unchanged = info->ii_Expressions == NIL;
    for (int i = 0; i < info->ii_NumIndexKeyAttrs; ++i)
      for (int j = 0; j < count; ++j) unchanged = unchanged && info->ii_IndexAttrNumbers[i] != changed[j];
    writer->indexes[writer->index_count] = index;
    writer->index_infos[writer->index_count] = info;
    writer->hint_unchanged[writer->index_count] = unchanged;
    ++writer->index_count;
  }
}

namespace {

// Whether the index gets an entry for the row that `context` scans.
bool takes_entry(IndexInfo* info, EState* estate, ExprContext* context, NewIndexEntries which) {
  if (!info->ii_ReadyForInserts) return false;
  // A heap-only tuple has no entry of its own, but a summary of its block has to cover it.
  if (which == NewIndexEntries::kSummaries && !is_summarizing(info)) return false;
  if (info->ii_Predicate == NIL) return true;
  if (info->ii_PredicateState == nullptr) info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, estate);
  return ExecQual(info->ii_PredicateState, context);
}

}  // namespace

void insert_index_entries(TableWriter* writer, TupleTableSlot* slot, bool is_update, NewIndexEntries which) {
  ExprContext* context = GetPerTupleExprContext(writer->estate);
  context->ecxt_scantuple = slot;
  for (int i = 0; i < writer->index_count; ++i) {
    Relation index = writer->indexes[i];
    IndexInfo* info = writer->index_infos[i];
    if (!takes_entry(info, writer->estate, context, which)) continue;
    Datum values[INDEX_MAX_KEYS];
    bool nulls[INDEX_MAX_KEYS];
    FormIndexDatum(info, slot, writer->estate, values, nulls);
    index_insert(index, values, nulls, &slot->tts_tid, writer->relation,
                 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, is_update && writer->hint_unchanged[i], info);
  }
  ResetPerTupleExprContext(writer->estate);
}

void end_writing(TableWriter* writer) {
  for (int i = 0; i < writer->index_count; ++i) {
    finish_index_inserts(writer->indexes[i], writer->index_infos[i]);
    index_close(writer->indexes[i], NoLock);
  }
  FreeExecutorState(writer->estate);
}

}  // namespace wee5::pg
