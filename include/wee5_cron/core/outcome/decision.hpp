#pragma once

#include <cstdint>
#include <string_view>

#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/outcome/retry_policy.hpp"

// What becomes of a call: the one place that decides it, for both transports. Times are Unix times in microseconds.
namespace wee5::core {

// The words of the ledger's column `status`.
enum class Status { kQueued, kSending, kRetrying, kAccepted, kSucceeded, kFailed, kSkipped, kCancelled };
const char* status_name(Status status) noexcept;

// What the call's row says from now on.
struct Decision {
  Status status = Status::kFailed;
  std::int64_t next_attempt_us = 0;  // kAccepted: when the app must have completed the work; 0: nothing is awaited
  std::int64_t finished_us = 0;      // 0: the call has not ended
};

// An attempt that has ended. `explanation` says how.
struct EndedAttempt {
  int attempt = 1;
  int http_status = 0;              // 0: there was no answer
  std::string_view retry_after;     // the answer's header as it came; empty: none
  std::int64_t first_begun_us = 0;  // when the first attempt of the call began
  std::int64_t ended_us = 0;
  bool may_retry = true;  // false: nothing could carry another attempt
};

// The next attempt, the time until which the app may work, or the end of the call. `random` from [0, 1) spreads the
// delay (retry_policy.hpp).
Decision decide(const Explanation& explanation, const EndedAttempt& ended, const RetryPolicy& policy, double random);

// A call that ends without a further attempt: its settings are unusable, it is cancelled, it would overlap, ...
Decision decide_unsent(Reason reason, std::int64_t now_us) noexcept;

// An attempt that is due. Most calls may begin. A call whose last attempt a crash cut off may not begin again where the
// policy says `never`. Neither may a retry that the policy no longer allows, or whose window closed long ago.
struct DueAttempt {
  int attempt = 1;                  // the number that it would have
  std::int64_t first_begun_us = 0;  // 0: no attempt has begun yet
  bool cut_off = false;             // the attempt before was on the wire when the worker or the server stopped
};
enum class Begin {
  kNow,
  kNeverLost,  // the call ends as `lost`
  kNeverLate   // the call ends with the outcome of its last attempt
};
Begin may_begin(const DueAttempt& due, const RetryPolicy& policy, std::int64_t now_us) noexcept;

}  // namespace wee5::core
