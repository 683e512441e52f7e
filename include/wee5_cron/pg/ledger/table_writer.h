#pragma once

#include "wee5_cron/pg/ledger/table_layout.h"

namespace wee5::pg {

// Writes rows of a table and its indexes without a statement, as the executor would. For the worker, since most writes
// are its results. Only for a table to which no user added anything that only the executor can obey.
struct TableWriter {
  Relation relation;
  EState* estate;
  int index_count;
  Relation* indexes;
  IndexInfo** index_infos;
  bool* hint_unchanged;  // for each index: whether our updates leave its keys as they are
};

// A trigger for DELETE alone does not count: nothing is deleted without a statement.
bool has_insert_trigger(const TriggerDesc* triggers);
bool has_update_trigger(const TriggerDesc* triggers);

// Whether direct writing obeys everything that is defined on the table: there is no trigger for INSERT or UPDATE,
// no rule, foreign CHECK constraint, exclusion constraint, partition bound, policy or generated column, and the current
// user has `privileges`.
bool can_write_directly(Relation relation, const TableLayout* layout, AclMode privileges);
// `changed`: the columns that updates will change (attribute numbers), `count` of them.
void begin_writing(TableWriter* writer, Relation relation, const AttrNumber* changed, int count);
// Inserts the index entries of the row in the slot. Raises 23505 for a duplicate key.
void insert_index_entries(TableWriter* writer, TupleTableSlot* slot, bool is_update, NewIndexEntries which);
void end_writing(TableWriter* writer);

}  // namespace wee5::pg
