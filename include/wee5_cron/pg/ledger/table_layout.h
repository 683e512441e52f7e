#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// The extension's tables, in one place, as its script creates them. C++ reads and writes some of them without a
// statement, so it must notice if a user alters them. Otherwise it would read a column as the wrong type.

struct ColumnLayout {
  const char* name;
  Oid type;
  bool not_null;
  bool read;  // without a statement, or its value is taken from a statement's result
};

struct TableLayout {
  const char* name;
  const ColumnLayout* columns;
  int column_count;
  // The expressions of its CHECK constraints, as pg_get_expr() shows them.
  const char* const* checks;
  int check_count;
};

// In the order of kInvocationLayout.
enum InvocationColumn {
  kInvocationId,
  kInvocationJobName,
  kInvocationEndpointPath,
  kInvocationMethod,
  kInvocationBody,
  kInvocationHeaders,
  kInvocationUrl,
  kInvocationTransport,
  kInvocationStatus,
  kInvocationReason,
  kInvocationError,
  kInvocationHint,
  kInvocationHttpStatus,
  kInvocationAttempts,
  kInvocationRequestedAt,
  kInvocationRequestedBy,
  kInvocationScheduledAt,
  kInvocationFirstSentAt,
  kInvocationNextAttemptAt,
  kInvocationFinishedAt,
  kInvocationDuration,
  kInvocationCronRunId,
  kInvocationIdempotencyKey,
  kInvocationResponseContentType,
  kInvocationResponseBody,
  kInvocationResponseTruncated,
  kInvocationTimeout,
  kInvocationExclusive,
  kInvocationDueAt,
  kInvocationKey,
  kInvocationColumns
};

// In the order of kAttemptLayout.
enum AttemptColumn {
  kAttemptInvocationId,
  kAttemptAttempt,
  kAttemptStartedAt,
  kAttemptFinishedAt,
  kAttemptHttpStatus,
  kAttemptReason,
  kAttemptError,
  kAttemptDnsMs,
  kAttemptConnectMs,
  kAttemptTlsMs,
  kAttemptFirstByteMs,
  kAttemptTotalMs,
  kAttemptColumns
};

// In the order of kEndpointLayout.
enum EndpointColumn {
  kEndpointPath,
  kEndpointMethod,
  kEndpointBody,
  kEndpointHeaders,
  kEndpointTimeout,
  kEndpointMaxAttempts,
  kEndpointRetryOn,
  kEndpointRetryDelays,
  kEndpointRetryWindow,
  kEndpointOverlap,
  kEndpointAlertAfter,
  kEndpointNote,
  kEndpointCompleteWithin,
  kEndpointKeepSucceeded,
  kEndpointKeepFailed,
  kEndpointMaxInFlight,
  kEndpointMaxResponseBytes,
  kEndpointColumns
};

extern const TableLayout kInvocationLayout;
extern const TableLayout kAttemptLayout;
extern const TableLayout kEndpointLayout;

// All tables of the extension, including those that only SQL reads. Sets *count.
const TableLayout* all_table_layouts(int* count);

// The number of a column that can be read as the layout says. A domain over the type, and varchar instead of text, have
// the same storage. Raises 55000 with the column's name if it is missing or has another type.
AttrNumber readable_column(Relation relation, const TableLayout* layout, int column);
AttrNumber readable_column_named(Relation relation, const TableLayout* layout, const char* name);
// The same for all columns that are read; `numbers` has a place for each column of the layout.
void readable_columns(Relation relation, const TableLayout* layout, AttrNumber* numbers);

// The number of a column that can be written directly, as the layout says. InvalidAttrNumber if the column is missing,
// or if only a statement writes it correctly: its type has bounds, it is generated, or it must not be NULL.
AttrNumber writable_column(TupleDesc descriptor, const ColumnLayout* column);

// Whether the table has no CHECK constraint but those of its layout.
bool has_only_own_checks(Relation relation, const TableLayout* layout);

// Raises 55000 if row-level security would hide rows of the table from the current user.
void refuse_hidden_rows(Relation relation);

// One key of an index: a column's name, or an expression as pg_get_indexdef() shows it. `other_form` is a second way in
// which it may be shown; NULL: none.
struct IndexKeyLayout {
  const char* key;
  const char* other_form;
  Oid family;     // of its operators
  Oid collation;  // InvalidOid: any
};
struct IndexLayout {
  const char* name;
  const IndexKeyLayout* keys;
  int key_count;
  int least_keys;  // the number of keys in an older version of the extension
  // As pg_get_expr() shows it. The second form is that of an older version; NULL: there is none.
  const char* predicate;
  const char* older_predicate;
};

extern const IndexLayout kInvocationOpenLayout;
extern const IndexLayout kInvocationUnfinishedLayout;
extern const IndexLayout kInvocationUnfinishedLaterLayout;

// The index of that name on the table. Raises 55000 with its name if it is missing, invalid or different.
Oid own_index(Relation table, const IndexLayout* layout);

}  // namespace wee5::pg
