#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "wee5_cron/core/outcome.hpp"

namespace wee5::core {

// After which failures a call is made again.
enum class RetryOn {
  kUnprocessed,  // surely not worked on: DNS, connection or TLS failed, or the app says so itself with 429 or 503
  kTransient,    // also timeouts, broken connections, 408, 425 and every 5xx: the app may have done its work
  kNever         // sent at most once, crashes included
};

// "unprocessed", "transient", "never"; nullopt for anything else.
std::optional<RetryOn> parse_retry_on(std::string_view text) noexcept;

// What becomes of a call whose attempt failed. The defaults are those of a path without a policy of its own.
struct RetryPolicy {
  int max_attempts = 4;
  RetryOn retry_on = RetryOn::kUnprocessed;
  std::vector<std::int64_t> delays_ms = {10'000, 60'000, 300'000};  // after the first attempt, the second ...; the
                                                                    // last repeats
  std::int64_t window_ms = 3'600'000;                               // no attempt begins later than that
};

// Whether such a failure is worth another attempt. `lost` is an attempt that a crash cut off: what is committed is
// delivered at least once, so only kNever gives it up.
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

// When the next attempt begins, nullopt: the failure is final. `random` from [0, 1) spreads a delay by 20 % to either
// side, so that what failed together does not come back together, but not beyond the window. A Retry-After counts
// instead of the delay; beyond the window it is cut to the window's end, where the call has its last attempt. One of
// nothing, or a moment that has passed, as the app's clock may be another one, leaves the delay.
std::optional<std::int64_t> next_attempt_us(const RetryPolicy& policy, const FailedAttempt& failed, double random);

// Whether a call that failed may still have its next attempt when that is due: the policy can be another one by then,
// and what comes long after its window, the server having been down, would surprise the app. Some lateness is usual.
bool may_still_begin(const RetryPolicy& policy, int attempt, std::int64_t first_begun_us, std::int64_t now_us) noexcept;

// Reads a Retry-After: seconds, or a date in any of the three formats of HTTP (RFC 9110, section 5.6.7). The time it
// names, never before `now_us`; nullopt where it is neither.
std::optional<std::int64_t> retry_after_us(std::string_view value, std::int64_t now_us) noexcept;

}  // namespace wee5::core
