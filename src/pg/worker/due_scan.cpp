// Reads due calls, directly from the indexes. A statement could neither skip from route to route nor stop after a
// number of entries, and executing even a kept plan costs more than the rows.

#include <string>

#include "wee5_cron/core/request/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/subtransaction.h"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/ledger/end_call.h"
#include "wee5_cron/pg/ledger/invocation_table.h"
#include "wee5_cron/pg/ledger/overlap.h"
#include "wee5_cron/pg/worker/due_row.h"
#include "wee5_cron/pg/worker/worker_ledger.h"

namespace wee5::pg {

namespace {

// The worker cannot serve the network while it reads, so a read ends after this many rows or index entries.
constexpr int kRowsPerRead = 1024;
constexpr int kEntriesPerRead = 16'384;
constexpr int kRefillsPerRead = 64;
// The ids of a transaction lie together, unless others made calls at the same time.
constexpr int64 kWidestRange = 256;

struct Reader {
  delivery::Dispatcher* dispatcher;
  MemoryContext context;  // of the result
  DueRows* due;
  EndedCalls* ended;
  LedgerTable table;
  TupleTableSlot* row;
  bool careful;  // the read before failed: find the row that it failed at
  int entries_left;
  Size bytes_left;
  // The transaction that inserted the last row: most rows of a read come from the same few transactions.
  TransactionId last_inserter;
  XLogRecPtr last_commit;
  // The route that rows are taken from.
  const char* route;       // in the server's encoding; NULL: none
  const char* route_utf8;  // as the dispatcher knows it; NULL: it cannot be told in UTF-8
  int64 room;
};

bool full(const Reader* reader) {
  return reader->entries_left <= 0 || reader->due->count >= kRowsPerRead || reader->due->bytes >= reader->bytes_left;
}

int64 room_for(const delivery::Dispatcher* dispatcher, const char* route, int already_read) {
  int64 room = 0;
  CppFailure failure;
  if (!run_cpp(&failure,
               [&] { room = static_cast<int64>(dispatcher->room_for(route, static_cast<std::size_t>(already_read))); }))
    raise(&failure);
  return room;
}

void begin_route(Reader* reader, const char* route) {
  MemoryContext old = MemoryContextSwitchTo(reader->context);
  char* own = pstrdup(route);
  char* utf8 = to_utf8_lossy(own);
  MemoryContextSwitchTo(old);
  reader->route = own;
  reader->route_utf8 = utf8 == own || strcmp(from_utf8(utf8), own) == 0 ? utf8 : nullptr;
  reader->room = room_for(reader->dispatcher, utf8, reader->due->count);
}

template <class Item>
Item* next_item(Item** items, int* count, int* capacity, MemoryContext context) {
  if (*count == *capacity) {
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    Size bytes = sizeof(Item) * static_cast<Size>(*capacity);
    *items = static_cast<Item*>(*items == nullptr ? MemoryContextAlloc(context, bytes) : repalloc(*items, bytes));
  }
  Item* item = &(*items)[(*count)++];
  memset(item, 0, sizeof(*item));
  return item;
}

void note_read(Reader* reader, PendingReads* pending, int64 from, int64 next, int64 end = kNothing) {
  // A route without a name in UTF-8 cannot be asked for again. A later round finds it.
  if (reader->route_utf8 == nullptr) {
    if (next != kNothing) want_round(pending, next);
    return;
  }
  DueRows* due = reader->due;
  RouteRead* read = next_item(&due->reads, &due->read_count, &due->read_capacity, reader->context);
  read->route = const_cast<char*>(reader->route_utf8);
  read->from = from;
  read->next = next;
  read->end = end;
}

// Raises *committed_at to the log position of the transaction's commit. Not the insert pointer: that may lie in a
// record that is still being written.
void need_commit_of(Reader* reader, TransactionId xid, XLogRecPtr* committed_at) {
  if (!TransactionIdIsNormal(xid)) return;
  if (xid != reader->last_inserter) {
    reader->last_commit = InvalidXLogRecPtr;
    LWLockAcquire(XactTruncationLock, LW_SHARED);
    // The commit of an older transaction cannot be looked up, and was flushed long ago.
    if (!TransactionIdPrecedes(xid, oldest_clog_xid())) reader->last_commit = TransactionIdGetCommitLSN(xid);
    LWLockRelease(XactTruncationLock);
    reader->last_inserter = xid;
  }
  if (reader->last_commit > *committed_at) *committed_at = reader->last_commit;
}

InvocationRow current_row(const Reader* reader) { return {&reader->table, reader->row}; }

void take(Reader* reader, int64 id) {
  DueRows* due = reader->due;
  DueRow* row = next_item(&due->rows, &due->count, &due->capacity, reader->context);
  MemoryContext old = MemoryContextSwitchTo(reader->context);
  copy_due_row(current_row(reader), row);
  MemoryContextSwitchTo(old);
  row->id = id;
  due->bytes += bytes_of(row);
  need_commit_of(reader, inserting_transaction(current_row(reader)), &due->committed_at);
  if (row->cut_off) record_lost_attempt(id, row->attempt - 1, path_of(current_row(reader)));
}

// Whether the row can be read. A row that cannot is ended: it would keep all calls of the database from being sent.
bool is_readable(Reader* reader, int64 id) {
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "wee5_cron row", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(scratch);
  ErrorData* error;
  bool readable = in_subtransaction(
      [reader] {
        DueRow row;
        memset(&row, 0, sizeof(row));
        copy_due_row(current_row(reader), &row);
      },
      &error);
  if (!readable && !is_about_the_row(error)) ReThrowError(error);
  MemoryContextSwitchTo(old);
  if (!readable) {
    if (end_unreadable(id, error->message))
      ++reader->due->ended;
    else
      reader->due->rows_were_locked = true;
  }
  MemoryContextDelete(scratch);
  return readable;
}

// Whether the current row is of a call to be sent now. One that waits for its time is not, even if that has come a
// moment ago: queue_due_calls() sees to it.
bool is_due(Reader* reader, int64 id) {
  bool unfinished, at_once;
  value_of(current_row(reader), kInvocationFinishedAt, &unfinished);
  value_of(current_row(reader), kInvocationNextAttemptAt, &at_once);
  if (!unfinished || !at_once || reader->dispatcher->holds(id)) return false;
  return !reader->careful || is_readable(reader, id);
}

bool is_held(int64 id, const void* context) {
  const Reader* reader = static_cast<const Reader*>(context);
  if (reader->dispatcher->holds(id)) return true;
  for (int i = 0; i < reader->due->count; ++i)
    if (reader->due->rows[i].id == id) return true;
  return false;
}

bool is_replaced_by_key(Reader* reader, int64 id) {
  bool is_null;
  Datum key = value_of(current_row(reader), kInvocationKey, &is_null);
  return !is_null && is_replaced(reader->dispatcher, reader->due, id, role_of(current_row(reader)),
                                 TextDatumGetCString(key), reader->ended);
}

// Skips a call that may not overlap with others, if it is about to be sent for the first time and another one runs. The
// worker sees now what the caller could not see when it made the call.
bool is_skipped_for_overlap(Reader* reader, int64 id) {
  bool is_null;
  Datum exclusive = value_of(current_row(reader), kInvocationExclusive, &is_null);
  if (is_null || strcmp(TextDatumGetCString(required_value(current_row(reader), kInvocationStatus)), "queued") != 0)
    return false;
  OverlapQuery query;
  memset(&query, 0, sizeof(query));
  query.path = path_of(current_row(reader));
  query.exclusive = TextDatumGetCString(exclusive);
  query.role = role_of(current_row(reader));
  query.call_id = id;
  query.made_at = DatumGetTimestampTz(required_value(current_row(reader), kInvocationRequestedAt));
  query.due_at = DatumGetTimestampTz(value_of(current_row(reader), kInvocationDueAt, &is_null));
  query.has_due_at = !is_null;
  query.is_held = is_held;
  query.context = reader;
  int64 overlapping = find_overlapping_call(&query);
  if (overlapping == 0) return false;
  bool may_wait = policy_lets_calls_wait(query.path);
  if (may_wait ? wait_or_skip(&query, overlapping) : skip_for_overlap(id, query.path, overlapping))
    ++reader->due->ended;
  else
    reader->due->rows_were_locked = true;
  return true;
}

// Whether the call is ended instead of sent.
bool is_given_up(Reader* reader, int64 id) {
  return is_replaced_by_key(reader, id) || is_skipped_for_overlap(reader, id);
}

// --- by id, from the primary key ---------------------------------------------------------------------------------

// An announced call may wait for its time.
void note_wait(Reader* reader) {
  bool unfinished, at_once;
  value_of(current_row(reader), kInvocationFinishedAt, &unfinished);
  TimestampTz next = DatumGetTimestampTz(value_of(current_row(reader), kInvocationNextAttemptAt, &at_once));
  TimestampTz* earliest = &reader->due->next_wait;
  if (unfinished && !at_once && (*earliest == 0 || next < *earliest)) *earliest = next;
}

void read_range(Reader* reader, IndexScanDesc scan, PendingReads* pending, IdRange range) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(range.first));
  ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(range.last));
  index_rescan(scan, keys, 2, nullptr, 0);
  while (index_getnext_slot(scan, ForwardScanDirection, reader->row)) {
    bool is_null;
    --reader->entries_left;
    int64 id = DatumGetInt64(required_value(current_row(reader), kInvocationId));
    note_wait(reader);
    Datum transport = value_of(current_row(reader), kInvocationTransport, &is_null);
    if (is_null || strcmp(TextDatumGetCString(transport), "builtin") != 0 || !is_due(reader, id)) continue;
    char* route = route_of(current_row(reader));
    if (reader->route == nullptr || strcmp(reader->route, route) != 0) begin_route(reader, route);
    if (reader->room <= 0) {
      note_read(reader, pending, id, id);
    } else if (!is_given_up(reader, id)) {
      --reader->room;
      take(reader, id);
    }
  }
}

void read_announced(Reader* reader, PendingReads* pending) {
  Announcements* announced = &pending->announced;
  if (announced->count == 0) return;
  Relation index = index_open(reader->table.invocation_key, AccessShareLock);
  IndexScanDesc scan = begin_index_scan(reader->table.invocation_relation, index, GetActiveSnapshot(), 2);
  for (int i = 0; i < announced->count; ++i) {
    IdRange range = announced->ranges[i];
    if (full(reader) || range.last - range.first >= kWidestRange)
      want_round_for(pending, range);
    else
      read_range(reader, scan, pending, range);
  }
  announced->count = 0;
  reader->route = nullptr;
  index_endscan(scan);
  index_close(index, AccessShareLock);
}

// --- by route, from the index of open calls ----------------------------------------------------------------------

// The columns of the index of open calls.
enum OpenIndexColumn { kTransportColumn = 1, kRouteColumn, kIdColumn };

// The number of keys of a scan is fixed when it begins. So there is a scan for all routes (one key), one for the routes
// after a route (two), and one for a route from an id on (three).
struct OpenScan {
  IndexScanDesc scans[kIdColumn];
  IndexScanDesc scan;  // the one in use
  Relation heap;
  Relation index;
  ScanKeyData keys[kIdColumn];
  bool within_route;
};

void set_key(OpenScan* open, OpenIndexColumn column, StrategyNumber strategy, RegProcedure procedure, Datum value) {
  ScanKeyEntryInitialize(&open->keys[column - 1], 0, static_cast<AttrNumber>(column), strategy, InvalidOid,
                         open->index->rd_indcollation[column - 1], procedure, value);
}

// Starts the scan with keys up to this column.
void restart(OpenScan* open, OpenIndexColumn keys) {
  IndexScanDesc* scan = &open->scans[keys - 1];
  if (*scan == nullptr) {
    *scan = begin_index_scan(open->heap, open->index, GetActiveSnapshot(), keys);
    (*scan)->xs_want_itup = true;
  }
  open->scan = *scan;
  index_rescan(open->scan, open->keys, keys, nullptr, 0);
}

void begin_open_scan(OpenScan* open, const LedgerTable* table, const char* transport) {
  memset(open, 0, sizeof(*open));
  open->heap = table->invocation_relation;
  open->index = index_open(table->invocation_open, AccessShareLock);
  set_key(open, kTransportColumn, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(transport));
}

void end_open_scan(OpenScan* open) {
  for (IndexScanDesc scan : open->scans)
    if (scan != nullptr) index_endscan(scan);
  index_close(open->index, AccessShareLock);
}

void scan_all_routes(OpenScan* open) {
  open->within_route = false;
  restart(open, kTransportColumn);
}

void scan_within(OpenScan* open, const char* route, int64 from) {
  open->within_route = true;
  set_key(open, kRouteColumn, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(route));
  set_key(open, kIdColumn, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
  restart(open, kIdColumn);
}

void scan_behind(OpenScan* open, const char* route) {
  open->within_route = false;
  set_key(open, kRouteColumn, BTGreaterStrategyNumber, F_TEXT_GT, CStringGetTextDatum(route));
  restart(open, kRouteColumn);
}

// From the index entry, which is there even if its row is gone. So a read can end, and go on, among such entries.
int64 id_of_entry(const OpenScan* open) {
  bool is_null;
  return DatumGetInt64(index_getattr(open->scan->xs_itup, kIdColumn, open->scan->xs_itupdesc, &is_null));
}

bool is_route_of_entry(const OpenScan* open, const char* route) {
  bool is_null;
  Datum value = index_getattr(open->scan->xs_itup, kRouteColumn, open->scan->xs_itupdesc, &is_null);
  text* entry = DatumGetTextPP(value);
  Size length = VARSIZE_ANY_EXHDR(entry);
  return route != nullptr && strlen(route) == length && memcmp(route, VARDATA_ANY(entry), length) == 0;
}

const char* route_of_entry(const OpenScan* open) {
  bool is_null;
  return TextDatumGetCString(index_getattr(open->scan->xs_itup, kRouteColumn, open->scan->xs_itupdesc, &is_null));
}

bool next_entry(Reader* reader, OpenScan* open) {
  if (index_getnext_tid(open->scan, ForwardScanDirection) == nullptr) return false;
  --reader->entries_left;
  return true;
}

void consider_entry(Reader* reader, OpenScan* open, int64 id) {
  if (!index_fetch_heap(open->scan, reader->row) || !is_due(reader, id) || is_given_up(reader, id)) return;
  --reader->room;
  take(reader, id);
}

// Reads a route that runs low, on from where the last read stopped.
void refill(Reader* reader, PendingReads* pending, OpenScan* open, const delivery::Dispatcher::Refill* wanted) {
  begin_route(reader, from_utf8(wanted->route.c_str()));
  reader->room = Min(static_cast<int64>(wanted->room), kRowsPerRead);
  int64 from = wanted->range.from;
  scan_within(open, reader->route, from);
  int64 next = kNothing;
  while (next_entry(reader, open)) {
    int64 id = id_of_entry(open);
    if (id >= wanted->range.end) break;
    if (reader->room <= 0 || full(reader)) {
      next = id;
      break;
    }
    consider_entry(reader, open, id);
  }
  note_read(reader, pending, from, next, wanted->range.end);
}

void read_routes_that_run_low(Reader* reader, PendingReads* pending, OpenScan* open) {
  const delivery::Dispatcher::Refill* refills = nullptr;
  int count = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::vector<delivery::Dispatcher::Refill>& wanted = reader->dispatcher->refills(kRefillsPerRead);
        refills = wanted.data();
        count = static_cast<int>(wanted.size());
      }))
    raise(&failure);
  for (int i = 0; i < count && !full(reader); ++i) refill(reader, pending, open, &refills[i]);
}

void begin_round(PendingReads* pending) {
  pending->round_under_way = true;
  pending->round_from = pending->announced.look_from;
  pending->announced.look_from = kNothing;
  pending->round_at_begin = true;
}

// Places the scan where the last read left the round. Returns the id from which that route is read.
int64 resume_round(Reader* reader, const PendingReads* pending, OpenScan* open) {
  if (pending->round_at_begin) {
    reader->route = nullptr;
    scan_all_routes(open);
    return pending->round_from;
  }
  begin_route(reader, pending->round_route);
  scan_within(open, reader->route, pending->round_id);
  return pending->round_id;
}

void leave_round_at(PendingReads* pending, const char* route, int64 id) {
  pending->round_at_begin = false;
  strlcpy(pending->round_route, route, sizeof(pending->round_route));
  pending->round_id = id;
}

void scan_next_route(Reader* reader, OpenScan* open) {
  scan_behind(open, reader->route);
  reader->route = nullptr;
}

// Reads the entry of call `id`, in a route that is read from the id `from` on.
void read_round_entry(Reader* reader, PendingReads* pending, OpenScan* open, int64 from, int64 id) {
  if (id < from) {
    scan_within(open, reader->route, from);
  } else if (reader->room <= 0) {
    note_read(reader, pending, from, id);
    scan_next_route(reader, open);
  } else {
    consider_entry(reader, open, id);
  }
}

// Continues the round, one route after the other, until nothing more is wanted.
void continue_round(Reader* reader, PendingReads* pending, OpenScan* open) {
  int64 from = resume_round(reader, pending, open);
  for (;;) {
    bool found = next_entry(reader, open);
    bool same_route = found && (open->within_route || is_route_of_entry(open, reader->route));
    if (!same_route && reader->route != nullptr) note_read(reader, pending, from, kNothing);
    if (!found) {
      if (!open->within_route) break;
      scan_next_route(reader, open);
      continue;
    }
    int64 id = id_of_entry(open);
    if (!same_route) {
      begin_route(reader, route_of_entry(open));
      from = pending->round_from;
    }
    if (full(reader)) {
      leave_round_at(pending, reader->route, Max(id, from));
      return;
    }
    read_round_entry(reader, pending, open, from, id);
  }
  pending->round_under_way = false;
}

void read_by_route(Reader* reader, PendingReads* pending) {
  OpenScan open;
  begin_open_scan(&open, &reader->table, "builtin");
  read_routes_that_run_low(reader, pending, &open);
  if (!pending->round_under_way && pending->announced.look_from != kNothing) begin_round(pending);
  if (pending->round_under_way && reader->dispatcher->wants_more_routes() && !full(reader))
    continue_round(reader, pending, &open);
  end_open_scan(&open);
}

}  // namespace

void read_due(delivery::Dispatcher* dispatcher, PendingReads* pending, bool careful, MemoryContext context,
              DueRows* due, EndedCalls* ended) {
  memset(due, 0, sizeof(*due));
  Reader reader;
  memset(&reader, 0, sizeof(reader));
  reader.careful = careful;
  reader.dispatcher = dispatcher;
  reader.context = context;
  reader.due = due;
  reader.ended = ended;
  open_ledger_table(&reader.table);
  reader.row = table_slot_create(reader.table.invocation_relation, nullptr);
  reader.entries_left = kEntriesPerRead;
  reader.bytes_left = dispatcher->bytes_left();
  read_announced(&reader, pending);
  read_by_route(&reader, pending);
  ExecDropSingleTupleTableSlot(reader.row);
  close_ledger_table(&reader.table);
}

bool calls_open_on(const char* transport) {
  LedgerTable table;
  open_ledger_table(&table);
  TupleTableSlot* row = table_slot_create(table.invocation_relation, nullptr);
  OpenScan open;
  begin_open_scan(&open, &table, transport);
  scan_all_routes(&open);
  bool found = index_getnext_slot(open.scan, ForwardScanDirection, row);
  end_open_scan(&open);
  ExecDropSingleTupleTableSlot(row);
  close_ledger_table(&table);
  return found;
}

}  // namespace wee5::pg
