#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

inline constexpr int kUuidTextBytes = 37;

// A row of wee5_cron.invocation as a caller writes it; texts in the server's encoding, NULL: NULL.
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
};

// Writes the row; returns its id and, where asked for, its idempotency key as text (kUuidTextBytes).
int64 insert_invocation(const NewInvocation* row, char* idempotency_key);
// The id of the call that this process wrote last, in whatever transaction; 0: none.
int64 last_inserted_call();
void insert_pg_net_request(int64 invocation_id, int64 request_id);
// Where no worker of ours harvests, a call on pg_net is booked by whoever wants to know of it: true where that was
// tried.
bool book_on_pg_net(int64 invocation_id);
void insert_cron_caller(int64 invocation_id, int pid);

// A time as RFC 3339 in UTC, palloc'd: 2026-01-31T12:30:00Z.
char* rfc3339(TimestampTz time);

}  // namespace wee5::pg
