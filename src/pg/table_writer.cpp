#include "wee5_cron/pg/table_writer.h"

namespace wee5::pg {

bool can_write_directly(Relation relation, int checks) {
  if (relation->rd_rel->relkind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID) return false;
  if (relation->trigdesc != nullptr || relation->rd_rel->relhasrules || relation->rd_rel->relforcerowsecurity ||
      relation->rd_rel->relhassubclass)
    return false;
  const TupleConstr* constraints = RelationGetDescr(relation)->constr;
  if (constraints == nullptr) return checks == 0;
  return constraints->num_check == checks && !has_generated_columns(constraints);
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

void insert_index_entries(TableWriter* writer, TupleTableSlot* slot, bool is_update) {
  ExprContext* context = GetPerTupleExprContext(writer->estate);
  context->ecxt_scantuple = slot;
  for (int i = 0; i < writer->index_count; ++i) {
    Relation index = writer->indexes[i];
    IndexInfo* info = writer->index_infos[i];
    if (!info->ii_ReadyForInserts) continue;
    if (info->ii_Predicate != NIL) {
      if (info->ii_PredicateState == nullptr)
        info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, writer->estate);
      if (!ExecQual(info->ii_PredicateState, context)) continue;
    }
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
