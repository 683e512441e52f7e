#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

inline constexpr int kUuidTextBytes = 37;

// The row of a call as its caller writes it. Texts are in the server's encoding; NULL is NULL.
struct NewInvocation {
  int64 id;  // filled in
  const char* job_name;
  const char* endpoint_path;
  const char* method;
  Datum body;     // jsonb; 0: NULL
  Datum headers;  // jsonb
  const char* url;
  const char* transport;
  const char* status;  // "queued", or "skipped" with reason, error and hint
  const char* reason;
  const char* error;
  const char* hint;
  const Interval* timeout;
  bool has_scheduled_at;
  TimestampTz scheduled_at;
  const char* exclusive;  // overlap.h
  bool has_next_attempt_at;
  TimestampTz next_attempt_at;
  const pg_uuid_t* idempotency_key;  // NULL: the column's default, a random one
  bool has_due_at;
  TimestampTz due_at;
  const char* key;
};

// Writes the row. Returns its id and, where asked for, its idempotency key as text (kUuidTextBytes).
int64 insert_invocation(const NewInvocation* row, char* idempotency_key);
// The id of the call that this process wrote last, in whatever transaction; 0: none.
int64 last_inserted_call();
// The backend of the pg_cron run that made the call: bind_cron_runs() finds the run by it later.
void insert_cron_caller(int64 invocation_id, int pid);

}  // namespace wee5::pg
