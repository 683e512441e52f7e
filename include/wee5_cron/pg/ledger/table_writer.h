#pragma once

#include "wee5_cron/pg/ledger/table_layout.h"

namespace wee5::pg {

// Writes rows of a table and its indexes without a statement, as the executor would: for the worker, whose results are
// the bulk of all writes. Only for a table to which a user added nothing that the executor alone knows how to obey.
struct TableWriter {
  Relation relation;
  EState* estate;
  int index_count;
  Relation* indexes;
  IndexInfo** index_infos;
  bool* hint_unchanged;  // of an index that an update of ours leaves as it is
};

// Whether what is written obeys everything that stands on the table: no trigger, rule, CHECK constraint but its own,
// exclusion constraint, partition bound, policy, generated column or missing privilege. `privileges`: that the current
// user needs.
bool can_write_directly(Relation relation, const TableLayout* layout, AclMode privileges);
// `changed`: the columns that updates will change (attribute numbers), `count` of them.
void begin_writing(TableWriter* writer, Relation relation, const AttrNumber* changed, int count);
// Index entries for the row that stands in the slot. Raises 23505 for a duplicate key.
void insert_index_entries(TableWriter* writer, TupleTableSlot* slot, bool is_update, NewIndexEntries which);
void end_writing(TableWriter* writer);

}  // namespace wee5::pg
