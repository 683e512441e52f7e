#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// The columns of wee5_cron.invocation that a caller gives. The others get their defaults.
enum GivenColumn {
  kGivenJobName,
  kGivenEndpointPath,
  kGivenMethod,
  kGivenBody,
  kGivenHeaders,
  kGivenUrl,
  kGivenTransport,
  kGivenStatus,
  kGivenReason,
  kGivenError,
  kGivenHint,
  kGivenScheduledAt,
  kGivenFinishedAt,
  kGivenTimeout,
  kGivenExclusive,
  kGivenNextAttemptAt,
  kGivenDueAt,  // the first column that the SQL of 0.1.0 lacks
  kGivenKey,
  kGivenColumns
};
struct GivenColumnLayout {
  const char* name;
  Oid type;
};
extern const GivenColumnLayout kGivenLayout[kGivenColumns];  // in the order of GivenColumn

// Writes a row of the ledger as INSERT does, with defaults, constraints and indexes, but without a statement, in half
// the time. Returns false if this needs a statement: a user gave the table a trigger, a rule, row security, a generated
// column or anything else that runs code that is not Postgres's own, or revoked a privilege.
// `given_key` NULL: the column's default.
bool insert_invocation_directly(const Datum* values, const bool* nulls, const pg_uuid_t* given_key, int64* id,
                                pg_uuid_t* idempotency_key);

}  // namespace wee5::pg
