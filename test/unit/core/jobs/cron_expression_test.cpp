#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/jobs/cron_schedule.hpp"

// Each of these was compared with the parsers of pg_cron 1.4.2 and 1.6.4 themselves, compiled alone.
namespace wee5::core {
namespace {

constexpr bool kLongHas64Bits = sizeof(long) == 8;

using namespace std::string_view_literals;

constexpr CronDialect kDialect14{};
constexpr CronDialect kDialect15{false, true};
constexpr CronDialect kDialect16{true, true};

// 2026-01-01 00:00:00 UTC, a Thursday.
constexpr std::int64_t kNewYear = 1767225600;
constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 86400;

bool accepted(std::string_view text, CronDialect dialect = kDialect16) {
  return CronSchedule::parse(text, dialect).has_value();
}

// Which of `count` instants, `step` apart from New Year on, match.
std::string matching(std::string_view text, std::int64_t step, int count, CronDialect dialect = kDialect16) {
  const auto schedule = CronSchedule::parse(text, dialect);
  if (!schedule) return "refused";
  std::string out;
  for (int i = 0; i < count; ++i) {
    if (schedule->matches(kNewYear + i * step, utc_clock)) out += std::to_string(i) + " ";
  }
  return out;
}

std::string minutes(std::string_view field, CronDialect dialect = kDialect16) {
  return matching(std::string(field) + " * * * *", kMinute, 60, dialect);
}
std::string hours(std::string_view field, CronDialect dialect = kDialect16) {
  return matching("0 " + std::string(field) + " * * *", kHour, 24, dialect);
}
// Days of January, from 0 on.
std::string days(std::string_view fields, CronDialect dialect = kDialect16) {
  return matching("0 0 " + std::string(fields), kDay, 31, dialect);
}

TEST(CronExpression, ReadsListsRangesAndSteps) {
  EXPECT_EQ(minutes("5"), "5 ");
  EXPECT_EQ(minutes("5,10,7"), "5 7 10 ");
  EXPECT_EQ(minutes("3-6"), "3 4 5 6 ");
  EXPECT_EQ(minutes("*/20"), "0 20 40 ");
  EXPECT_EQ(minutes("10-40/15"), "10 25 40 ");
  EXPECT_EQ(minutes("1-3,50,*/30"), "0 1 2 3 30 50 ");
  EXPECT_EQ(minutes("59"), "59 ");
  EXPECT_EQ(minutes("00007"), "7 ");
  EXPECT_EQ(minutes("*/59"), "0 59 ");
  EXPECT_EQ(hours("22-23"), "22 23 ");
  EXPECT_EQ(days("1,31 * *"), "0 30 ");
}

TEST(CronExpression, ReadsNamesOfMonthsAndWeekdays) {
  EXPECT_EQ(days("* jan *").size(), days("* * *").size());
  EXPECT_EQ(days("* FEB-Dec *"), "");
  EXPECT_EQ(days("* jan,mar *"), days("* 1 *"));
  EXPECT_EQ(days("* * thu"), "0 7 14 21 28 ");
  EXPECT_EQ(days("* * Mon-FRI"), days("* * 1-5"));
  EXPECT_EQ(days("* * sun"), "3 10 17 24 ");
  EXPECT_EQ(days("* * 0"), "3 10 17 24 ");
  EXPECT_EQ(days("* * 7"), "3 10 17 24 ");
  EXPECT_EQ(days("* * 6-7"), "2 3 9 10 16 17 23 24 30 ");
  EXPECT_FALSE(accepted("0 0 * * sunday"));
  EXPECT_FALSE(accepted("0 0 * januar *"));
  EXPECT_FALSE(accepted("0 0 jan * *"));  // names only where they mean something
  EXPECT_FALSE(accepted("mon * * * *"));
  EXPECT_FALSE(accepted("0 0 * * mon/2"));
  EXPECT_EQ(days("* * mon-fri/2"), days("* * 1,3,5"));
}

TEST(CronExpression, MatchesDayOrWeekdayUnlessOneStartsWithAStar) {
  EXPECT_EQ(days("13 * fri"), "1 8 12 15 22 29 ");
  EXPECT_EQ(days("13 * *"), "12 ");
  EXPECT_EQ(days("* * fri"), "1 8 15 22 29 ");
  EXPECT_EQ(days("*/2 * fri"), "8 22 ");  // odd days that are Fridays: the star makes it AND
  EXPECT_EQ(days("1-31/2 * fri").size(), days("1-31/2 * *").size() + std::string("1 15 29 ").size());
  EXPECT_EQ(days("13 * */3"), "");  // the 13th is a Tuesday; Sunday, Wednesday, Saturday
  EXPECT_EQ(days("13 * 0-7/3"), "2 3 6 9 10 12 13 16 17 20 23 24 27 30 ");
  EXPECT_EQ(days("5,* * fri"), days("* * *"));  // a star that does not come first is no star
}

TEST(CronExpression, RefusesInvalidExpressions) {
  for (const std::string_view text : {""sv,
                                      " "sv,
                                      "\n"sv,
                                      "*"sv,
                                      "* * * *"sv,
                                      "60 * * * *"sv,
                                      "* 24 * * *"sv,
                                      "* * 0 * *"sv,
                                      "* * 32 * *"sv,
                                      "* * * 0 *"sv,
                                      "* * * 13 *"sv,
                                      "* * * * 8"sv,
                                      "5/10 * * * *"sv,
                                      "*/0 * * * *"sv,
                                      "*/ * * * *"sv,
                                      "1- * * * *"sv,
                                      "-1 * * * *"sv,
                                      "1,, * * * *"sv,
                                      "1, * * * *"sv,
                                      ",1 * * * *"sv,
                                      "a * * * *"sv,
                                      "1a * * * *"sv,
                                      "1-60 * * * *"sv,
                                      "5-64/30 * * * *"sv,
                                      "? * * * *"sv,
                                      "* * L * *"sv,
                                      "* *\n* * *"sv,
                                      "+5 * * * *"sv,
                                      "*/-1 * * * *"sv,
                                      "1-5x * * * *"sv,
                                      "@"sv,
                                      "@Daily"sv,
                                      "@dailyx"sv,
                                      "@every 5m"sv,
                                      "@ daily"sv,
                                      "daily"sv,
                                      "# only a comment"sv,
                                      "99999999999999999999 * * * *"sv,
                                      "\v* * * * *"sv,
                                      "* * * * \xC3\xBC"sv}) {
    EXPECT_FALSE(accepted(text, kDialect14)) << text;
    EXPECT_FALSE(accepted(text, kDialect16)) << text;
  }
}

// What Vixie's parser passes over. A job with such a schedule runs, so its ticks have to be known.
TEST(CronExpression, AcceptsOddExpressionsAsPgCronDoes) {
  EXPECT_EQ(minutes("5x"), "refused");
  EXPECT_EQ(minutes("5?garbage"), "5 ");
  EXPECT_EQ(minutes("*garbage").size(), minutes("*").size());
  EXPECT_EQ(minutes("*-5").size(), minutes("*").size());
  EXPECT_EQ(minutes("5-7?"), "5 6 7 ");
  EXPECT_EQ(minutes("5\xC3\xBC"), "5 ");
  EXPECT_EQ(minutes("5#"), "5 ");
  EXPECT_EQ(minutes("*/100"), "0 ");
  // pg_cron reads numbers with atoi(): the lower 32 bits of a long, or the largest one.
  EXPECT_EQ(minutes("4294967301"), kLongHas64Bits ? "5 " : "refused");
  EXPECT_EQ(minutes("*/4294967336"), kLongHas64Bits ? "0 40 " : "0 ");
  EXPECT_EQ(minutes("*/99999999999999999999"), kLongHas64Bits ? "refused" : "0 ");
  EXPECT_EQ(minutes("50-59/2147483647"), "50 ");
  EXPECT_TRUE(accepted(" \t5 \t * * * *"));
  EXPECT_TRUE(accepted("* * * * * and more"));
  EXPECT_TRUE(accepted("* * * * * *"));
  EXPECT_TRUE(accepted("* * * * *\n"));
  EXPECT_TRUE(accepted("* * * * *\n* nonsense"));
  EXPECT_TRUE(accepted("# a comment\n\n  # another\n* * * * *"));
  EXPECT_TRUE(accepted("* * * * 1,2 "));
  EXPECT_TRUE(accepted("* * * * *\0 5"sv));
  EXPECT_TRUE(accepted(std::string("* * * * *") + std::string(990, ' ')));   // 999 bytes
  EXPECT_FALSE(accepted(std::string("* * * * *") + std::string(991, ' ')));  // 1,000
}

// Reversed ranges are empty in pg_cron 1.4 and 1.5. In 1.6 those that cross a byte of the bit string set its ends.
TEST(CronExpression, ReadsReversedRangesAsPgCronDoes) {
  EXPECT_EQ(minutes("20-10", kDialect15), "");
  EXPECT_EQ(minutes("20-10", kDialect16), "8 9 10 20 21 22 23 ");
  EXPECT_EQ(minutes("7-1", kDialect16), "");
  EXPECT_EQ(minutes("20-10/2", kDialect16), "");
  EXPECT_EQ(hours("22-2", kDialect14), "");
  EXPECT_EQ(hours("22-2", kDialect16), "0 1 2 22 23 ");
  EXPECT_EQ(days("* * fri-mon", kDialect16), "");
}

TEST(CronExpression, ReadsWordsLikeHourly) {
  EXPECT_EQ(matching("@hourly", kMinute, 121), "0 60 120 ");
  EXPECT_EQ(matching("@daily", 12 * kHour, 5), "0 2 4 ");
  EXPECT_EQ(matching("@midnight", 12 * kHour, 5), "0 2 4 ");
  EXPECT_EQ(matching("@weekly", kDay, 20), "3 10 17 ");
  EXPECT_EQ(matching("@monthly", kDay, 70), "0 31 59 ");
  EXPECT_EQ(matching("@daily and more", 12 * kHour, 3), "0 2 ");
  EXPECT_EQ(matching("  @daily\n", 12 * kHour, 3), "0 2 ");
  // pg_cron 1.6 takes @yearly and never runs it.
  EXPECT_EQ(matching("@yearly", kDay, 400, kDialect14), "0 365 ");
  EXPECT_EQ(matching("@annually", kDay, 400, kDialect15), "0 365 ");
  EXPECT_EQ(matching("@yearly", kDay, 400, kDialect16), "");
}

TEST(CronExpression, RebootMatchesNoMinute) {
  for (const char* word : {"@reboot", "@restart"}) {
    const auto schedule = CronSchedule::parse(word, kDialect14);
    ASSERT_TRUE(schedule);
    EXPECT_TRUE(schedule->at_reboot());
    EXPECT_FALSE(schedule->matches(kNewYear, utc_clock));
    EXPECT_FALSE(schedule->next_after(kNewYear, utc_clock));
    EXPECT_FALSE(schedule->newest_at_or_before(kNewYear, utc_clock));
  }
}

TEST(CronExpression, ReadsTheLastDayOfTheMonth) {
  EXPECT_EQ(matching("0 0 $ * *", kDay, 91), "30 58 89 ");
  EXPECT_EQ(matching("0 0 $ 2 *", kDay, 91), "58 ");
  EXPECT_EQ(matching("0 0 $ * sat", kDay, 31), "2 9 16 23 30 ");  // OR: neither is a star
  EXPECT_FALSE(accepted("0 0 $ * *", kDialect14));
  EXPECT_FALSE(accepted("0 0 $,15 * *"));
  EXPECT_FALSE(accepted("0 0 15,$ * *"));
  EXPECT_FALSE(accepted("0 $ * * *"));
  EXPECT_FALSE(accepted("0 0 $"));
}

TEST(CronExpression, ReadsIntervalsOfSeconds) {
  const auto interval = [](std::string_view text, CronDialect dialect = kDialect15) {
    const auto schedule = CronSchedule::parse(text, dialect);
    return schedule ? schedule->interval_seconds() : -1;
  };
  for (const std::string_view text : {"5 seconds"sv, "5 second"sv, "5seconds"sv, " \n5\t SECONDS"sv, "5 Seconds  \n"sv,
                                      "05 seconds"sv, "+5 seconds"sv}) {
    EXPECT_EQ(interval(text), 5) << text;
  }
  EXPECT_EQ(interval("4294967301 seconds"), kLongHas64Bits ? 5 : -1);
  EXPECT_EQ(interval("1 seconds"), 1);
  EXPECT_EQ(interval("59 seconds"), 59);
  for (const std::string_view text :
       {"0 seconds"sv, "60 seconds"sv, "-5 seconds"sv, "5 second "sv, "5 seconds x"sv, "5 secondss"sv, "5 sec"sv,
        "5 secon"sv, "5 minutes"sv, "seconds"sv, "5"sv, "5 s"sv, "5.5 seconds"sv, "- 5 seconds"sv, "0x5 seconds"sv}) {
    EXPECT_EQ(interval(text), -1) << text;
  }
  EXPECT_EQ(interval("5 seconds", kDialect14), -1);
  const auto schedule = CronSchedule::parse("5 seconds", kDialect15);
  EXPECT_FALSE(schedule->matches(kNewYear, utc_clock));
  EXPECT_FALSE(schedule->next_after(kNewYear, utc_clock));
  EXPECT_EQ(CronSchedule::parse("* * * * *", kDialect15)->interval_seconds(), 0);
}

}  // namespace
}  // namespace wee5::core
