#include "wee5_cron/core/outcome/retry_policy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wee5::core {

namespace {

constexpr std::int64_t kUsPerMs = 1'000;
constexpr double kSpread = 0.2;
constexpr std::int64_t kLeastLatenessUs = 60'000'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

std::int64_t add_capped(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return kNever;
  return sum;
}

std::int64_t us_of_ms(std::int64_t ms) noexcept { return ms > kNever / kUsPerMs ? kNever : ms * kUsPerMs; }

std::int64_t delay_us(const RetryPolicy& policy, int attempt) {
  if (policy.delays_ms.empty()) return 0;
  const std::size_t last = policy.delays_ms.size() - 1;
  const std::size_t index = std::min(static_cast<std::size_t>(std::max(attempt, 1) - 1), last);
  return us_of_ms(std::max<std::int64_t>(policy.delays_ms[index], 0));
}

std::int64_t spread_us(std::int64_t exact_us, double random) {
  const double factor = 1 - kSpread + 2 * kSpread * std::clamp(random, 0.0, 1.0);
  const double delay_us = static_cast<double>(exact_us) * factor;
  return delay_us >= static_cast<double>(kNever) ? kNever : static_cast<std::int64_t>(std::llround(delay_us));
}

}  // namespace

std::optional<RetryOn> parse_retry_on(std::string_view text) noexcept {
  if (text == "unprocessed") return RetryOn::kUnprocessed;
  if (text == "transient") return RetryOn::kTransient;
  if (text == "never") return RetryOn::kNever;
  return std::nullopt;
}

bool is_retryable(RetryOn retry_on, Reason reason, int http_status) noexcept {
  if (retry_on == RetryOn::kNever) return false;
  switch (reason) {
    case Reason::kDns:
    case Reason::kConnect:
    case Reason::kTls:
    case Reason::kLost:
      return true;
    case Reason::kHttp:
      if (http_status == 429 || http_status == 503) return true;
      return retry_on == RetryOn::kTransient &&
             (http_status == 408 || http_status == 425 || (http_status >= 500 && http_status <= 599));
    case Reason::kTimeout:
    case Reason::kResponse:
    case Reason::kIncomplete:
      return retry_on == RetryOn::kTransient;
    case Reason::kNone:
    case Reason::kConfig:
    case Reason::kRedirect:
    case Reason::kOverlap:
    case Reason::kCancelled:
      break;
  }
  return false;
}

std::optional<std::int64_t> next_attempt_us(const RetryPolicy& policy, const FailedAttempt& failed, double random) {
  if (failed.attempt >= policy.max_attempts) return std::nullopt;
  if (!is_retryable(policy.retry_on, failed.reason, failed.http_status)) return std::nullopt;
  const std::int64_t window_end = add_capped(failed.first_begun_us, us_of_ms(policy.window_ms));
  if (failed.ended_us > window_end) return std::nullopt;
  const auto asked_for = retry_after_us(failed.retry_after, failed.ended_us);
  if (asked_for && *asked_for > failed.ended_us) return std::min(*asked_for, window_end);
  // Chance must not decide whether there is another attempt, so the window is compared with the delay as configured.
  const std::int64_t exact_us = delay_us(policy, failed.attempt);
  if (add_capped(failed.ended_us, exact_us) > window_end) return std::nullopt;
  return std::min(add_capped(failed.ended_us, spread_us(exact_us, random)), window_end);
}

std::int64_t completion_deadline_us(const RetryPolicy& policy, std::int64_t accepted_us) noexcept {
  return add_capped(accepted_us, us_of_ms(policy.complete_within_ms));
}

bool may_still_begin(const RetryPolicy& policy, int attempt, std::int64_t first_begun_us,
                     std::int64_t now_us) noexcept {
  if (policy.retry_on == RetryOn::kNever || attempt > policy.max_attempts) return false;
  const std::int64_t window_us = us_of_ms(policy.window_ms);
  const std::int64_t window_end = add_capped(first_begun_us, window_us);
  return now_us <= add_capped(window_end, std::max(kLeastLatenessUs, window_us / 10));
}

}  // namespace wee5::core
