// Feeds any Retry-After of an answer. The next attempt must not begin before now, or after the window.
// Input: the bytes of the header's value.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "promise.hpp"
#include "wee5_cron/core/outcome/retry_policy.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  constexpr std::int64_t kSecond = 1'000'000;
  // 1970, today, the end of 32-bit time, and the last years of Postgres's calendar.
  for (const std::int64_t now :
       {std::int64_t{0}, 1'800'000'000 * kSecond, 2'147'483'647 * kSecond, 9'000'000'000'000 * kSecond}) {
    const std::optional<std::int64_t> at = wee5::core::retry_after_us(value, now);
    WEE5_PROMISE(!at || *at >= now);

    wee5::core::RetryPolicy policy;
    wee5::core::FailedAttempt failed;
    failed.reason = wee5::core::Reason::kHttp;
    failed.http_status = 503;
    failed.retry_after = value;
    failed.first_begun_us = now;
    failed.ended_us = now + kSecond;
    for (const double random : {0.0, 0.5, 0.999}) {
      const std::optional<std::int64_t> next = wee5::core::next_attempt_us(policy, failed, random);
      WEE5_PROMISE(next.has_value());
      WEE5_PROMISE(*next >= failed.ended_us);
      WEE5_PROMISE(*next <= failed.first_begun_us + policy.window_ms * 1000);
    }
  }
  return 0;
}
