#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/outcome/retry_policy.hpp"

// What an answer that pg_net got means for the ledger: the same texts and decisions as for one of our own worker.
namespace wee5::core {

// How much of a body is looked at beyond what is kept, since the secret may stand across the cut.
inline constexpr std::size_t kSecretMargin = 8'192;

// A row of net._http_response. Bytes as they came from the network.
struct PgNetAnswer {
  bool lost = false;    // pg_net no longer knows the request; everything below is empty
  int http_status = 0;  // 0: there was no answer
  bool timed_out = false;
  bool failed = false;  // there is an error_msg
  std::string_view error_msg;
  std::string_view content_type;
  std::string_view content;       // its first max_response_bytes + kSecretMargin bytes
  std::size_t content_bytes = 0;  // of all of it
  std::vector<std::pair<std::string_view, std::string_view>> headers;
};

// The call that it answers, with everything that the outcome depends on.
struct PgNetCall {
  std::string_view endpoint_path;
  std::string_view url;
  std::string_view method;
  std::int64_t timeout_ms = 0;
  int attempt = 1;
  std::int64_t first_begun_us = 0;
  bool may_retry = true;
  std::vector<std::string> secrets;  // that its request may have carried
  std::string_view withheld;         // stands for every text of the answer where the secrets are not known; else empty
  std::size_t max_response_bytes = 0;
};

struct PgNetOutcome {
  Decision decision;
  Explanation explanation;
  std::string content_type;
  std::string body;  // valid UTF-8 without NUL, redacted
  bool truncated = false;
};
PgNetOutcome decide(const PgNetAnswer& answer, const PgNetCall& call, const RetryPolicy& policy, std::int64_t now_us,
                    double random);

// pg_net tells a failure only in words (libcurl's, or "Timeout of 5000 ms reached ..."), and whether it timed out
// only in some versions: the reason that those words stand for.
Reason reason_of_pg_net(std::string_view error_msg, bool timed_out) noexcept;

}  // namespace wee5::core
