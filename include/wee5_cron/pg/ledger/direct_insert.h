#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// The columns of wee5_cron.invocation that a caller gives, in the order of their values; the others get their defaults.
struct GivenColumn {
  const char* name;
  Oid type;
};
inline constexpr int kGivenColumns = 16;
extern const GivenColumn kGivenColumn[kGivenColumns];

// Writes a row of the ledger as INSERT does, without a statement: with its defaults, constraints and indexes, in half
// the time. False where only a statement can do it right: somebody gave the table a trigger, a rule, row security, a
// generated column or whatever else runs code that is not Postgres's own, or took a privilege away. `given_key` NULL:
// the column's default.
bool insert_invocation_directly(const Datum* values, const bool* nulls, const pg_uuid_t* given_key, int64* id,
                                pg_uuid_t* idempotency_key);

}  // namespace wee5::pg
