#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/call/call_address.h"

namespace wee5::pg {

// One attempt of a call, complete, to be handed to pg_net. Texts UTF-8, palloc'd.
struct PgNetCall {
  int64 id;
  int attempt;
  const char* idempotency_key;
  const char* job_name;      // NULL: none
  const char* scheduled_at;  // RFC 3339; NULL: none
  const char* url;
  const char* secret;
  SecretHeaderTexts headers;
  int64 previous_until_us;  // Unix time until which the secret counts, which is the previous one; 0: the present one
  const char* method;
  Datum body;                // jsonb; 0: none
  const HeaderList* custom;  // the caller's own headers
  int timeout_ms;
};

// Puts the request into pg_net's queue, as part of this transaction, and remembers which call it carries.
void hand_to_pg_net(const PgNetCall* call);

// Whether max_in_flight of the path's policy lets a call go to pg_net now. Otherwise harvest() hands it over later.
bool may_hand_over(const char* path);

// Where no worker of ours harvests, a session that needs to know about a call records its answer itself, and hands the
// call over again if a retry is due. Returns whether it could have.
bool record_pg_net_answer(int64 invocation_id);

// The same for a session that waits. It keeps only a result that ends the call: a retry is sent when its transaction
// commits, so a session that handed one over would wait for itself. Returns false if an answer is there that does not
// end the call; harvest() records it.
bool record_end_on_pg_net(int64 invocation_id);

}  // namespace wee5::pg
