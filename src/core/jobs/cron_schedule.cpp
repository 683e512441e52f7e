#include "wee5_cron/core/jobs/cron_schedule.hpp"

#include <array>
#include <cstddef>

#include "cron_expression.hpp"

namespace wee5::core {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kDay = 86400;
// From one 29 February that is a Sunday to the next, 28 years pass, or 40 if a year such as 2100 lies between.
constexpr std::int64_t kHorizon = kDay * 366 * 40;

std::int64_t minute_start(std::int64_t unix_seconds) {
  const std::int64_t into = unix_seconds % kMinute;
  return unix_seconds - (into < 0 ? into + kMinute : into);
}

int minute_of_day(const LocalMinute& at) { return at.hour * 60 + at.minute; }

// How many minutes, from `minute` on in `direction`, are not in `wanted`, up to the end of the hour.
int minutes_without(const std::bitset<60>& wanted, int minute, int direction) {
  int count = 0;
  while (minute >= 0 && minute < 60 && !wanted[static_cast<std::size_t>(minute)]) {
    minute += direction;
    ++count;
  }
  return count;
}

// Steps over `count` minutes without a match, this one included. Clocks that go forward or back make wall-clock
// distances wrong, so the step is a single minute unless the clock ran evenly all along.
std::int64_t leap(std::int64_t at, const LocalMinute& now, int count, int direction, LocalClock clock) {
  if (count > 1) {
    const std::int64_t last = at + kMinute * direction * (count - 1);
    const LocalMinute there = clock(last);
    const bool evenly = there.day == now.day && there.month == now.month &&
                        minute_of_day(there) == minute_of_day(now) + direction * (count - 1);
    if (evenly) return last + direction * kMinute;
  }
  return at + direction * kMinute;
}

}  // namespace

// Days since 1970-01-01 to a date: Howard Hinnant's civil_from_days. It counts years from March, so that the leap day
// is the last day of a year.
LocalMinute utc_clock(std::int64_t unix_seconds) {
  const std::int64_t minutes = minute_start(unix_seconds) / kMinute;
  const std::int64_t minute = ((minutes % 1440) + 1440) % 1440;
  const std::int64_t days = (minutes - minute) / 1440;
  const std::int64_t shifted = days + 719468;  // since 0000-03-01
  const std::int64_t day_of_era = ((shifted % 146097) + 146097) % 146097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const std::int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const std::int64_t weekday = ((days + 4) % 7 + 7) % 7;  // 1970-01-01 was a Thursday
  return {static_cast<int>(minute % 60), static_cast<int>(minute / 60), static_cast<int>(day), static_cast<int>(month),
          static_cast<int>(weekday)};
}

std::optional<CronSchedule> CronSchedule::parse(std::string_view text, CronDialect dialect) {
  const std::optional<CronExpression> read = read_cron_expression(text, dialect);
  CronSchedule schedule;
  if (!read) {
    if (dialect.seconds) schedule.interval_seconds_ = read_seconds_interval(text);
    if (schedule.interval_seconds_ == 0) return std::nullopt;
    return schedule;
  }
  for (std::size_t i = 0; i < 60; ++i) schedule.minutes_[i] = read->minutes[i];
  for (std::size_t i = 0; i < 24; ++i) schedule.hours_[i] = read->hours[i];
  for (std::size_t i = 1; i < 32; ++i) schedule.days_[i] = read->days[i - 1];
  for (std::size_t i = 1; i < 13; ++i) schedule.months_[i] = read->months[i - 1];
  for (std::size_t i = 0; i < 8; ++i) schedule.weekdays_[i] = read->weekdays[i];
  schedule.day_star_ = read->day_star;
  schedule.weekday_star_ = read->weekday_star;
  schedule.last_day_ = read->last_day;
  schedule.at_reboot_ = read->at_reboot;
  return schedule;
}

CronFields CronSchedule::fields() const noexcept {
  return CronFields{.minutes = minutes_.to_ullong(),
                    .hours = hours_.to_ullong(),
                    .days = days_.to_ullong() >> 1,
                    .months = months_.to_ullong() >> 1,
                    .weekdays = weekdays_.to_ullong(),
                    .any_of_days = !day_star_ && !weekday_star_,
                    .last_day = last_day_};
}

bool CronSchedule::matches_day(const LocalMinute& at, bool last_of_month) const {
  if (!months_[static_cast<std::size_t>(at.month)]) return false;
  const bool day = days_[static_cast<std::size_t>(at.day)] || (last_day_ && last_of_month);
  const bool weekday = weekdays_[static_cast<std::size_t>(at.weekday)];
  return day_star_ || weekday_star_ ? day && weekday : day || weekday;
}

bool CronSchedule::matches(std::int64_t unix_seconds, LocalClock clock) const {
  const LocalMinute at = clock(unix_seconds);
  if (!minutes_[static_cast<std::size_t>(at.minute)] || !hours_[static_cast<std::size_t>(at.hour)]) return false;
  // pg_cron asks whether it will be the first in 24 hours. When the clock changes, the calendar may say otherwise.
  const bool last_of_month = last_day_ && clock(unix_seconds + kDay).day == 1;
  return matches_day(at, last_of_month);
}

bool CronSchedule::has_a_day() const {
  if (!day_star_ && !weekday_star_ && weekdays_.any()) return true;
  if (last_day_) return true;
  static constexpr std::array<std::size_t, 13> kLongest = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (std::size_t month = 1; month < kLongest.size(); ++month) {
    if (!months_[month]) continue;
    for (std::size_t day = 1; day <= kLongest[month]; ++day) {
      if (days_[day]) return true;
    }
  }
  return false;
}

int CronSchedule::minutes_without_match(const LocalMinute& now, bool may_be_last, int direction) const {
  if (!matches_day(now, may_be_last)) return direction < 0 ? minute_of_day(now) + 1 : 1440 - minute_of_day(now);
  if (!hours_[static_cast<std::size_t>(now.hour)]) return direction < 0 ? now.minute + 1 : 60 - now.minute;
  return minutes_without(minutes_, now.minute, direction);
}

std::optional<std::int64_t> CronSchedule::search(std::int64_t from, int direction, LocalClock clock) const {
  if (minutes_.none() || hours_.none() || months_.none() || !has_a_day()) return std::nullopt;
  const std::int64_t limit = from + direction * kHorizon;
  for (std::int64_t at = from; direction < 0 ? at >= limit : at <= limit;) {
    const LocalMinute now = clock(at);
    const bool may_be_last = now.day >= 26;  // 28 or later, with room for clock changes
    const int count = minutes_without_match(now, may_be_last, direction);
    if (count == 0 && matches(at, clock)) return at;
    at = leap(at, now, count, direction, clock);
  }
  return std::nullopt;
}

std::optional<std::int64_t> CronSchedule::newest_at_or_before(std::int64_t unix_seconds, LocalClock clock) const {
  return search(minute_start(unix_seconds), -1, clock);
}

std::optional<std::int64_t> CronSchedule::next_after(std::int64_t unix_seconds, LocalClock clock) const {
  return search(minute_start(unix_seconds) + kMinute, 1, clock);
}

}  // namespace wee5::core
