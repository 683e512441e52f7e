#include "wee5_cron/core/outcome/pg_net_answer.hpp"

#include <algorithm>
#include <initializer_list>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/redact.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

// As for an answer to our own worker.
constexpr std::size_t kMaxContentTypeBytes = 200;
constexpr std::size_t kMaxDetailBytes = 512;

// A text of the answer as it may be kept.
std::string kept_text(std::string_view text, const PgNetCall& call, std::size_t most) {
  if (text.empty()) return "";
  if (!call.withheld.empty()) return std::string(call.withheld);
  std::string kept = redact_all(valid_utf8(text.substr(0, most + kSecretMargin)), call.secrets);
  if (text.size() > most + kSecretMargin) {
    drop_margin(kept, longest_spelling(call.secrets));
    kept = valid_utf8(kept, true);
  }
  return shorten(kept, most);
}

void keep_body(const PgNetAnswer& answer, const PgNetCall& call, PgNetOutcome& outcome) {
  if (!call.withheld.empty()) {
    if (!answer.content.empty()) outcome.body = call.withheld;
    return;
  }
  const std::size_t most = call.max_response_bytes;
  outcome.truncated = answer.content_bytes > most;
  // Cut after the secret was redacted, not before: half of it would not be found.
  std::string body = redact_all(answer.content, call.secrets);
  if (answer.content_bytes > most + kSecretMargin) drop_margin(body, longest_spelling(call.secrets));
  if (outcome.truncated && body.size() > most) body.resize(most);
  outcome.body = valid_utf8(body, outcome.truncated);
}

Observation observe(const PgNetAnswer& answer, const PgNetCall& call, const PgNetOutcome& outcome) {
  Observation seen;
  seen.http_status = answer.http_status;
  seen.endpoint_path = call.endpoint_path;
  seen.url = call.url;
  seen.method = call.method;
  seen.content_type = outcome.content_type;
  seen.detail = kept_text(answer.error_msg, call, kMaxDetailBytes);
  seen.timeout_ms = call.timeout_ms;
  for (const auto& [name, value] : answer.headers) {
    const std::string line = std::string(name) + ": " + std::string(value);
    seen.cache_signs.read_line(line);
    seen.accepted = seen.accepted || says_accepted(line);
  }
  if (answer.lost) {
    seen.reason = Reason::kLost;
  } else if (answer.http_status == 0 || answer.failed || answer.timed_out) {
    seen.reason = reason_of_pg_net(answer.error_msg, answer.timed_out);
  }
  return seen;
}

std::string_view retry_after_of(const PgNetAnswer& answer) {
  for (const auto& [name, value] : answer.headers) {
    if (equals_ignoring_case(name, "retry-after")) return value;
  }
  return {};
}

}  // namespace

PgNetOutcome decide(const PgNetAnswer& answer, const PgNetCall& call, const RetryPolicy& policy, std::int64_t now_us,
                    double random) {
  PgNetOutcome outcome;
  outcome.content_type = kept_text(answer.content_type, call, kMaxContentTypeBytes);
  keep_body(answer, call, outcome);
  outcome.explanation = explain(observe(answer, call, outcome));
  EndedAttempt ended;
  ended.attempt = call.attempt;
  ended.http_status = answer.http_status;
  ended.retry_after = retry_after_of(answer);
  ended.first_begun_us = call.first_begun_us;
  ended.ended_us = now_us;
  ended.may_retry = call.may_retry;
  outcome.decision = decide(outcome.explanation, ended, policy, random);
  return outcome;
}

Reason reason_of_pg_net(std::string_view error_msg, bool timed_out) noexcept {
  // The words of a timeout first: they go on to list the lengths of its DNS and TLS phases.
  const auto says = [&](std::string_view wanted) {
    return std::search(error_msg.begin(), error_msg.end(), wanted.begin(), wanted.end(),
                       [](char a, char b) { return to_lower(a) == b; }) != error_msg.end();
  };
  const auto says_any = [&](std::initializer_list<std::string_view> wanted) {
    return std::any_of(wanted.begin(), wanted.end(), says);
  };
  if (timed_out || says_any({"timeout", "timed out"})) return Reason::kTimeout;
  if (says_any({"resolve host", "resolve proxy", "resolving host", "could not resolve"})) return Reason::kDns;
  if (says_any({"connect to server", "failed to connect", "connection refused", "proxy handshake"})) {
    return Reason::kConnect;
  }
  if (says_any({"ssl", "tls", "certificate", "ca cert", "issuer check", "crl file"})) return Reason::kTls;
  if (says("redirect")) return Reason::kRedirect;
  if (says_any({"url using bad", "unsupported protocol", "malformed", "bad/illegal"})) return Reason::kConfig;
  return Reason::kResponse;
}

}  // namespace wee5::core
