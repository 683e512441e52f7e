#pragma once

#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

// The pg_net of this database. The answer is the same for every caller.
struct PgNetInfo {
  Oid extension;      // InvalidOid: not installed
  bool worker_lives;  // its background worker runs for this database
};
void find_pg_net(PgNetInfo* info);

// Chooses the transport for a call by the setting wee5_cron.transport and by what is installed. Raises 55000 if that
// transport is not available, 22023 if pg_net cannot send such a request.
Transport choose_transport(const char* method, bool has_body);

// A request for pg_net.
struct PgNetRequest {
  const char* method;
  const char* url;     // UTF-8
  HeaderList headers;  // all of them, the bearer included
  Datum body;          // jsonb; 0: none
  int timeout_ms;
};
// Hands the request to pg_net's public function, in the caller's transaction, and returns pg_net's id. Raises 55000 if
// pg_net's queue table has a trigger, rule or policy, which would run with our rights and see the bearer.
int64 enqueue_with_pg_net(const PgNetRequest* request);

}  // namespace wee5::pg
