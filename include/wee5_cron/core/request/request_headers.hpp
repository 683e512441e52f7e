#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

struct Header {
  std::string name;
  std::string value;
};

enum class Method { kGet, kPost, kPut, kPatch, kDelete, kHead };

// Reads GET, POST, PUT, PATCH, DELETE, HEAD in any case. Throws Error{kInvalidValue} that names the value.
Method parse_method(std::string_view text);
const char* method_name(Method method) noexcept;
// GET and HEAD carry no body; POST, PUT and PATCH send {} where the caller gave none; DELETE may carry one.
bool takes_body(Method method) noexcept;
bool needs_body(Method method) noexcept;

// Checks a header that a caller adds. Its name must be a token (RFC 9110), and its value must not hold CR, LF or NUL.
// Callers cannot set Authorization, Host, Content-Length, Transfer-Encoding, Connection, Expect, TE, Trailer, Upgrade,
// Proxy-*, or the headers that wee5_cron sends itself, except for User-Agent and traceparent. Throws
// Error{kInvalidValue} that names the header, never its value.
void check_custom_header(std::string_view name, std::string_view value);

// The same for a secret header, which only the configuration of a target may give. It may be Authorization.
void check_secret_header(std::string_view name, std::string_view value);

// How the app or a target is shown its secret, and further headers that are as secret.
struct SecretHeaders {
  std::string header = "Authorization";
  std::string prefix = "Bearer ";
  std::vector<Header> further;
};

// Checked headers as lines "Name: value", each with a line feed, and back.
std::string header_lines(const std::vector<Header>& headers);
std::vector<Header> headers_of_lines(std::string_view lines);

// wee5_cron.trace: whether calls carry a traceparent, and what it says about sampling.
enum class Trace { kOn, kUnsampled, kOff };

// What wee5_cron's own headers say about a request. An empty text: no such header.
struct RequestIdentity {
  std::int64_t invocation_id = 0;
  int attempt = 1;
  std::string idempotency_key;  // uuid text, the same on every attempt
  std::string job_name;         // UTF-8; characters that a header cannot hold are sent percent-encoded
  std::string scheduled_at;     // RFC 3339, UTC
  bool has_body = false;
  std::int64_t timeout_ms = 0;  // of this attempt; 0: no such header
  Trace trace = Trace::kOn;
};

// wee5_cron's headers in the order they are sent, then the caller's: the secret (Authorization: Bearer <secret>, unless
// `secret_headers` says otherwise), the further secret headers, with a body
// Content-Type, User-Agent: wee5_cron/<version>, Cache-Control: no-cache, Idempotency-Key, X-Wee5-Cron-Invocation,
// X-Wee5-Cron-Attempt, X-Wee5-Cron-Timeout-Ms, for a job X-Wee5-Cron-Job and X-Wee5-Cron-Scheduled-At, and traceparent.
// `custom` holds headers that check_custom_header() accepted, and a job's x-vercel-cron-schedule. A User-Agent or
// traceparent in it replaces wee5_cron's own. A secret header replaces both.
std::vector<Header> request_headers(std::string_view secret, const RequestIdentity& identity,
                                    const std::vector<Header>& custom, const SecretHeaders& secret_headers = {});

// The headers of an alert. It does not go to the app, so it carries no bearer.
std::vector<Header> alert_headers(std::string_view idempotency_key);

}  // namespace wee5::core
