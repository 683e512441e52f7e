#pragma once

#include "wee5_cron/pg/ledger/table_layout.h"

namespace wee5::pg {

// wee5_cron.invocation, for the worker, which reads and writes it without statements.
struct LedgerTable {
  Relation invocation_relation;
  AttrNumber
      invocation[kInvocationColumns];  // InvalidAttrNumber: only statements read the column, or the SQL is earlier
  Oid invocation_key;                  // the primary key's index, on id
  Oid invocation_open;                 // the index of open calls: transport, route, id
};

// Call it in a transaction that already holds the table's lock. Raises 55000 with the name of the column, index or
// table that keeps the worker from reading the ledger.
void open_ledger_table(LedgerTable* table);
void close_ledger_table(LedgerTable* table);

// The checks of the table itself; `numbers` has kInvocationColumns places.
void check_ledger_columns(Relation invocation, AttrNumber* numbers);

// The index of the table's primary key where its first column is `column`; InvalidOid: there is none.
Oid primary_key_on(Relation relation, AttrNumber column);

// For code that takes values from the result of a statement: raises if a column has changed.
void require_ledger_columns();

}  // namespace wee5::pg
