#include "wee5_cron/core/outcome/retry_policy.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace wee5::core {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kBegun = 1'700'000'000 * kSecond;
constexpr double kMiddle = 0.5;  // no jitter

FailedAttempt refused(int attempt, std::int64_t ended_us) {
  FailedAttempt failed;
  failed.attempt = attempt;
  failed.reason = Reason::kConnect;
  failed.first_begun_us = kBegun;
  failed.ended_us = ended_us;
  return failed;
}

FailedAttempt answered(int http_status, std::string_view retry_after = {}) {
  FailedAttempt failed = refused(1, kBegun + kSecond);
  failed.reason = Reason::kHttp;
  failed.http_status = http_status;
  failed.retry_after = retry_after;
  return failed;
}

TEST(RetryPolicy, ByDefaultFourAttemptsAfter10And60And300Seconds) {
  const RetryPolicy policy;
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), kMiddle), kBegun + 10 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, refused(2, kBegun + 20 * kSecond), kMiddle), kBegun + 80 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, refused(3, kBegun + 100 * kSecond), kMiddle), kBegun + 400 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, refused(4, kBegun + 500 * kSecond), kMiddle), std::nullopt);
  EXPECT_EQ(next_attempt_us(policy, refused(5, kBegun + 500 * kSecond), kMiddle), std::nullopt);
}

TEST(RetryPolicy, OneAttemptMeansNoRetry) {
  RetryPolicy policy;
  policy.max_attempts = 1;
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), kMiddle), std::nullopt);
}

TEST(RetryPolicy, TheLastDelayRepeats) {
  RetryPolicy policy;
  policy.max_attempts = 100;
  policy.delays_ms = {100, 2'000};
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), kMiddle), kBegun + kSecond / 10);
  for (const int attempt : {2, 3, 50, 99})
    EXPECT_EQ(next_attempt_us(policy, refused(attempt, kBegun), kMiddle), kBegun + 2 * kSecond) << attempt;
}

TEST(RetryPolicy, ADelayIsSpreadBy20PercentToEitherSide) {
  const RetryPolicy policy;
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), 0.0), kBegun + 8 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), 0.25), kBegun + 9 * kSecond);
  const auto latest = next_attempt_us(policy, refused(1, kBegun), std::nextafter(1.0, 0.0));
  ASSERT_TRUE(latest);
  EXPECT_LE(*latest, kBegun + 12 * kSecond);
  EXPECT_GE(*latest, kBegun + 12 * kSecond - 1);
  // Whatever a random source yields, it stays within.
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), -3.0), kBegun + 8 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), 7.0), kBegun + 12 * kSecond);
}

TEST(RetryPolicy, ADelayOfZeroIsAtOnce) {
  RetryPolicy policy;
  policy.delays_ms = {0};
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun + 7), 0.9), kBegun + 7);
}

TEST(RetryPolicy, NoAttemptBeginsAfterTheWindow) {
  RetryPolicy policy;
  policy.max_attempts = 100;
  policy.window_ms = 60'000;
  policy.delays_ms = {10'000};
  const std::int64_t end = kBegun + 60 * kSecond;
  EXPECT_EQ(next_attempt_us(policy, refused(1, end - 10 * kSecond), kMiddle), end) << "its last moment counts";
  EXPECT_EQ(next_attempt_us(policy, refused(1, end - 10 * kSecond + 1), kMiddle), std::nullopt);
  EXPECT_EQ(next_attempt_us(policy, refused(1, end + 1), 0.0), std::nullopt);
}

TEST(RetryPolicy, ChanceDoesNotDecideWhetherThereIsAnotherAttempt) {
  RetryPolicy policy;
  policy.window_ms = 60'000;
  policy.delays_ms = {60'000};
  for (const double random : {0.0, 0.5, 0.99}) {
    EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), random).value_or(0),
              kBegun + (random == 0.0 ? 48 : 60) * kSecond);
    EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun + 1), random), std::nullopt) << random;
  }
}

TEST(RetryPolicy, LimitsDoNotOverflow) {
  RetryPolicy policy;
  policy.max_attempts = std::numeric_limits<int>::max();
  policy.window_ms = std::numeric_limits<std::int64_t>::max();
  policy.delays_ms = {std::numeric_limits<std::int64_t>::max()};
  const auto at = next_attempt_us(policy, refused(1, kBegun), kMiddle);
  ASSERT_TRUE(at);
  EXPECT_GT(*at, kBegun);
  EXPECT_TRUE(next_attempt_us(policy, refused(std::numeric_limits<int>::max() - 1, kBegun), 1.0));
}

TEST(RetryPolicy, UnprocessedRetriesOnlyWhatTheAppCannotHaveProcessed) {
  const auto retries = [](Reason reason, int status = 0) {
    return is_retryable(RetryOn::kUnprocessed, reason, status);
  };
  for (const Reason reason : {Reason::kDns, Reason::kConnect, Reason::kTls, Reason::kLost}) {
    EXPECT_TRUE(retries(reason)) << reason_name(reason);
  }
  for (const Reason reason : {Reason::kTimeout, Reason::kResponse, Reason::kRedirect, Reason::kConfig,
                              Reason::kCancelled, Reason::kOverlap, Reason::kNone}) {
    EXPECT_FALSE(retries(reason)) << reason_name(reason);
  }
  std::set<int> statuses;
  for (int status = 100; status < 700; ++status)
    if (retries(Reason::kHttp, status)) statuses.insert(status);
  EXPECT_EQ(statuses, (std::set<int>{429, 503}));
}

TEST(RetryPolicy, TransientAlsoRetriesFailuresThatMayPass) {
  const auto retries = [](Reason reason, int status = 0) { return is_retryable(RetryOn::kTransient, reason, status); };
  for (const Reason reason :
       {Reason::kDns, Reason::kConnect, Reason::kTls, Reason::kLost, Reason::kTimeout, Reason::kResponse}) {
    EXPECT_TRUE(retries(reason)) << reason_name(reason);
  }
  for (const Reason reason : {Reason::kRedirect, Reason::kConfig, Reason::kCancelled, Reason::kNone}) {
    EXPECT_FALSE(retries(reason)) << reason_name(reason);
  }
  for (int status = 100; status < 700; ++status) {
    const bool wanted = status == 408 || status == 425 || status == 429 || (status >= 500 && status < 600);
    EXPECT_EQ(retries(Reason::kHttp, status), wanted) << status;
  }
}

TEST(RetryPolicy, NeverRetriesNothing) {
  RetryPolicy policy;
  policy.retry_on = RetryOn::kNever;
  for (int reason = 0; reason <= static_cast<int>(Reason::kCancelled); ++reason) {
    EXPECT_FALSE(is_retryable(RetryOn::kNever, static_cast<Reason>(reason), 503)) << reason;
  }
  EXPECT_EQ(next_attempt_us(policy, refused(1, kBegun), kMiddle), std::nullopt);
  EXPECT_EQ(next_attempt_us(policy, answered(503, "1"), kMiddle), std::nullopt);
}

TEST(RetryPolicy, ReadsItsThreeWords) {
  EXPECT_EQ(parse_retry_on("unprocessed"), RetryOn::kUnprocessed);
  EXPECT_EQ(parse_retry_on("transient"), RetryOn::kTransient);
  EXPECT_EQ(parse_retry_on("never"), RetryOn::kNever);
  EXPECT_EQ(parse_retry_on("Never"), std::nullopt);
  EXPECT_EQ(parse_retry_on(""), std::nullopt);
}

TEST(RetryPolicy, RetryAfterReplacesTheDelay) {
  const RetryPolicy policy;
  EXPECT_EQ(next_attempt_us(policy, answered(503, "120"), 0.0), kBegun + 121 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, answered(429, "2"), 0.9), kBegun + 3 * kSecond) << "sooner than the delay";
  EXPECT_EQ(next_attempt_us(policy, answered(503, "soon"), kMiddle), kBegun + 11 * kSecond) << "not understood";
  EXPECT_EQ(next_attempt_us(policy, answered(500, "2"), kMiddle), std::nullopt) << "500 may have been worked on";
}

TEST(RetryPolicy, ARetryAfterOfZeroLeavesTheDelay) {
  const RetryPolicy policy;
  for (const char* at_once : {"0", "Sun, 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_EQ(next_attempt_us(policy, answered(503, at_once), kMiddle), kBegun + 11 * kSecond) << at_once;
  }
}

TEST(RetryPolicy, RetryAfterIsCutToTheWindow) {
  const RetryPolicy policy;
  EXPECT_EQ(next_attempt_us(policy, answered(503, "86400"), kMiddle), kBegun + 3'600 * kSecond);
  EXPECT_EQ(next_attempt_us(policy, answered(503, "99999999999999999999"), kMiddle), kBegun + 3'600 * kSecond);
  FailedAttempt late = answered(503, "1");
  late.ended_us = kBegun + 3'601 * kSecond;
  EXPECT_EQ(next_attempt_us(policy, late, kMiddle), std::nullopt) << "the window is over";
}

// RFC 9110, section 5.6.7: one moment in the three formats.
constexpr std::int64_t kExample = 784'111'777 * kSecond;
constexpr std::array<std::string_view, 3> kExampleTexts = {
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};

TEST(RetryAfter, ReadsTheThreeDateFormats) {
  const std::int64_t before = kExample - 3'600 * kSecond;
  for (const std::string_view text : kExampleTexts) EXPECT_EQ(retry_after_us(text, before), kExample) << text;
  EXPECT_EQ(retry_after_us("Tue Nov 15 08:12:31 1994", before), 784'887'151 * kSecond) << "a day of two digits";
  EXPECT_EQ(retry_after_us("Thu, 29 Feb 2024 23:59:59 GMT", before), 1'709'251'199 * kSecond);
}

TEST(RetryAfter, ADateThatHasPassedIsNow) {
  for (const std::string_view text : kExampleTexts) EXPECT_EQ(retry_after_us(text, kBegun), kBegun) << text;
}

TEST(RetryAfter, AYearOfTwoDigitsIsAtMostFiftyYearsAhead) {
  // kBegun lies in November 2023.
  EXPECT_EQ(retry_after_us("Monday, 06-Nov-73 08:49:37 GMT", kBegun), 3'277'183'777 * kSecond) << "2073";
  EXPECT_EQ(retry_after_us("Tuesday, 06-Nov-74 08:49:37 GMT", kBegun), kBegun) << "1974";
  EXPECT_EQ(retry_after_us("Wednesday, 01-Jan-25 00:00:00 GMT", kBegun), 1'735'689'600 * kSecond) << "2025";
}

TEST(RetryAfter, ReadsSeconds) {
  EXPECT_EQ(retry_after_us("0", kBegun), kBegun);
  EXPECT_EQ(retry_after_us(" 120 ", kBegun), kBegun + 120 * kSecond);
  EXPECT_EQ(retry_after_us("007", kBegun), kBegun + 7 * kSecond);
  const auto century = retry_after_us("123456789012345678901234567890", kBegun);
  ASSERT_TRUE(century);
  EXPECT_GT(*century, kBegun);
}

TEST(RetryAfter, RefusesEverythingElse) {
  const std::vector<std::string> bad = {"",
                                        " ",
                                        "-1",
                                        "+1",
                                        "1.5",
                                        "1s",
                                        "1 2",
                                        "soon",
                                        "Sun, 06 Nov 1994 08:49:37",
                                        "Sun, 06 Nov 1994 08:49:37 CET",
                                        "Sun, 6 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 nov 1994 08:49:37 GMT",
                                        "Sun, 31 Feb 2024 08:49:37 GMT",
                                        "Sun, 00 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 24:00:00 GMT",
                                        "Sun, 06 Nov 1994 08:60:00 GMT",
                                        "Sun, 06 Nov 1994 08:49:61 GMT",
                                        "Sun, 06 Nov 1994 08:49:37 GMT+1",
                                        "Xyz, 06 Nov 1994 08:49:37 GMT",
                                        "Sun, 06-Nov-94 08:49:37 GMT",
                                        "Sunday, 06-Nov-1994 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 94",
                                        "Sun Nov",
                                        std::string("12\0"
                                                    "0",
                                                    4)};
  for (const std::string& text : bad) EXPECT_EQ(retry_after_us(text, kExample - kSecond), std::nullopt) << text;
}

}  // namespace
}  // namespace wee5::core
