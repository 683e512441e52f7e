#pragma once

#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

// pg_net as it is installed in this database, judged with nobody's eyes in particular: the same for every caller.
struct PgNetInfo {
  Oid extension;  // InvalidOid: not installed
  bool worker_lives;
};
void find_pg_net(PgNetInfo* info);

// The transport for a call: the setting wee5_cron.transport, and what is there. Raises 55000 where the chosen one
// cannot carry the call.
Transport choose_transport(const char* method, bool has_body);

// A request for pg_net, in the caller's transaction.
struct PgNetRequest {
  const char* method;
  const char* url;     // UTF-8
  HeaderList headers;  // all of them, the bearer included
  Datum body;          // jsonb; 0: none
  int timeout_ms;
};
// Hands the request to pg_net's public function; returns pg_net's id. Raises 55000 where pg_net's queue table has a
// trigger, rule or policy: it would run with our rights and see the bearer.
int64 enqueue_with_pg_net(const PgNetRequest* request);

}  // namespace wee5::pg
