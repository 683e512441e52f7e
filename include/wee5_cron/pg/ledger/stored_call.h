#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// The request of a call, as its row has it. Palloc'd; texts in the server's encoding.
struct StoredCall {
  char* endpoint_path;
  char* method;
  Datum body;         // jsonb; 0: none
  Jsonb* headers;     // NULL: none
  Interval* timeout;  // NULL: the default
  char* requested_by;
  char* job_name;  // NULL: none
  bool has_scheduled_at;
  TimestampTz scheduled_at;
  pg_uuid_t* idempotency_key;
  int attempts;
  bool finished;
  bool on_pg_net;
};

// Reads it; false where there is no such call.
bool read_stored_call(int64 id, StoredCall* call);

}  // namespace wee5::pg
