// The worker's part of keeping the ledger short; sql/47_retention.sql has the statements and says how it goes.
//
// A walk begins when the time of the oldest row is over, but not more often than a row may well stay beyond its time,
// so that a steady stream of calls, each of which is over at a moment of its own, is pruned in heaps.

#include "wee5_cron/pg/worker/history.h"

#include "wee5_cron/pg/boundary/kept_plan.h"

namespace wee5::pg {

namespace {

constexpr int kPageSize = 250;  // some milliseconds: the network is not served meanwhile
constexpr int64 kLeastPageGapUs = 5'000;
constexpr int64 kLeastPauseUs = 1'000'000;  // between two walks: this share of the shorter time to keep, within bounds
constexpr int64 kMostPauseUs = USECS_PER_HOUR;
constexpr int64 kShareOfKeeping = 24;

HistoryWalk walk;

SPIPlanPtr may_plan = nullptr;
SPIPlanPtr learn_plan = nullptr;
SPIPlanPtr prune_plan = nullptr;

int64 keep_us(int minutes) { return minutes < 0 ? PG_INT64_MAX : minutes * USECS_PER_MINUTE; }

int64 shortest_us(const WorkerSettings* settings) {
  return Min(keep_us(settings->keep_succeeded_min), keep_us(settings->keep_failed_min));
}

void select(SPIPlanPtr plan, Datum* values, const char* nulls) {
  int result = SPI_execute_plan(plan, values, nulls, false, 1);
  if (result != SPI_OK_SELECT || SPI_processed != 1)
    elog(ERROR, "could not prune the ledger: %s", SPI_result_code_string(result));
}

Datum column(int number, bool* is_null) {
  return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, is_null);
}

bool nobody_else_prunes() {
  select(kept_plan(&may_plan, "SELECT wee5_cron.may_prune()", 0, nullptr), nullptr, nullptr);
  bool is_null;
  return DatumGetBool(column(1, &is_null));
}

void learn() {
  Oid types[2] = {INT4OID, INT8OID};
  Datum values[2] = {Int32GetDatum(kPageSize), Int64GetDatum(walk.looked_to)};
  const char nulls[3] = {' ', walk.looked_to_known ? ' ' : 'n', '\0'};
  select(kept_plan(&learn_plan, "SELECT looked_to, left_over FROM wee5_cron.note_newest_calls($1, $2)", 2, types),
         values, nulls);
  bool is_null;
  walk.looked_to = DatumGetInt64(column(1, &is_null));
  walk.looked_to_known = true;
  walk.learnt = !DatumGetBool(column(2, &is_null));
}

void prune() {
  Oid types[4] = {INT4OID, INT4OID, INT4OID, INT8OID};
  Datum values[4] = {Int32GetDatum(kPageSize), Int32GetDatum(walk.keep_succeeded_min),
                     Int32GetDatum(walk.keep_failed_min), Int64GetDatum(walk.walked_to)};
  const char nulls[5] = {' ', walk.keep_succeeded_min < 0 ? 'n' : ' ', walk.keep_failed_min < 0 ? 'n' : ' ', ' ', '\0'};
  select(kept_plan(&prune_plan,
                   "SELECT walked_to, left_over, next_due FROM wee5_cron.prune_page($1,"
                   "  pg_catalog.make_interval(mins => $2), pg_catalog.make_interval(mins => $3), $4)",
                   4, types),
         values, nulls);
  bool is_null;
  walk.walked_to = DatumGetInt64(column(1, &is_null));
  walk.under_way = DatumGetBool(column(2, &is_null));
  TimestampTz next_due = DatumGetTimestampTz(column(3, &is_null));
  if (!is_null && (walk.next_due_us == 0 || next_due < walk.next_due_us)) walk.next_due_us = next_due;
}

void begin(const WorkerSettings* settings) {
  memset(&walk, 0, sizeof(walk));
  walk.under_way = true;
  walk.keep_succeeded_min = settings->keep_succeeded_min;
  walk.keep_failed_min = settings->keep_failed_min;
}

}  // namespace

HistoryWalk history_walk() { return walk; }
void resume_history(const HistoryWalk* left) { walk = *left; }

int64 prune_some_history(const WorkerSettings* base) {
  int64 began_us = GetCurrentTimestamp();
  WorkerSettings settings = *base;
  apply_stored_worker_settings(&settings);
  if (!walk.under_way) begin(&settings);
  if (shortest_us(&settings) == PG_INT64_MAX) {
    walk.under_way = false;
    return 0;
  }
  if (!nobody_else_prunes()) return GetCurrentTimestamp() + kLeastPauseUs;
  if (!walk.learnt)
    learn();
  else
    prune();
  int64 now = GetCurrentTimestamp();
  // Half of the time is the network's, however slow the disk is.
  if (walk.under_way) return now + Max(kLeastPageGapUs, now - began_us);
  if (walk.next_due_us == 0) return 0;
  int64 pause = shortest_us(&settings) / kShareOfKeeping;
  return Max(walk.next_due_us, now + Max(kLeastPauseUs, Min(pause, kMostPauseUs)));
}

int64 history_due_us(const WorkerSettings* settings, int64 due_us) {
  int64 now = GetCurrentTimestamp();
  bool changed =
      settings->keep_succeeded_min != walk.keep_succeeded_min || settings->keep_failed_min != walk.keep_failed_min;
  if (changed && !walk.under_way) return due_us == 0 || due_us > now ? now : due_us;
  int64 keep = shortest_us(settings);
  // Nothing was there to wait for. What is new now is over after that time, at the earliest.
  return due_us == 0 && keep != PG_INT64_MAX ? now + Max(keep, kLeastPauseUs) : due_us;
}

}  // namespace wee5::pg
