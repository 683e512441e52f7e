// The worker's part of pruning; sql/common/47_retention.sql has the statements and explains the walk.
//
// A walk begins when the retention of the oldest row ends, but not too often: in a steady stream of calls each row has
// its own end, and rows are better pruned many at a time.

#include "wee5_cron/pg/worker/history.h"

#include "wee5_cron/core/worker/page_size.hpp"
#include "wee5_cron/pg/call/endpoint_policy.h"
#include "wee5_cron/pg/ledger/sql_version.h"

namespace wee5::pg {

namespace {

constexpr int64 kLeastPageGapUs = 5'000;
// Between two walks: this share of the shorter retention, within these bounds.
constexpr int64 kShareOfRetention = 24;
constexpr int64 kLeastPauseUs = 1'000'000;
constexpr int64 kMostPauseUs = USECS_PER_HOUR;

SPIPlanPtr may_prune_plan = nullptr;
SPIPlanPtr note_newest_plan = nullptr;
uint64 known_policies = 0;  // endpoint_generation() when they were read

int64 retention_us(int minutes) { return minutes < 0 ? PG_INT64_MAX : minutes * USECS_PER_MINUTE; }

int64 shortest_retention_us(const WorkerSettings* settings) {
  return Min(retention_us(settings->keep_succeeded_min), retention_us(settings->keep_failed_min));
}

bool nobody_else_prunes() {
  select_row(kept_plan(&may_prune_plan, "SELECT wee5_cron.may_prune() AS may_prune", 0, nullptr), nullptr, nullptr);
  bool is_null;
  return DatumGetBool(selected_column("may_prune", &is_null));
}

// Notes a page of the newest calls, which stay whatever their age.
void note_newest_calls(HistoryWalk* walk) {
  Oid types[2] = {INT4OID, INT8OID};
  Datum values[2] = {Int32GetDatum(walk->page_size), Int64GetDatum(walk->looked_to)};
  const char nulls[3] = {' ', walk->looked_to_known ? ' ' : 'n', '\0'};
  select_row(
      kept_plan(&note_newest_plan, "SELECT looked_to, left_over FROM wee5_cron.note_newest_calls($1, $2)", 2, types),
      values, nulls);
  bool is_null;
  walk->looked_to = DatumGetInt64(selected_column("looked_to", &is_null));
  walk->looked_to_known = true;
  walk->learnt = !DatumGetBool(selected_column("left_over", &is_null));
}

int64 nonzero_min(int64 a, int64 b) { return a == 0 ? b : b == 0 ? a : Min(a, b); }

// Reads how long policies keep calls. They may have changed since the last walk: then that begins again.
void read_policies(HistoryWalk* walk) {
  uint64 generation = endpoint_generation();
  if (generation == known_policies) return;
  VersionedStatement* statement = &database_sql->retention_policies;
  select_row(kept_plan(&statement->plan, statement->text, 0, nullptr), nullptr, nullptr);
  bool is_null;
  Datum shortest = selected_column("shortest", &is_null);
  walk->brief_keep_us = is_null ? 0 : DatumGetInt64(shortest);
  char* fingerprint = TextDatumGetCString(selected_column("fingerprint", &is_null));
  if (strcmp(fingerprint, walk->policies) != 0) {
    strlcpy(walk->policies, fingerprint, sizeof(walk->policies));
    walk->under_way = false;
    walk->due_us = 1;
    walk->brief_from = 0;
    walk->brief_due_us = 0;
  }
  known_policies = generation;
}

bool policies_are_brief(const HistoryWalk* walk, const WorkerSettings* settings) {
  return walk->brief_keep_us != 0 && walk->brief_keep_us < shortest_retention_us(settings);
}

void prune_page(HistoryWalk* walk, const WorkerSettings* settings) {
  Oid types[5] = {INT4OID, INT4OID, INT4OID, INT8OID, INT8OID};
  int64 shortest = walk->brief ? walk->brief_keep_us : shortest_retention_us(settings);
  Datum values[5] = {Int32GetDatum(walk->page_size), Int32GetDatum(walk->keep_succeeded_min),
                     Int32GetDatum(walk->keep_failed_min), Int64GetDatum(shortest / USECS_PER_SEC),
                     Int64GetDatum(walk->walked_to)};
  const char nulls[6] = {' ', walk->keep_succeeded_min < 0 ? 'n' : ' ', walk->keep_failed_min < 0 ? 'n' : ' ', ' ', ' ',
                         '\0'};
  VersionedStatement* statement = &database_sql->prune_page;
  select_row(kept_plan(&statement->plan, statement->text, 5, types), values, nulls);
  bool is_null;
  walk->walked_to = DatumGetInt64(selected_column("walked_to", &is_null));
  walk->under_way = DatumGetBool(selected_column("left_over", &is_null));
  Datum next_due = selected_column("next_due", &is_null);
  if (!is_null) walk->next_due_us = nonzero_min(walk->next_due_us, DatumGetTimestampTz(next_due));
  Datum pending = selected_column("first_pending", &is_null);
  if (!is_null) walk->brief_pending = nonzero_min(walk->brief_pending, DatumGetInt64(pending));
}

// False: none is due.
bool begin_walk(HistoryWalk* walk, const WorkerSettings* settings) {
  int64 now = GetCurrentTimestamp();
  bool changed =
      settings->keep_succeeded_min != walk->keep_succeeded_min || settings->keep_failed_min != walk->keep_failed_min;
  if (changed) walk->brief_from = 0;
  bool all_is_kept = shortest_retention_us(settings) == PG_INT64_MAX;
  bool brief_is_due = policies_are_brief(walk, settings) && walk->brief_due_us != 0 && walk->brief_due_us <= now;
  bool all_is_due = walk->due_us != 0 && walk->due_us <= now;
  // Only end_walk() of a walk through everything would set it anew, and there is none.
  if (all_is_kept) walk->due_us = 0;
  if (walk->begun && !changed && !all_is_due && !brief_is_due) return false;
  walk->begun = true;
  walk->brief = all_is_kept || (!changed && brief_is_due && !all_is_due);
  walk->under_way = true;
  walk->learnt = false;
  walk->looked_to_known = false;
  walk->walked_to = walk->brief ? walk->brief_from : 0;
  walk->next_due_us = 0;
  walk->brief_pending = 0;
  walk->keep_succeeded_min = settings->keep_succeeded_min;
  walk->keep_failed_min = settings->keep_failed_min;
  return true;
}

// When the next walk of this kind begins, after one that has ended.
int64 next_walk_us(const HistoryWalk* walk, int64 keep_us) {
  if (walk->next_due_us == 0) return 0;
  int64 pause = Min(keep_us / kShareOfRetention, kMostPauseUs);
  return Max(walk->next_due_us, GetCurrentTimestamp() + Max(kLeastPauseUs, pause));
}

void end_walk(HistoryWalk* walk, const WorkerSettings* settings) {
  if (walk->brief) {
    walk->brief_from = walk->brief_pending != 0 ? walk->brief_pending - 1 : walk->walked_to;
    walk->brief_due_us = next_walk_us(walk, walk->brief_keep_us);
    return;
  }
  walk->due_us = next_walk_us(walk, shortest_retention_us(settings));
  if (!policies_are_brief(walk, settings)) return;
  // The brief calls up to here were judged, and those that stay for now are met again in the next walk.
  if (walk->brief_from == 0) walk->brief_due_us = GetCurrentTimestamp();
  walk->brief_from = Max(walk->brief_from, walk->brief_pending != 0 ? walk->brief_pending - 1 : walk->walked_to);
}

}  // namespace

int64 prune_some_history(const WorkerSettings* process_settings, HistoryWalk* walk) {
  int64 began_us = GetCurrentTimestamp();
  WorkerSettings settings = *process_settings;
  apply_stored_worker_settings(&settings);
  read_policies(walk);
  if (!walk->under_way && !begin_walk(walk, &settings)) return nonzero_min(walk->due_us, walk->brief_due_us);
  if (walk->brief && !policies_are_brief(walk, &settings)) {
    walk->under_way = false;
    walk->brief_due_us = 0;
    return walk->due_us;
  }
  if (!nobody_else_prunes()) return GetCurrentTimestamp() + kLeastPauseUs;
  if (walk->page_size == 0) walk->page_size = core::kFirstPageSize;
  if (!walk->learnt)
    note_newest_calls(walk);
  else
    prune_page(walk, &settings);
  int64 now = GetCurrentTimestamp();
  walk->page_size = core::next_page_size(walk->page_size, now - began_us);
  // Half of the time is for the network, however slow the disk is.
  if (walk->under_way) return now + Max(kLeastPageGapUs, now - began_us);
  end_walk(walk, &settings);
  return nonzero_min(walk->due_us, walk->brief_due_us);
}

int64 history_due_us(const WorkerSettings* settings, HistoryWalk* walk, int64 due_us) {
  int64 now = GetCurrentTimestamp();
  bool changed = settings->keep_succeeded_min != walk->keep_succeeded_min ||
                 settings->keep_failed_min != walk->keep_failed_min || endpoint_generation() != known_policies;
  if (walk->under_way) return due_us;
  if (changed) return nonzero_min(due_us, now);
  // The last walk left nothing to wait for. The retention of what is new now ends after that time, at the earliest.
  if (policies_are_brief(walk, settings) && walk->brief_due_us == 0) {
    walk->brief_due_us = now + walk->brief_keep_us;
    due_us = nonzero_min(due_us, walk->brief_due_us);
  }
  int64 retention = shortest_retention_us(settings);
  if (walk->due_us == 0 && retention != PG_INT64_MAX) {
    walk->due_us = now + Max(retention, kLeastPauseUs);
    due_us = nonzero_min(due_us, walk->due_us);
  }
  return due_us;
}

}  // namespace wee5::pg
