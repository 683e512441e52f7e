// The worker's part of pruning; sql/common/47_retention.sql has the statements and explains the walk.
//
// A walk begins when the retention of the oldest row ends, but not too often: in a steady stream of calls each row has
// its own end, and rows are better pruned many at a time.

#include "wee5_cron/pg/worker/history.h"

#include "wee5_cron/pg/boundary/kept_plan.h"

namespace wee5::pg {

namespace {

constexpr int kPageSize = 250;  // takes some milliseconds, in which the worker does not serve the network
constexpr int64 kLeastPageGapUs = 5'000;
// Between two walks: this share of the shorter retention, within these bounds.
constexpr int64 kShareOfRetention = 24;
constexpr int64 kLeastPauseUs = 1'000'000;
constexpr int64 kMostPauseUs = USECS_PER_HOUR;

SPIPlanPtr may_prune_plan = nullptr;
SPIPlanPtr note_newest_plan = nullptr;
SPIPlanPtr prune_page_plan = nullptr;

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
  Datum values[2] = {Int32GetDatum(kPageSize), Int64GetDatum(walk->looked_to)};
  const char nulls[3] = {' ', walk->looked_to_known ? ' ' : 'n', '\0'};
  select_row(
      kept_plan(&note_newest_plan, "SELECT looked_to, left_over FROM wee5_cron.note_newest_calls($1, $2)", 2, types),
      values, nulls);
  bool is_null;
  walk->looked_to = DatumGetInt64(selected_column("looked_to", &is_null));
  walk->looked_to_known = true;
  walk->learnt = !DatumGetBool(selected_column("left_over", &is_null));
}

void prune_page(HistoryWalk* walk) {
  Oid types[4] = {INT4OID, INT4OID, INT4OID, INT8OID};
  Datum values[4] = {Int32GetDatum(kPageSize), Int32GetDatum(walk->keep_succeeded_min),
                     Int32GetDatum(walk->keep_failed_min), Int64GetDatum(walk->walked_to)};
  const char nulls[5] = {' ', walk->keep_succeeded_min < 0 ? 'n' : ' ', walk->keep_failed_min < 0 ? 'n' : ' ', ' ',
                         '\0'};
  select_row(kept_plan(&prune_page_plan,
                       "SELECT walked_to, left_over, next_due FROM wee5_cron.prune_page($1,"
                       "  pg_catalog.make_interval(mins => $2), pg_catalog.make_interval(mins => $3), $4)",
                       4, types),
             values, nulls);
  bool is_null;
  walk->walked_to = DatumGetInt64(selected_column("walked_to", &is_null));
  walk->under_way = DatumGetBool(selected_column("left_over", &is_null));
  Datum next_due = selected_column("next_due", &is_null);
  if (!is_null && (walk->next_due_us == 0 || DatumGetTimestampTz(next_due) < walk->next_due_us))
    walk->next_due_us = DatumGetTimestampTz(next_due);
}

void begin_walk(HistoryWalk* walk, const WorkerSettings* settings) {
  memset(walk, 0, sizeof(*walk));
  walk->under_way = true;
  walk->keep_succeeded_min = settings->keep_succeeded_min;
  walk->keep_failed_min = settings->keep_failed_min;
}

}  // namespace

int64 prune_some_history(const WorkerSettings* process_settings, HistoryWalk* walk) {
  int64 began_us = GetCurrentTimestamp();
  WorkerSettings settings = *process_settings;
  apply_stored_worker_settings(&settings);
  if (!walk->under_way) begin_walk(walk, &settings);
  if (shortest_retention_us(&settings) == PG_INT64_MAX) {
    walk->under_way = false;
    return 0;
  }
  if (!nobody_else_prunes()) return GetCurrentTimestamp() + kLeastPauseUs;
  if (!walk->learnt)
    note_newest_calls(walk);
  else
    prune_page(walk);
  int64 now = GetCurrentTimestamp();
  // Half of the time is for the network, however slow the disk is.
  if (walk->under_way) return now + Max(kLeastPageGapUs, now - began_us);
  if (walk->next_due_us == 0) return 0;
  int64 pause = shortest_retention_us(&settings) / kShareOfRetention;
  return Max(walk->next_due_us, now + Max(kLeastPauseUs, Min(pause, kMostPauseUs)));
}

int64 history_due_us(const WorkerSettings* settings, const HistoryWalk* walk, int64 due_us) {
  int64 now = GetCurrentTimestamp();
  bool changed =
      settings->keep_succeeded_min != walk->keep_succeeded_min || settings->keep_failed_min != walk->keep_failed_min;
  if (changed && !walk->under_way) return due_us == 0 || due_us > now ? now : due_us;
  int64 retention = shortest_retention_us(settings);
  // The last walk left nothing to wait for. The retention of what is new now ends after that time, at the earliest.
  return due_us == 0 && retention != PG_INT64_MAX ? now + Max(retention, kLeastPauseUs) : due_us;
}

}  // namespace wee5::pg
