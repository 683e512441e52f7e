#include "wee5_cron/core/jobs/cron_schedule.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace wee5::core {
namespace {

using std::chrono::sys_days;
using std::chrono::sys_seconds;
using std::chrono::year_month_day;

constexpr CronDialect kDialect16{true, true};
constexpr std::int64_t kDay = 86400;

constexpr std::int64_t at(int year, unsigned month, unsigned day, int hour = 0, int minute = 0, int second = 0) {
  const sys_days date{std::chrono::year(year) / static_cast<int>(month) / static_cast<int>(day)};
  return date.time_since_epoch().count() * kDay + std::int64_t{60} * (60 * hour + minute) + second;
}

CronSchedule parsed(const std::string& text) {
  const auto schedule = CronSchedule::parse(text, kDialect16);
  EXPECT_TRUE(schedule) << text;
  return schedule.value_or(CronSchedule());
}

// The wall clock at a fixed offset, by the standard library's calendar.
LocalMinute clock_at_offset(std::int64_t unix_seconds, std::int64_t offset) {
  const sys_seconds time{std::chrono::seconds(unix_seconds + offset)};
  const sys_days date = std::chrono::floor<std::chrono::days>(time);
  const year_month_day calendar(date);
  const auto minute = std::chrono::duration_cast<std::chrono::minutes>(time - date).count();
  return {static_cast<int>(minute % 60), static_cast<int>(minute / 60),
          static_cast<int>(static_cast<unsigned>(calendar.day())),
          static_cast<int>(static_cast<unsigned>(calendar.month())),
          static_cast<int>(std::chrono::weekday(date).c_encoding())};
}

// From one instant until another.
struct Period {
  std::int64_t from;
  std::int64_t until;
};

template <std::size_t kCount>
bool is_within(const std::array<Period, kCount>& periods, std::int64_t now) {
  for (const Period& period : periods) {
    if (now >= period.from && now < period.until) return true;
  }
  return false;
}

// Central Europe: 2021, 2023, 2024 and 2026. In 2021 the clock goes back on the last day of October, in 2024 it goes
// forward on the last day of March, which is what '$' meets.
LocalMinute berlin(std::int64_t now) {
  static constexpr std::array<Period, 3> kSummers = {{{at(2021, 3, 28, 1), at(2021, 10, 31, 1)},
                                                      {at(2024, 3, 31, 1), at(2024, 10, 27, 1)},
                                                      {at(2026, 3, 29, 1), at(2026, 10, 25, 1)}}};
  return clock_at_offset(now, is_within(kSummers, now) ? 7200 : 3600);
}

// Lord Howe Island moves by half an hour only.
LocalMinute lord_howe(std::int64_t now) {
  static constexpr std::array<Period, 1> kWinters = {{{at(2026, 4, 4, 15), at(2026, 10, 3, 15, 30)}}};
  return clock_at_offset(now, is_within(kWinters, now) ? 37800 : 39600);
}

// Samoa left out the whole 30 December 2011.
LocalMinute apia(std::int64_t now) {
  static constexpr std::int64_t kMove = at(2011, 12, 30, 10);
  return clock_at_offset(now, now < kMove ? -36000 : 50400);
}

// Midnight itself is skipped (Cairo, Beirut).
LocalMinute cairo(std::int64_t now) {
  static constexpr std::array<Period, 1> kSummers = {{{at(2026, 4, 23, 22), at(2026, 10, 29, 21)}}};
  return clock_at_offset(now, is_within(kSummers, now) ? 10800 : 7200);
}

std::optional<std::int64_t> slow_newest(const CronSchedule& schedule, std::int64_t now, LocalClock clock, int days) {
  now -= ((now % 60) + 60) % 60;
  for (std::int64_t then = now; then >= now - days * kDay; then -= 60) {
    if (schedule.matches(then, clock)) return then;
  }
  return std::nullopt;
}

std::optional<std::int64_t> slow_next(const CronSchedule& schedule, std::int64_t now, LocalClock clock, int days) {
  now -= ((now % 60) + 60) % 60;
  for (std::int64_t then = now + 60; then <= now + days * kDay; then += 60) {
    if (schedule.matches(then, clock)) return then;
  }
  return std::nullopt;
}

TEST(UtcClock, AgreesWithTheCalendar) {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<std::int64_t> seconds(-4'000'000'000, 8'000'000'000);
  std::vector<std::int64_t> instants = {
      0, -1, -60, -86400, at(2000, 2, 29), at(1900, 3, 1), at(2100, 2, 28, 23, 59, 59)};
  for (int i = 0; i < 20000; ++i) instants.push_back(seconds(random));
  for (const std::int64_t instant : instants) {
    const LocalMinute got = utc_clock(instant);
    const LocalMinute expected = clock_at_offset(instant, 0);
    ASSERT_EQ(got.minute, expected.minute) << instant;
    ASSERT_EQ(got.hour, expected.hour) << instant;
    ASSERT_EQ(got.day, expected.day) << instant;
    ASSERT_EQ(got.month, expected.month) << instant;
    ASSERT_EQ(got.weekday, expected.weekday) << instant;
  }
}

TEST(CronSchedule, FindsTheJobsTicks) {
  const std::int64_t now = at(2026, 11, 23, 10, 47, 12);
  EXPECT_EQ(parsed("*/30 * * * *").newest_at_or_before(now, utc_clock), at(2026, 11, 23, 10, 30));
  EXPECT_EQ(parsed("0 * * * *").newest_at_or_before(now, utc_clock), at(2026, 11, 23, 10));
  EXPECT_EQ(parsed("0 0 * * *").newest_at_or_before(now, utc_clock), at(2026, 11, 23));
  EXPECT_EQ(parsed("*/30 * * * *").next_after(now, utc_clock), at(2026, 11, 23, 11));
  EXPECT_EQ(parsed("0 0 * * *").next_after(now, utc_clock), at(2026, 11, 24));
  EXPECT_EQ(parsed("0 0 1 1 *").newest_at_or_before(now, utc_clock), at(2026, 1, 1));
  EXPECT_EQ(parsed("59 23 31 12 *").next_after(now, utc_clock), at(2026, 12, 31, 23, 59));
}

TEST(CronSchedule, TheMinuteItselfCountsBackwardsAndNotForwards) {
  const CronSchedule schedule = parsed("30 10 * * *");
  const std::int64_t tick = at(2026, 11, 23, 10, 30);
  EXPECT_EQ(schedule.newest_at_or_before(tick, utc_clock), tick);
  EXPECT_EQ(schedule.newest_at_or_before(tick + 59, utc_clock), tick);
  EXPECT_EQ(schedule.newest_at_or_before(tick - 1, utc_clock), tick - kDay);
  EXPECT_EQ(schedule.next_after(tick - 1, utc_clock), tick);
  EXPECT_EQ(schedule.next_after(tick, utc_clock), tick + kDay);
  EXPECT_EQ(schedule.next_after(tick + 59, utc_clock), tick + kDay);
}

int clock_reads = 0;
LocalMinute counting_clock(std::int64_t now) {
  ++clock_reads;
  return berlin(now);
}

TEST(CronSchedule, FindsLeapDaysAndNoOthers) {
  EXPECT_EQ(parsed("0 0 29 2 *").next_after(at(2024, 2, 29), utc_clock), at(2028, 2, 29));
  EXPECT_EQ(parsed("0 0 29 2 *").newest_at_or_before(at(2028, 2, 28, 23, 59), utc_clock), at(2024, 2, 29));
  EXPECT_FALSE(parsed("0 0 30 2 *").next_after(at(2024, 1, 1), utc_clock));
  EXPECT_FALSE(parsed("0 0 31 4,6,9,11 *").newest_at_or_before(at(2024, 1, 1), utc_clock));
  EXPECT_FALSE(parsed("@yearly").next_after(at(2024, 1, 1), utc_clock));
}

// 29 February is a Sunday in 2032, 2060 and 2088, and then in 2128, since 2100 has no such day. A weekday that begins
// with a star counts besides the day of the month.
TEST(CronSchedule, FindsDaysThatComeOnceInFortyYears) {
  const CronSchedule schedule = parsed("0 0 29 2 */7");
  EXPECT_EQ(schedule.next_after(at(2026, 1, 1), utc_clock), at(2032, 2, 29));
  EXPECT_EQ(schedule.next_after(at(2088, 2, 29), utc_clock), at(2128, 2, 29));
  EXPECT_EQ(schedule.newest_at_or_before(at(2128, 2, 28), utc_clock), at(2088, 2, 29));
  EXPECT_EQ(parsed("0 0 29 2 *").next_after(at(2096, 2, 29), utc_clock), at(2104, 2, 29));
}

TEST(CronSchedule, DaysThatNoMonthHasNeedNoSearch) {
  for (const char* never : {"0 0 30 2 *", "* * 30-31 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2,4,6,9,11 */2"}) {
    clock_reads = 0;
    EXPECT_FALSE(parsed(never).next_after(at(2024, 1, 1), counting_clock)) << never;
    EXPECT_FALSE(parsed(never).newest_at_or_before(at(2024, 1, 1), counting_clock)) << never;
    EXPECT_EQ(clock_reads, 0) << never;
  }
  // A weekday, or the last day of the month, makes up for the day.
  for (const char* fires : {"0 0 30 2 1", "0 0 $ 2 *", "0 0 31 4,5 *", "0 0 29 2 *"})
    EXPECT_TRUE(parsed(fires).next_after(at(2024, 1, 1), utc_clock)) << fires;
}

LocalMinute clock_without_sundays(std::int64_t now) {
  LocalMinute local = counting_clock(now);
  if (local.weekday == 0) local.weekday = 1;
  return local;
}

// Forty years have twenty million minutes, and a search that finds nothing looks at all of them.
TEST(CronSchedule, ASearchThatFindsNothingStepsByDays) {
  clock_reads = 0;
  EXPECT_FALSE(parsed("0 0 29 2 */7").next_after(at(2024, 1, 1), clock_without_sundays));
  EXPECT_FALSE(parsed("* * 29 2 */7").newest_at_or_before(at(2064, 1, 1), clock_without_sundays));
  EXPECT_LT(clock_reads, 80'000);
}

TEST(CronSchedule, AFixedHourInTheSpringGapIsSkippedThatDay) {
  // 29 March 2026: 02:00 becomes 03:00.
  EXPECT_EQ(parsed("30 2 * * *").next_after(at(2026, 3, 28, 12), berlin), at(2026, 3, 30, 0, 30));
  EXPECT_EQ(parsed("0 3 * * *").next_after(at(2026, 3, 28, 12), berlin), at(2026, 3, 29, 1));
}

TEST(CronSchedule, ARepeatedAutumnHourComesTwice) {
  // 25 October 2026: 03:00 becomes 02:00.
  const CronSchedule schedule = parsed("30 2 * * *");
  EXPECT_EQ(schedule.next_after(at(2026, 10, 24, 12), berlin), at(2026, 10, 25, 0, 30));
  EXPECT_EQ(schedule.next_after(at(2026, 10, 25, 0, 30), berlin), at(2026, 10, 25, 1, 30));
  EXPECT_EQ(schedule.newest_at_or_before(at(2026, 10, 25, 12), berlin), at(2026, 10, 25, 1, 30));
}

// pg_cron asks whether it is the first in 24 hours, which is not the same on days of 23 and 25.
TEST(CronSchedule, TheLastDayIsTheOneThatPgCronUses) {
  EXPECT_FALSE(parsed("30 0 $ * *").matches(at(2021, 10, 30, 22, 30), berlin));  // 31 October 2021, 25 hours long
  EXPECT_TRUE(parsed("30 1 $ * *").matches(at(2021, 10, 30, 23, 30), berlin));
  EXPECT_TRUE(parsed("30 23 $ * *").matches(at(2024, 3, 30, 22, 30), berlin));  // the day before one of 23 hours
}

std::string random_field(std::mt19937& random, int low, int high) {
  const auto number = [&] { return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1)); };
  std::string field;
  for (int items = random() % 4 == 0 ? 3 : 1; items > 0; --items) {
    const int first = number();
    const int last = first + static_cast<int>(random() % static_cast<unsigned>(high - first + 1));
    switch (random() % 4) {
      case 0:
        field += "*/" + std::to_string(1 + random() % 20);
        break;
      case 1:
        field += std::to_string(first) + "-" + std::to_string(last);
        break;
      case 2:
        field += std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(1 + random() % 5);
        break;
      default:
        field += std::to_string(first);
    }
    if (items > 1) field += ",";
  }
  return field;
}

std::string random_schedule(std::mt19937& random) {
  const auto star_or = [&](unsigned star_share, int low, int high) {
    return random() % 10 < star_share ? std::string("*") : random_field(random, low, high);
  };
  const bool last_day = random() % 12 == 0;
  std::string days = last_day ? "$" : star_or(6, 1, 31);
  return star_or(3, 0, 59) + " " + star_or(4, 0, 23) + " " + days + " " + star_or(7, 1, 12) + " " + star_or(6, 0, 7);
}

// An independent reading of well-formed fields: the values as a set, no bits.
std::set<int> values_of(const std::string& field, int low, int high) {
  std::set<int> values;
  for (std::size_t begin = 0; begin <= field.size();) {
    const std::size_t end = std::min(field.find(',', begin), field.size());
    const std::string item = field.substr(begin, end - begin);
    const std::size_t slash = item.find('/');
    const std::string range = item.substr(0, slash);
    const int step = slash == std::string::npos ? 1 : std::stoi(item.substr(slash + 1));
    const std::size_t dash = range.find('-');
    const int first = range == "*" ? low : std::stoi(range);
    const int last = range == "*" ? high : dash == std::string::npos ? first : std::stoi(range.substr(dash + 1));
    for (int value = first; value <= last; value += step) values.insert(value);
    begin = end + 1;
  }
  return values;
}

struct NaiveSchedule {
  std::set<int> minutes, hours, days, months, weekdays;
  bool any_star = false;
  bool last_day = false;

  explicit NaiveSchedule(const std::string& text) {
    std::vector<std::string> fields(1);
    for (const char byte : text) {
      if (byte == ' ') {
        fields.emplace_back();
      } else {
        fields.back() += byte;
      }
    }
    minutes = values_of(fields[0], 0, 59);
    hours = values_of(fields[1], 0, 23);
    last_day = fields[2] == "$";
    if (!last_day) days = values_of(fields[2], 1, 31);
    months = values_of(fields[3], 1, 12);
    weekdays = values_of(fields[4], 0, 7);
    any_star = fields[2].front() == '*' || fields[4].front() == '*';
  }

  bool matches(std::int64_t now, LocalClock clock) const {
    const LocalMinute local = clock(now);
    const bool day = days.count(local.day) > 0 || (last_day && clock(now + kDay).day == 1);
    const bool weekday = weekdays.count(local.weekday) > 0 || (local.weekday == 0 && weekdays.count(7) > 0);
    return minutes.count(local.minute) > 0 && hours.count(local.hour) > 0 && months.count(local.month) > 0 &&
           (any_star ? day && weekday : day || weekday);
  }
};

TEST(CronScheduleProperty, MatchesAsANaiveReadingDoes) {
  std::mt19937 random(42);
  const std::array<LocalClock, 3> clocks = {utc_clock, berlin, lord_howe};
  for (int i = 0; i < 400; ++i) {
    const std::string text = random_schedule(random);
    const CronSchedule schedule = parsed(text);
    const NaiveSchedule naive(text);
    const LocalClock clock = clocks.at(random() % clocks.size());
    for (int j = 0; j < 400; ++j) {
      const std::int64_t now = at(2026, 1, 1) + static_cast<std::int64_t>(random() % 525'600) * 60;
      ASSERT_EQ(schedule.matches(now, clock), naive.matches(now, clock)) << text << " at " << now;
    }
  }
}

// Days around which the clock does something; searches from there, fast and minute by minute.
struct Place {
  const char* name;
  LocalClock clock;
  std::int64_t day;
};

class CronSearch : public testing::TestWithParam<Place> {};

TEST_P(CronSearch, FindsWhatMinuteByMinuteFinds) {
  constexpr int kReach = 5;  // days
  std::mt19937 random(4711);
  const Place& place = GetParam();
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_schedule(random);
    const CronSchedule schedule = parsed(text);
    const std::int64_t now = place.day - 2 * kDay + static_cast<std::int64_t>(random() % 345'600);
    const auto newest = schedule.newest_at_or_before(now, place.clock);
    const auto next = schedule.next_after(now, place.clock);
    const auto slow_back = slow_newest(schedule, now, place.clock, kReach);
    const auto slow_forward = slow_next(schedule, now, place.clock, kReach);
    if (slow_back) {
      ASSERT_EQ(newest, slow_back) << text << " from " << now;
    } else {
      ASSERT_TRUE(!newest || *newest < now - kReach * kDay) << text << " from " << now;
    }
    if (slow_forward) {
      ASSERT_EQ(next, slow_forward) << text << " from " << now;
    } else {
      ASSERT_TRUE(!next || *next > now + (kReach - 1) * kDay) << text << " from " << now;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Clocks, CronSearch,
                         testing::Values(Place{"utc_new_year", utc_clock, at(2026, 1, 1)},
                                         Place{"utc_leap_day", utc_clock, at(2024, 2, 29)},
                                         Place{"utc_before_1970", utc_clock, at(1969, 12, 31)},
                                         Place{"berlin_spring", berlin, at(2026, 3, 29)},
                                         Place{"berlin_autumn", berlin, at(2026, 10, 25)},
                                         Place{"berlin_long_last_day", berlin, at(2021, 10, 31)},
                                         Place{"berlin_short_last_day", berlin, at(2024, 3, 31)},
                                         Place{"lord_howe_autumn", lord_howe, at(2026, 4, 4)},
                                         Place{"lord_howe_spring", lord_howe, at(2026, 10, 3)},
                                         Place{"apia_without_a_day", apia, at(2011, 12, 30)},
                                         Place{"cairo_without_midnight", cairo, at(2026, 4, 23)},
                                         Place{"cairo_midnight_twice", cairo, at(2026, 10, 29)}),
                         [](const auto& info) { return info.param.name; });

TEST(CronFields, CountFromTheFirstValueOfTheField) {
  const CronFields fields = parsed("0,59 23 1,31 jan,12 sun").fields();
  EXPECT_EQ(fields.minutes, 1ULL << 59 | 1);
  EXPECT_EQ(fields.hours, 1ULL << 23);
  EXPECT_EQ(fields.days, 1ULL << 30 | 1);
  EXPECT_EQ(fields.months, 1ULL << 11 | 1);
  EXPECT_EQ(fields.weekdays, 1ULL << 7 | 1);
  EXPECT_TRUE(fields.any_of_days);
  EXPECT_FALSE(fields.last_day);
}

TEST(CronFields, SayWhetherBothDaysMustMatch) {
  EXPECT_FALSE(parsed("0 0 */2 * 1").fields().any_of_days);
  EXPECT_FALSE(parsed("0 0 1 * */2").fields().any_of_days);
  EXPECT_TRUE(parsed("0 0 1-31 * 1").fields().any_of_days);
  EXPECT_TRUE(parsed("0 0 $ * *").fields().last_day);
  EXPECT_EQ(parsed("0 0 $ * *").fields().days, 0U);
}

TEST(CronFields, AreEmptyWithoutMinutes) {
  for (const char* text : {"@reboot", "30 seconds"}) {
    const CronFields fields = parsed(text).fields();
    EXPECT_EQ(fields.minutes | fields.hours | fields.days | fields.months | fields.weekdays, 0U) << text;
  }
}

}  // namespace
}  // namespace wee5::core
