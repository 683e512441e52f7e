#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/call/endpoint_policy.h"

namespace wee5::pg {

// A call that somebody asks for. Texts UTF-8, palloc'd. What is left open is the policy's to choose.
struct CallRequest {
  char* path;
  char* method;                // NULL: left open; upper case when the call is made
  Datum body;                  // jsonb; 0: left open
  Jsonb* headers;              // NULL: left open
  Interval* timeout;           // NULL: left open
  int timeout_ms;              // filled in; 0: the default
  char* job_name;              // run_now(): in the name of this job; else NULL
  Oid role;                    // the job's owner, whose missed run is made up for; InvalidOid: a call of session_user
  char* schedule;              // of that job, in the server's encoding; NULL: not known
  EndpointRow policy;          // filled in
  bool as_it_was;              // retry(): nothing is left open
  pg_uuid_t* idempotency_key;  // NULL: a new one
  TimestampTz scheduled_at;
  bool has_scheduled_at;
  TimestampTz due_at;  // in the future, or the start of the transaction: due_time()
  bool has_due_at;
  char* key;  // in the server's encoding; NULL: none
};

// Checks the request, writes the call's row, and hands the call to its transport: pg_net now, the worker at commit.
// Returns the id. A call that overlaps with another one, or for which a setting is missing, becomes a `skipped` row.
int64 make_call(CallRequest* request);

}  // namespace wee5::pg
