#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/worker/worker_ledger.h"

namespace wee5::pg {

// A row of wee5_cron.invocation that a scan has reached.
struct InvocationRow {
  const LedgerTable* table;
  TupleTableSlot* tuple;
};

Datum value_of(InvocationRow row, int column, bool* is_null);
// The value of a column that the extension declares NOT NULL. A user may have dropped the constraint: then an ERROR
// names the column.
Datum required_value(InvocationRow row, int column);

// In the server's encoding. The route is the path without its query.
char* path_of(InvocationRow row);
char* route_of(InvocationRow row);
const char* role_of(InvocationRow row);

// The transaction that inserted the row. InvalidTransactionId if the row is frozen: its xid may belong to another
// transaction by now.
TransactionId inserting_transaction(InvocationRow row);

// Copies the row into *due, with texts in the current memory context. Raises an ERROR if the row cannot be read.
void copy_due_row(InvocationRow row, DueRow* due);
// How much memory the copy takes, about.
Size bytes_of(const DueRow* due);

// Whether the ERROR is about the contents of a row: bad, missing or oversized data. Trouble of the server's own, such
// as a lack of memory or a lock, is not.
bool is_about_the_row(const ErrorData* error);

}  // namespace wee5::pg
