#include "wee5_cron/core/outcome/decision.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace wee5::core {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kBegun = 1'700'000'000 * kSecond;
constexpr double kMiddle = 0.5;  // no spread

Explanation explanation(Reason reason) {
  Explanation said;
  said.succeeded = reason == Reason::kNone;
  said.reason = reason;
  return said;
}

EndedAttempt ended(int attempt, int http_status = 0) {
  EndedAttempt end;
  end.attempt = attempt;
  end.http_status = http_status;
  end.first_begun_us = kBegun;
  end.ended_us = kBegun + kSecond;
  return end;
}

TEST(Decision, StatusesHaveTheWordsOfTheLedger) {
  EXPECT_STREQ(status_name(Status::kQueued), "queued");
  EXPECT_STREQ(status_name(Status::kSending), "sending");
  EXPECT_STREQ(status_name(Status::kRetrying), "retrying");
  EXPECT_STREQ(status_name(Status::kAccepted), "accepted");
  EXPECT_STREQ(status_name(Status::kSucceeded), "succeeded");
  EXPECT_STREQ(status_name(Status::kFailed), "failed");
  EXPECT_STREQ(status_name(Status::kSkipped), "skipped");
  EXPECT_STREQ(status_name(Status::kCancelled), "cancelled");
}

TEST(Decision, SuccessEndsTheCallWhenItsAttemptEnded) {
  const Decision decision = decide(explanation(Reason::kNone), ended(1, 200), RetryPolicy(), kMiddle);
  EXPECT_EQ(decision.status, Status::kSucceeded);
  EXPECT_EQ(decision.next_attempt_us, 0);
  EXPECT_EQ(decision.finished_us, kBegun + kSecond);
}

TEST(Decision, SuccessIsNeverRetriedWhateverThePolicySays) {
  RetryPolicy policy;
  policy.retry_on = RetryOn::kTransient;
  EXPECT_EQ(decide(explanation(Reason::kNone), ended(1, 204), policy, kMiddle).status, Status::kSucceeded);
}

TEST(Decision, AcceptedCallWaitsUntilItsTimeIsOver) {
  Explanation accepted;
  accepted.accepted = true;
  RetryPolicy policy;
  const Decision by_default = decide(accepted, ended(1, 202), policy, kMiddle);
  EXPECT_EQ(by_default.status, Status::kAccepted);
  EXPECT_EQ(by_default.next_attempt_us, kBegun + kSecond + 3'600 * kSecond);
  EXPECT_EQ(by_default.finished_us, 0);
  policy.complete_within_ms = 1'500;
  EXPECT_EQ(decide(accepted, ended(9, 202), policy, kMiddle).next_attempt_us, kBegun + kSecond + 1'500'000);
}

TEST(Decision, IncompleteWorkIsRetriedOnlyUnderTransient) {
  for (const RetryOn retry_on : {RetryOn::kUnprocessed, RetryOn::kTransient, RetryOn::kNever}) {
    RetryPolicy policy;
    policy.retry_on = retry_on;
    const Decision decision = decide(explanation(Reason::kIncomplete), ended(1), policy, kMiddle);
    EXPECT_EQ(decision.status, retry_on == RetryOn::kTransient ? Status::kRetrying : Status::kFailed);
  }
}

TEST(Decision, RetryLeavesTheCallUnfinished) {
  const Decision decision = decide(explanation(Reason::kConnect), ended(1), RetryPolicy(), kMiddle);
  EXPECT_EQ(decision.status, Status::kRetrying);
  EXPECT_EQ(decision.next_attempt_us, kBegun + 11 * kSecond);
  EXPECT_EQ(decision.finished_us, 0);
}

TEST(Decision, LastAttemptIsFinal) {
  const RetryPolicy policy;
  EXPECT_EQ(decide(explanation(Reason::kConnect), ended(policy.max_attempts - 1), policy, kMiddle).status,
            Status::kRetrying);
  const Decision decision = decide(explanation(Reason::kConnect), ended(policy.max_attempts), policy, kMiddle);
  EXPECT_EQ(decision.status, Status::kFailed);
  EXPECT_EQ(decision.next_attempt_us, 0);
  EXPECT_EQ(decision.finished_us, kBegun + kSecond);
}

TEST(Decision, NothingIsRetriedWithoutATransport) {
  EndedAttempt end = ended(1);
  end.may_retry = false;
  EXPECT_EQ(decide(explanation(Reason::kLost), end, RetryPolicy(), kMiddle).status, Status::kFailed);
}

TEST(Decision, RetryAfterAppliesUpToTheEndOfTheWindow) {
  EndedAttempt end = ended(1, 503);
  end.retry_after = "120";
  EXPECT_EQ(decide(explanation(Reason::kHttp), end, RetryPolicy(), kMiddle).next_attempt_us, kBegun + 121 * kSecond);
  end.retry_after = "86400";
  EXPECT_EQ(decide(explanation(Reason::kHttp), end, RetryPolicy(), kMiddle).next_attempt_us, kBegun + 3'600 * kSecond);
}

TEST(Decision, WindowThatIsOverIsFinal) {
  EndedAttempt end = ended(1);
  end.ended_us = kBegun + 3'601 * kSecond;
  const Decision decision = decide(explanation(Reason::kDns), end, RetryPolicy(), kMiddle);
  EXPECT_EQ(decision.status, Status::kFailed);
  EXPECT_EQ(decision.finished_us, end.ended_us);
}

TEST(Decision, PolicyNeverIsFinal) {
  RetryPolicy policy;
  policy.retry_on = RetryOn::kNever;
  for (const Reason reason : {Reason::kDns, Reason::kLost, Reason::kTimeout, Reason::kResponse})
    EXPECT_EQ(decide(explanation(reason), ended(1), policy, kMiddle).status, Status::kFailed) << reason_name(reason);
}

TEST(Decision, CancelledAttemptIsCancelledAndNotFailed) {
  const Decision decision = decide(explanation(Reason::kCancelled), ended(1), RetryPolicy(), kMiddle);
  EXPECT_EQ(decision.status, Status::kCancelled);
  EXPECT_EQ(decision.finished_us, kBegun + kSecond);
}

TEST(Decision, UnsentCallEndsByItsReason) {
  EXPECT_EQ(decide_unsent(Reason::kConfig, 7).status, Status::kFailed);
  EXPECT_EQ(decide_unsent(Reason::kLost, 7).status, Status::kFailed);
  EXPECT_EQ(decide_unsent(Reason::kCancelled, 7).status, Status::kCancelled);
  EXPECT_EQ(decide_unsent(Reason::kOverlap, 7).status, Status::kSkipped);
  EXPECT_EQ(decide_unsent(Reason::kOverlap, 7).finished_us, 7);
  EXPECT_EQ(decide_unsent(Reason::kOverlap, 7).next_attempt_us, 0);
}

TEST(MayBegin, FirstAttemptAlwaysMay) {
  RetryPolicy never;
  never.retry_on = RetryOn::kNever;
  EXPECT_EQ(may_begin({1, 0, false}, never, kBegun), Begin::kNow);
  EXPECT_EQ(may_begin({1, 0, false}, RetryPolicy(), kBegun), Begin::kNow);
}

TEST(MayBegin, RetryEndsWithItsLastOutcomeIfThePolicyChanged) {
  RetryPolicy policy;
  EXPECT_EQ(may_begin({2, kBegun, false}, policy, kBegun + kSecond), Begin::kNow);
  EXPECT_EQ(may_begin({policy.max_attempts, kBegun, false}, policy, kBegun + kSecond), Begin::kNow);
  EXPECT_EQ(may_begin({policy.max_attempts + 1, kBegun, false}, policy, kBegun + kSecond), Begin::kNeverLate);
  policy.retry_on = RetryOn::kNever;
  EXPECT_EQ(may_begin({2, kBegun, false}, policy, kBegun + kSecond), Begin::kNeverLate);
}

TEST(MayBegin, RetryMayBeATenthOfItsWindowLate) {
  const RetryPolicy policy;  // an hour
  const std::int64_t latest = kBegun + 3'960 * kSecond;
  EXPECT_EQ(may_begin({2, kBegun, false}, policy, latest), Begin::kNow);
  EXPECT_EQ(may_begin({2, kBegun, false}, policy, latest + 1), Begin::kNeverLate);
}

TEST(MayBegin, CutOffAttemptIsRepeatedHoweverLate) {
  const RetryPolicy policy;
  EXPECT_EQ(may_begin({2, kBegun, true}, policy, kBegun + 86'400 * kSecond), Begin::kNow);
  EXPECT_EQ(may_begin({policy.max_attempts + 1, kBegun, true}, policy, kBegun), Begin::kNeverLost);
}

TEST(MayBegin, CutOffAttemptIsLostIfThePolicyIsNever) {
  RetryPolicy policy;
  policy.retry_on = RetryOn::kNever;
  EXPECT_EQ(may_begin({2, kBegun, true}, policy, kBegun), Begin::kNeverLost);
}

}  // namespace
}  // namespace wee5::core
