#pragma once

#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/compat.h"
#include "wee5_cron/pg/json_headers.h"

namespace wee5::pg {

// The worker's statements. All of them run inside the worker's transaction, with an open SPI connection.

// A due call as it was read. Texts UTF-8, palloc'd in the context that was current before SPI_connect.
struct DueRow {
  int64 id;
  int attempt;
  char* endpoint_path;
  char* method;
  char* body;  // NULL: none
  HeaderList headers;
  bool headers_unreadable;  // somebody wrote them by hand, and not as an object of strings
  int64 timeout_ms;         // 0: the default
  char* requested_by;
  char* job_name;      // NULL: none
  char* scheduled_at;  // RFC 3339; NULL: none
  char* idempotency_key;
};

struct DueRows {
  DueRow* rows;
  int count;
  int capacity;
  XLogRecPtr committed_at;  // the log position by which all of them are committed: to be flushed before they are sent
  // Of each route that was looked at: whether there is more of it than was read.
  char** routes;
  bool* routes_have_more;
  int route_count;
  bool from_now;     // began a new round: what was known about routes having more is void
  bool routes_left;  // not all routes were looked at: the next read goes on from here
};

// Books results: invocation and attempt rows. Rows that are gone meanwhile are skipped.
void record_results(const delivery::Result* results, int count);
// status = sending for calls that are on the wire for longer than a moment.
void mark_sending(const delivery::OnTheWire* calls, int count);
// Reads due calls route by route, each up to the room that the dispatcher has for it, leaving out what it holds.
// `from_now`: something new may be anywhere, so all routes are to be looked at again. An attempt that a crash or a
// restart cut off is booked as lost on the way.
void read_due(delivery::Dispatcher* dispatcher, bool from_now, MemoryContext context, DueRows* due);

bool pg_net_calls_outstanding();
void harvest_pg_net();
// Looks up the runs of calls by pg_cron that have ended; whether one is left whose run is not known yet.
void bind_cron_runs();
bool cron_runs_unbound();

}  // namespace wee5::pg
