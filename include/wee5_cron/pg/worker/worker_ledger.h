#pragma once

#include "wee5_cron/core/endpoint_path.hpp"
#include "wee5_cron/delivery/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/registry/worker_registry.h"

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
  int64 first_begun_us;  // unix time; 0: no attempt was begun yet
  bool cut_off;          // the attempt before was on the wire when the worker or the server ended
};

// How far a route was read: Dispatcher::set_read().
struct RouteRead {
  char* route;
  int64 from;
  int64 next;  // kNothing: to its end
};

struct DueRows {
  DueRow* rows;
  int count;
  int capacity;
  Size bytes;
  XLogRecPtr committed_at;  // the log position by which all of them are committed: to be flushed before they are sent
  int skipped;              // ended instead: they would have overlapped with others, or cannot be read
  bool held_back;           // or should have, and somebody holds their rows locked
  RouteRead* reads;
  int read_count;
  int read_capacity;
};

// What of the ledger is still to be looked at, beside the routes of which the dispatcher knows that they have more.
//
// A row that is due stands in exactly one of these places: it is held in memory; its id was announced by the commit
// that made it; it lies in what is left of the round under way, or of the next one; or its route is known to have more,
// and it lies behind the position from which that route is read on. So no read begins at the front of the index again,
// where rows lie that ended long ago and cannot be removed while somebody holds an old snapshot. And since an id that
// commits late is announced by its own commit, it does not matter that positions have moved beyond it.
struct Outlook {
  Announcements announced;  // its look_from: a round from this id on is wanted
  bool under_way;           // a round through all routes
  int64 round_from;         // it leaves out ids below this one
  bool at_begin;            // where it goes on: at the begin of the index, or at this route and id
  char at_route[core::kMaxEndpointPathBytes * 4 + 1];
  int64 at_id;
};
void ask_for_round(Outlook* outlook, int64 from);
void announce(Outlook* outlook, IdRange range);
bool something_new(const Outlook* outlook);

// Of results that are booked: an HTML page's hint says so where its route spoke JSON before. No statement where no page
// came.
void note_html_pages(const delivery::Result* results, int count);
// status = sending for calls that are on the wire for longer than a moment.
void mark_sending(const delivery::OnTheWire* calls, int count);
// The same, before the call is sent, and only for those that are there and have not ended; *claimed: their ids, in
// `context`.
void claim(const delivery::OnTheWire* calls, int count, MemoryContext context, int64** claimed, int* claimed_count);
// Calls that wait for their next attempt and whose time has come join the others, and are announced to `outlook`. True
// where there may be more.
bool let_due_retries_take_their_turn(Outlook* outlook);
// Ends the calls that cancel() was asked for and nobody holds; *held: those that the dispatcher holds, which has to
// give them up itself, in `context`. kUnsettled: some have not ended yet; kMore: and there may be others to look at.
enum class CancelsLeft { kNone, kUnsettled, kMore };
CancelsLeft give_up_calls(const delivery::Dispatcher* dispatcher, MemoryContext context, int64** held, int* held_count);
// When the next of those that wait is due; 0: none waits.
TimestampTz next_attempt_at();
// Reads due calls, a limited number a time: announced ones, then routes that run low, then on with the round; each
// route up to the room that the dispatcher has for it, leaving out what it holds. `outlook` says what is left. An
// attempt that a crash or a restart cut off is booked as lost on the way. `careful`: a row that cannot be read is
// ended, instead of an ERROR.
void read_due(delivery::Dispatcher* dispatcher, Outlook* outlook, bool careful, MemoryContext context, DueRows* due);

// Whether a call of this transport has not ended.
bool calls_open_on(const char* transport);

// Calls that pg_net carries; and calls that are to be handed to it again by now.
bool pg_net_calls_outstanding();
bool pg_net_calls_due();
void harvest_pg_net();
// Looks up the runs of calls by pg_cron that have ended; whether one is left whose run is not known yet.
void bind_cron_runs();
int64 watch_jobs();  // counts and makes up for missed runs; when to look again, 0: never
bool cron_runs_unbound();

}  // namespace wee5::pg
