#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>

namespace wee5::core {

// A wall-clock minute in pg_cron's time zone.
struct LocalMinute {
  int minute;   // 0..59
  int hour;     // 0..23
  int day;      // 1..31
  int month;    // 1..12
  int weekday;  // 0..6, Sunday is 0
};

// The wall clock of a time zone: unix seconds (UTC) to local time. It is a plain function, so that the pg layer can
// pass Postgres's own time zones.
using LocalClock = LocalMinute (*)(std::int64_t unix_seconds);
LocalMinute utc_clock(std::int64_t unix_seconds);

// What the installed pg_cron understands beyond five fields and words such as @hourly.
struct CronDialect {
  bool last_day = false;  // '$' as day of month (pg_cron 1.6)
  bool seconds = false;   // 'N seconds', 1..59 (pg_cron 1.5)
};

// What the fields of a schedule allow, as bits that count from the field's first value: day 1 and January are bit 0. Of
// the weekdays, bits 0 and 7 are Sunday.
struct CronFields {
  std::uint64_t minutes = 0;
  std::uint64_t hours = 0;
  std::uint64_t days = 0;
  std::uint64_t months = 0;
  std::uint64_t weekdays = 0;
  bool any_of_days = false;  // a day matches by its number or by its weekday; else it must by both
  bool last_day = false;     // the last day of the month
};

// A schedule read exactly as pg_cron's own parser reads it: lists, ranges, steps ("*/5", "10-40/5", not "5/10"),
// names, 0 and 7 for Sunday, day of month OR day of week unless one of them starts with '*'.
class CronSchedule {
 public:
  // nullopt if pg_cron would refuse the text.
  static std::optional<CronSchedule> parse(std::string_view text, CronDialect dialect);

  // For 'N seconds' the N, else 0. Such a schedule and @reboot match no minute.
  int interval_seconds() const noexcept { return interval_seconds_; }
  bool at_reboot() const noexcept { return at_reboot_; }
  CronFields fields() const noexcept;

  bool matches(std::int64_t unix_seconds, LocalClock clock) const;

  // The first second of the newest matching minute at or before `unix_seconds`; nullopt if there is none within 40
  // years (two Sundays that are 29 February are up to 40 years apart).
  std::optional<std::int64_t> newest_at_or_before(std::int64_t unix_seconds, LocalClock clock) const;
  // The first matching minute after `unix_seconds`, within 40 years.
  std::optional<std::int64_t> next_after(std::int64_t unix_seconds, LocalClock clock) const;

 private:
  // Whether a calendar has any of its days. It has no 30 February.
  bool has_a_day() const;
  bool matches_day(const LocalMinute& at, bool last_of_month) const;
  // How many minutes from `now` on, this one included, surely hold no match; 0: this one may match.
  int minutes_without_match(const LocalMinute& now, bool may_be_last, int direction) const;
  // Searches from `from`, the first second of a minute, backwards (-1) or forwards (+1).
  std::optional<std::int64_t> search(std::int64_t from, int direction, LocalClock clock) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<8> weekdays_;
  bool day_star_ = false;
  bool weekday_star_ = false;
  bool last_day_ = false;
  bool at_reboot_ = false;
  int interval_seconds_ = 0;
};

}  // namespace wee5::core
