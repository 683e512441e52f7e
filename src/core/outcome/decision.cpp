#include "wee5_cron/core/outcome/decision.hpp"

#include <array>
#include <cstddef>

namespace wee5::core {

namespace {

// In the order of Status.
constexpr std::array<const char*, 8> kStatusNames = {"queued",    "sending", "retrying", "accepted",
                                                     "succeeded", "failed",  "skipped",  "cancelled"};

// The final status of a call that did not succeed.
Status status_of_failure(Reason reason) noexcept {
  switch (reason) {
    case Reason::kCancelled:
      return Status::kCancelled;
    case Reason::kOverlap:
      return Status::kSkipped;
    default:
      return Status::kFailed;
  }
}

}  // namespace

const char* status_name(Status status) noexcept { return kStatusNames[static_cast<std::size_t>(status)]; }

Decision decide(const Explanation& explanation, const EndedAttempt& ended, const RetryPolicy& policy, double random) {
  if (explanation.succeeded) return {Status::kSucceeded, 0, ended.ended_us};
  if (explanation.accepted) return {Status::kAccepted, completion_deadline_us(policy, ended.ended_us), 0};
  if (ended.may_retry) {
    FailedAttempt failed;
    failed.attempt = ended.attempt;
    failed.reason = explanation.reason;
    failed.http_status = ended.http_status;
    failed.retry_after = ended.retry_after;
    failed.first_begun_us = ended.first_begun_us;
    failed.ended_us = ended.ended_us;
    if (const auto next = next_attempt_us(policy, failed, random)) return {Status::kRetrying, *next, 0};
  }
  return {status_of_failure(explanation.reason), 0, ended.ended_us};
}

Decision decide_unsent(Reason reason, std::int64_t now_us) noexcept { return {status_of_failure(reason), 0, now_us}; }

Begin may_begin(const DueAttempt& due, const RetryPolicy& policy, std::int64_t now_us) noexcept {
  if (due.cut_off) {
    const bool at_most_once = policy.retry_on == RetryOn::kNever;
    return at_most_once || due.attempt > policy.max_attempts ? Begin::kNeverLost : Begin::kNow;
  }
  const bool is_retry = due.attempt > 1 && due.first_begun_us > 0;
  return !is_retry || may_still_begin(policy, due.attempt, due.first_begun_us, now_us) ? Begin::kNow
                                                                                       : Begin::kNeverLate;
}

}  // namespace wee5::core
