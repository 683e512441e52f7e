#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// The ledger's tables for those who read and write them without a statement: the worker.

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
  kInvocationRequestedBy,
  kInvocationScheduledAt,
  kInvocationFirstSentAt,
  kInvocationNextAttemptAt,
  kInvocationFinishedAt,
  kInvocationDuration,
  kInvocationIdempotencyKey,
  kInvocationResponseContentType,
  kInvocationResponseBody,
  kInvocationResponseTruncated,
  kInvocationTimeout,
  kInvocationExclusive,
  kInvocationColumns
};

struct LedgerTable {
  Relation invocation_relation;
  AttrNumber invocation[kInvocationColumns];
  Oid invocation_key;   // the primary key's index
  Oid invocation_open;  // the index of what is open: transport, route, id
};

// Inside of a transaction that holds the table's lock already.
void open_ledger_table(LedgerTable* table);
void close_ledger_table(LedgerTable* table);

}  // namespace wee5::pg
