#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "wee5_cron/core/outcome/outcome.hpp"

namespace wee5::core {

// After which failures a call is made again.
enum class RetryOn {
  kUnprocessed,  // the app cannot have processed it: DNS, connection or TLS failed, or it said so with 429 or 503
  kTransient,    // also timeouts, broken connections, 408, 425, every 5xx, and work that was not completed: the app may
                 // have done its work
  kNever         // sent at most once, crashes included
};

// "unprocessed", "transient", "never"; nullopt for anything else.
std::optional<RetryOn> parse_retry_on(std::string_view text) noexcept;

// What becomes of a call whose attempt failed. The defaults are for a path without a policy.
struct RetryPolicy {
  int max_attempts = 4;
  RetryOn retry_on = RetryOn::kUnprocessed;
  std::vector<std::int64_t> delays_ms = {10'000, 60'000, 300'000};  // after the first attempt, the second ...; the
                                                                    // last repeats
  std::int64_t window_ms = 3'600'000;                               // no attempt begins later than that
  std::int64_t complete_within_ms = 3'600'000;  // how long the app may work on a call that it accepted
};

// Whether the policy retries such a failure. `lost` is an attempt that a crash cut off. A committed call is delivered
// at least once, so only kNever gives it up.
bool is_retryable(RetryOn retry_on, Reason reason, int http_status) noexcept;

// A failed attempt. Times are unix times in microseconds.
struct FailedAttempt {
  int attempt = 1;
  Reason reason = Reason::kNone;
  int http_status = 0;
  std::string_view retry_after;     // the answer's header, as it came; empty: none
  std::int64_t first_begun_us = 0;  // the first attempt of the call: the window counts from here
  std::int64_t ended_us = 0;        // this one
};

// When the next attempt begins; nullopt: the failure is final. `random` from [0, 1) spreads a delay by 20 % to either
// side, but not beyond the window, so that calls that failed together do not come back together. A Retry-After replaces
// the delay. If it lies beyond the window, the last attempt is made at the window's end. The delay counts if
// Retry-After is zero or in the past, since the app's clock may differ.
std::optional<std::int64_t> next_attempt_us(const RetryPolicy& policy, const FailedAttempt& failed, double random);

// When work that the app accepted at `accepted_us` must be completed.
std::int64_t completion_deadline_us(const RetryPolicy& policy, std::int64_t accepted_us) noexcept;

// Whether a retry may still begin when it is due. The policy may have changed by then. A retry long after its window,
// because the server was down, would surprise the app. Some delay is normal.
bool may_still_begin(const RetryPolicy& policy, int attempt, std::int64_t first_begun_us, std::int64_t now_us) noexcept;

// Reads a Retry-After: seconds, or a date in any of the three formats of HTTP (RFC 9110, section 5.6.7). The time it
// names, never before `now_us`; nullopt where it is neither.
std::optional<std::int64_t> retry_after_us(std::string_view value, std::int64_t now_us) noexcept;

}  // namespace wee5::core
