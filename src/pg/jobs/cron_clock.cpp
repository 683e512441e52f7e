// When pg_cron starts a job: reads schedules as the installed version does, and applies its clock.

#include "wee5_cron/pg/jobs/cron_clock.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <vector>
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"

namespace wee5::pg {

namespace {

constexpr int kMostTicks = 100'000;

pg_tz* zone = nullptr;
core::CronDialect dialect;

// The ticks after `after`: at most `count`, and only one after `until`. pg_cron starts a job of 'N seconds' N seconds
// after its last start, or at once if that time is over.
std::vector<std::int64_t> find_ticks(const core::CronSchedule& schedule, std::int64_t after,
                                     std::optional<std::int64_t> last_start, std::int64_t until, int count) {
  std::vector<std::int64_t> ticks;
  if (const int seconds = schedule.interval_seconds(); seconds > 0) {
    std::int64_t tick = last_start ? std::max(*last_start + seconds, after) : after + seconds;
    for (; count > 0; --count, tick += seconds) {
      ticks.push_back(tick);
      if (tick > until) break;
    }
    return ticks;
  }
  std::optional<std::int64_t> tick = schedule.next_after(after, cron_wall_clock);
  for (; tick && count > 0; --count, tick = schedule.next_after(*tick, cron_wall_clock)) {
    ticks.push_back(*tick);
    if (*tick > until) break;
  }
  return ticks;
}

// Whether pg_cron defines the setting. postgresql.conf may also hold a name that pg_cron does not know.
bool has_setting(const char* name) {
  return GetConfigOption(name, true, false) != nullptr &&
         (GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) == 0;
}

}  // namespace

void load_cron_clock() {
  dialect.seconds = has_setting("cron.timezone");
  const char* name = dialect.seconds ? GetConfigOption("cron.timezone", true, false) : "GMT";
  zone = pg_tzset(name);
  if (zone == nullptr) zone = pg_tzset("GMT");
  // This setting and '$' came with the same version.
  dialect.last_day = has_setting("cron.launch_active_jobs");
}

core::CronDialect cron_dialect() { return dialect; }

// pg_localtime() neither allocates nor raises.
core::LocalMinute cron_wall_clock(std::int64_t unix_seconds) {
  pg_time_t time = static_cast<pg_time_t>(unix_seconds);
  const pg_tm* local = pg_localtime(&time, zone);
  return core::LocalMinute{local->tm_min, local->tm_hour, local->tm_mday, local->tm_mon + 1, local->tm_wday};
}

// wee5_cron.ticks(schedule text, after timestamptz, count int, last_start timestamptz, until timestamptz)
// -> timestamptz[]
WEE5_SQL_FUNCTION(wee5_cron_ticks) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2)) PG_RETURN_NULL();
  const char* schedule_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1))) PG_RETURN_NULL();
  std::int64_t after = unix_seconds_of(PG_GETARG_TIMESTAMPTZ(1));
  int count = Max(0, Min(PG_GETARG_INT32(2), kMostTicks));
  bool has_last_start = !PG_ARGISNULL(3);
  std::int64_t last_start = has_last_start ? unix_seconds_of(PG_GETARG_TIMESTAMPTZ(3)) : 0;
  std::int64_t until = PG_ARGISNULL(4) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(4))
                           ? PG_INT64_MAX
                           : unix_seconds_of(PG_GETARG_TIMESTAMPTZ(4));
  load_cron_clock();

  std::int64_t* ticks = static_cast<std::int64_t*>(palloc(sizeof(std::int64_t) * static_cast<Size>(count)));
  int found = 0;
  bool readable = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::optional<core::CronSchedule> schedule = core::CronSchedule::parse(schedule_text, dialect);
        readable = schedule.has_value();
        if (!readable) return;
        const auto start = has_last_start ? std::optional(last_start) : std::nullopt;
        for (std::int64_t tick : find_ticks(*schedule, after, start, until, count)) ticks[found++] = tick;
      }))
    raise(&failure);
  if (!readable) PG_RETURN_NULL();
  Datum* values = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(found)));
  for (int i = 0; i < found; ++i) values[i] = TimestampTzGetDatum(timestamp_of_unix_seconds(ticks[i]));
  PG_RETURN_DATUM(eight_byte_array(values, found, TIMESTAMPTZOID));
}

// wee5_cron.newest_tick(schedule text, at timestamptz) -> timestamptz
WEE5_SQL_FUNCTION(wee5_cron_newest_tick) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1))) PG_RETURN_NULL();
  const char* schedule_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
  std::int64_t at = unix_seconds_of(PG_GETARG_TIMESTAMPTZ(1));
  load_cron_clock();
  std::int64_t tick = 0;
  bool found = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::optional<core::CronSchedule> schedule = core::CronSchedule::parse(schedule_text, dialect);
        if (!schedule) return;
        const std::optional<std::int64_t> newest = schedule->newest_at_or_before(at, cron_wall_clock);
        found = newest.has_value();
        tick = newest.value_or(0);
      }))
    raise(&failure);
  if (!found) PG_RETURN_NULL();
  PG_RETURN_TIMESTAMPTZ(timestamp_of_unix_seconds(tick));
}

// wee5_cron.never_fires(schedule text, after timestamptz) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_never_fires) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1))) PG_RETURN_NULL();
  const char* schedule_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
  std::int64_t after = unix_seconds_of(PG_GETARG_TIMESTAMPTZ(1));
  load_cron_clock();
  bool readable = false;
  bool never = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::optional<core::CronSchedule> schedule = core::CronSchedule::parse(schedule_text, dialect);
        readable = schedule.has_value();
        never = readable && schedule->interval_seconds() == 0 && !schedule->at_reboot() &&
                !schedule->next_after(after, cron_wall_clock);
      }))
    raise(&failure);
  if (!readable) PG_RETURN_NULL();
  PG_RETURN_BOOL(never);
}

// wee5_cron.read_schedule(schedule text) -> (readable boolean, minutes bigint, hours bigint, days bigint, months
// bigint, weekdays bigint, any_of_days boolean, on_last_day boolean, at_reboot boolean, interval_seconds int)
WEE5_SQL_FUNCTION(wee5_cron_read_schedule) {
  const char* schedule_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
  load_cron_clock();
  bool readable = false;
  core::CronFields fields;
  bool at_reboot = false;
  int interval_seconds = 0;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::optional<core::CronSchedule> schedule = core::CronSchedule::parse(schedule_text, dialect);
        readable = schedule.has_value();
        if (!readable) return;
        fields = schedule->fields();
        at_reboot = schedule->at_reboot();
        interval_seconds = schedule->interval_seconds();
      }))
    raise(&failure);

  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.read_schedule() must return a record");
  Datum values[] = {BoolGetDatum(readable),
                    Int64GetDatum(static_cast<int64>(fields.minutes)),
                    Int64GetDatum(static_cast<int64>(fields.hours)),
                    Int64GetDatum(static_cast<int64>(fields.days)),
                    Int64GetDatum(static_cast<int64>(fields.months)),
                    Int64GetDatum(static_cast<int64>(fields.weekdays)),
                    BoolGetDatum(fields.any_of_days),
                    BoolGetDatum(fields.last_day),
                    BoolGetDatum(at_reboot),
                    Int32GetDatum(interval_seconds)};
  bool nulls[std::size(values)] = {};
  for (int i = 1; i < static_cast<int>(std::size(values)); ++i) nulls[i] = !readable;
  nulls[std::size(values) - 1] = interval_seconds == 0;
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

}  // namespace wee5::pg
