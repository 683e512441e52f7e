#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// Writes rows of a table and its indexes without a statement, as the executor would: for the worker, whose results are
// the bulk of all writes. Only for a table that nobody has given triggers, constraints or the like of his own.
struct TableWriter {
  Relation relation;
  EState* estate;
  int index_count;
  Relation* indexes;
  IndexInfo** index_infos;
  bool* hint_unchanged;  // of an index that an update of ours leaves as it is
};

// `checks`: the CHECK constraints that the table has by itself; what is written obeys them.
bool can_write_directly(Relation relation, int checks);
// `changed`: the columns that updates will change (attribute numbers), `count` of them.
void begin_writing(TableWriter* writer, Relation relation, const AttrNumber* changed, int count);
// Index entries for the row that stands in the slot. Raises 23505 for a duplicate key.
void insert_index_entries(TableWriter* writer, TupleTableSlot* slot, bool is_update);
void end_writing(TableWriter* writer);

}  // namespace wee5::pg
