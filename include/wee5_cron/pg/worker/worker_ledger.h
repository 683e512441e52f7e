#pragma once

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/boundary/json_headers.h"
#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

// The worker's statements. All of them run inside the worker's transaction, with an open SPI connection.

// A due call as it was read. Texts are UTF-8, in the memory context that was current before SPI_connect.
struct DueRow {
  int64 id;
  int attempt;
  char* endpoint_path;
  char* method;
  char* body;  // NULL: none
  HeaderList headers;
  bool headers_unreadable;  // the column holds something else than an object of strings
  int64 timeout_ms;         // 0: the default
  char* requested_by;
  char* job_name;      // NULL: none
  char* scheduled_at;  // RFC 3339; NULL: none
  char* idempotency_key;
  int64 first_begun_us;  // Unix time; 0: no attempt was begun yet
  bool cut_off;          // the previous attempt was in flight when the worker or the server ended
};

// How far a route was read, for Dispatcher::set_read().
struct RouteRead {
  char* route;
  int64 from;
  int64 next;  // kNothing: to its end
  int64 end;   // of the refill; kNothing: it had none
};

// Calls that have ended in the ledger while the dispatcher has them, or gets them by this turn.
struct EndedCalls {
  MemoryContext context;
  int64* ids;
  int count;
  int capacity;
};

struct DueRows {
  DueRow* rows;
  int count;
  int capacity;
  Size bytes;
  XLogRecPtr committed_at;  // flush the log up to here before the calls are sent: then all their commits are durable
  int ended;                // calls that were ended instead: they overlap with others, or cannot be read
  bool rows_were_locked;    // calls should have ended, and somebody holds their rows locked
  bool cancels_left;        // cancellations were written because of that
  TimestampTz next_wait;    // the earliest time for which one of the announced calls waits; 0: none does
  RouteRead* reads;
  int read_count;
  int read_capacity;
};

// What the worker still has to read of the ledger. The dispatcher knows which routes have more; these are not here.
//
// A due row is always in exactly one of these places: in memory; among the announced ids of its commit; in the rest of
// the round under way, or in the next round; or in a route that is known to have more, beyond the position from which
// that route is read on. So no read starts again at the front of the index, where the entries of ended calls pile up
// while somebody holds an old snapshot. An id that commits late is announced by its own commit, so it does not matter
// that positions are beyond it by then.
struct PendingReads {
  Announcements announced;  // look_from: a round from this id on is wanted
  bool round_under_way;     // a round reads all routes
  int64 round_from;         // it leaves out ids below this one
  bool round_at_begin;      // it continues at the start of the index, or else at this route and id
  char round_route[core::kMaxEndpointPathBytes * 4 + 1];
  int64 round_id;
  bool waits_unknown;  // announced calls were not looked at one by one: some may wait for their time
};
void want_round(PendingReads* pending, int64 from);
// The same for announced calls that are not read one by one.
void want_round_for(PendingReads* pending, IdRange range);
void add_announced_calls(PendingReads* pending, IdRange range);
bool has_new_calls(const PendingReads* pending);

// Adds a hint to recorded results that are an HTML page although their route answered with JSON before. Costs no
// statement if there is no page.
void note_html_pages(const delivery::Result* results, int count);
// Sets status = sending for calls that have been in flight for a while.
void mark_sending(const delivery::OnTheWire* calls, int count);
// Does the same before the call is sent, for calls that still exist and have not ended. *claimed: their ids, in
// `context`.
void claim(const delivery::OnTheWire* calls, int count, MemoryContext context, int64** claimed, int* claimed_count);
// Queues the calls whose time or next attempt has come, and adds them to `pending`. True if there may be more.
bool queue_due_calls(PendingReads* pending);
// Makes calls due that waited for the end of another one (overlap = queue). True if there are any.
bool send_waiting_calls(PendingReads* pending);
// Ends the calls that cancel() was called for and that the dispatcher does not hold. *held: the ids of those that it
// holds and has to give up itself, in `context`. Of calls that a newer one with the same key replaces, ends those that
// have not been sent. `due`: the calls read in this turn; *ended: those of them, or of the dispatcher's, that this has
// ended. kUnsettled: some have not ended yet; kMore: there may be others to look at.
enum class CancelsLeft { kNone, kUnsettled, kMore };
CancelsLeft cancel_requested_calls(const delivery::Dispatcher* dispatcher, const DueRows* due, MemoryContext context,
                                   int64** held, int* held_count, EndedCalls* ended);
// Settles which call of a key is sent, before call `id` is. Returns true, and ends the call, if a call with a higher id
// replaces it. Else it ends those with lower ids that have not been sent. `due` has the calls read so far in this turn.
bool is_replaced(const delivery::Dispatcher* dispatcher, DueRows* due, int64 id, const char* role, const char* key,
                 EndedCalls* ended);
// Ends the accepted calls that the app has completed, and those whose time is over. `ids`: only these; NULL: all.
// `ended` is their number; `alerts`: one of the ends calls for an alert.
struct Settled {
  int ended;
  bool alerts;
};
Settled settle_accepted(const int64* ids, int count);
// When the next call or retry is due, or the time of an accepted call is over; 0: no call waits for its time.
TimestampTz next_attempt_at();
// Reads a limited number of due calls: first announced ones, then routes that run low, then the next part of the round.
// Each route is read up to the room that the dispatcher has for it, without the calls that it holds. *pending is what
// is left to read. An attempt that a crash or a restart cut off is recorded as lost on the way. `careful`: ends a row
// that cannot be read, instead of raising an ERROR.
void read_due(delivery::Dispatcher* dispatcher, PendingReads* pending, bool careful, MemoryContext context,
              DueRows* due, EndedCalls* ended);
// Whether a call of this transport has not ended.
bool calls_open_on(const char* transport);

// Calls that pg_net carries, and calls that are due to be handed to it again.
bool pg_net_calls_outstanding();
bool pg_net_calls_due();
// Whether pg_cron's run of a call that has ended is not known yet.
bool cron_runs_unbound();

}  // namespace wee5::pg
