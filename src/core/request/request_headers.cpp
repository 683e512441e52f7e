#include "wee5_cron/core/request/request_headers.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "wee5_cron/core/request/occurrence.hpp"
#include "wee5_cron/core/request/version.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

constexpr std::array<std::pair<std::string_view, Method>, 6> kMethods = {{{"GET", Method::kGet},
                                                                          {"POST", Method::kPost},
                                                                          {"PUT", Method::kPut},
                                                                          {"PATCH", Method::kPatch},
                                                                          {"DELETE", Method::kDelete},
                                                                          {"HEAD", Method::kHead}}};

// Headers of the transfer itself. A second one would let a caller choose the host, forge the bearer, split the request
// or change how the connection is used (RFC 9110, sections 7.6.1, 7.8, 10.1.1 and 10.1.4).
constexpr std::array<std::string_view, 9> kTransferHeaders = {
    "authorization", "host", "content-length", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade"};
constexpr std::string_view kProxyPrefix = "proxy-";
// Headers that wee5_cron sends itself, besides those that start with kOurPrefix. A caller may replace User-Agent and
// traceparent.
constexpr std::array<std::string_view, 4> kOurHeaders = {"content-type", "cache-control", "idempotency-key",
                                                         "x-vercel-cron-schedule"};
constexpr std::string_view kOurPrefix = "x-wee5-cron-";

bool is_one_of(std::string_view name, const auto& list) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// tchar of RFC 9110, section 5.6.2.
bool is_token_byte(char byte) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return is_alnum(byte) || kMarks.find(byte) != std::string_view::npos;
}

// If a caller gives a whole line "Name: value" as the name, the error must not show the value.
std::string shown_name(std::string_view name) { return "\"" + printable(name.substr(0, name.find(':'))) + "\""; }

// Encodes `text` for a header so that decodeURIComponent() restores it. Keeps printable ASCII except '%', and except
// blanks at the ends, which receivers remove.
std::string header_text(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char byte = text[at];
    const bool outer_blank = byte == ' ' && (at == 0 || at + 1 == text.size());
    if (is_control(byte) || !is_ascii(byte) || byte == '%' || outer_blank) {
      append_percent_encoded(out, byte);
    } else {
      out += byte;
    }
  }
  return out;
}

bool holds(const std::vector<Header>& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [name](const Header& header) { return equals_ignoring_case(header.name, name); });
}

void check_name(std::string_view name) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_token_byte)) {
    throw Error(
        ErrorKind::kInvalidValue, "invalid header name " + shown_name(name),
        "A header's name holds letters, digits and hyphens, such as \"X-Request-Source\"; no blanks and no colon.");
  }
}

void check_value(std::string_view name, std::string_view value) {
  constexpr std::string_view kForbidden("\r\n\0", 3);
  if (value.find_first_of(kForbidden) != std::string_view::npos) {
    throw Error(ErrorKind::kInvalidValue,
                "the value of header " + shown_name(name) + " holds a line break or a NUL byte",
                "Take it out, or encode the value, for instance as base64.");
  }
}

}  // namespace

Method parse_method(std::string_view text) {
  for (const auto& [name, method] : kMethods) {
    if (equals_ignoring_case(text, name)) return method;
  }
  throw Error(ErrorKind::kInvalidValue, "invalid method \"" + printable(text) + "\"",
              "Use GET, POST, PUT, PATCH, DELETE or HEAD.");
}

const char* method_name(Method method) noexcept {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kPatch:
      return "PATCH";
    case Method::kDelete:
      return "DELETE";
    case Method::kHead:
      return "HEAD";
  }
  return "GET";
}

bool takes_body(Method method) noexcept { return method != Method::kGet && method != Method::kHead; }

bool needs_body(Method method) noexcept { return takes_body(method) && method != Method::kDelete; }

void check_custom_header(std::string_view name, std::string_view value) {
  check_name(name);
  const std::string lower = lower_case(name);
  if (is_one_of(lower, kTransferHeaders) || lower.starts_with(kProxyPrefix)) {
    throw Error(ErrorKind::kInvalidValue, "header " + shown_name(name) + " cannot be set by a caller",
                lower == "authorization" ? "The bearer comes from app.settings.cron_secret; leave the header out."
                                         : "It is written with the request itself; leave it out.");
  }
  if (is_one_of(lower, kOurHeaders) || lower.starts_with(kOurPrefix)) {
    throw Error(ErrorKind::kInvalidValue, "header " + shown_name(name) + " cannot be set by a caller",
                "wee5_cron sends this header itself; choose another name.");
  }
  check_value(name, value);
}

void check_secret_header(std::string_view name, std::string_view value) {
  if (!equals_ignoring_case(name, "Authorization")) return check_custom_header(name, value);
  check_value(name, value);
}

std::string header_lines(const std::vector<Header>& headers) {
  std::string lines;
  for (const Header& header : headers) lines += header.name + ": " + header.value + "\n";
  return lines;
}

std::vector<Header> headers_of_lines(std::string_view lines) {
  std::vector<Header> headers;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    const std::size_t colon = line.find(": ");
    headers.push_back({std::string(line.substr(0, colon)), std::string(line.substr(colon + 2))});
    lines.remove_prefix(line.size() + 1);
  }
  return headers;
}

std::vector<Header> request_headers(std::string_view secret, const RequestIdentity& identity,
                                    const std::vector<Header>& custom, const SecretHeaders& secret_headers) {
  std::vector<Header> headers;
  headers.reserve(11 + custom.size() + secret_headers.further.size());
  headers.push_back({secret_headers.header, secret_headers.prefix + std::string(secret)});
  headers.insert(headers.end(), secret_headers.further.begin(), secret_headers.further.end());
  const auto secret_count = static_cast<std::ptrdiff_t>(headers.size());
  const auto replaced = [&](std::string_view name) { return holds(headers, name) || holds(custom, name); };
  // Fastify and others answer 400 to a Content-Type without a body.
  if (identity.has_body) headers.push_back({"Content-Type", "application/json"});
  if (!replaced("User-Agent")) headers.push_back({"User-Agent", std::string("wee5_cron/") + kVersion});
  headers.push_back({"Cache-Control", "no-cache"});
  if (!identity.idempotency_key.empty()) headers.push_back({"Idempotency-Key", identity.idempotency_key});
  headers.push_back({"X-Wee5-Cron-Invocation", std::to_string(identity.invocation_id)});
  headers.push_back({"X-Wee5-Cron-Attempt", std::to_string(identity.attempt)});
  if (identity.timeout_ms > 0) headers.push_back({"X-Wee5-Cron-Timeout-Ms", std::to_string(identity.timeout_ms)});
  if (!identity.job_name.empty()) headers.push_back({"X-Wee5-Cron-Job", header_text(identity.job_name)});
  if (!identity.scheduled_at.empty()) headers.push_back({"X-Wee5-Cron-Scheduled-At", identity.scheduled_at});
  if (identity.trace != Trace::kOff && !identity.idempotency_key.empty() && !replaced("traceparent")) {
    headers.push_back({"traceparent", traceparent(identity.idempotency_key, identity.invocation_id, identity.attempt,
                                                  identity.trace == Trace::kOn)});
  }
  const std::vector<Header> secrets(headers.begin(), headers.begin() + secret_count);
  std::copy_if(custom.begin(), custom.end(), std::back_inserter(headers),
               [&secrets](const Header& header) { return !holds(secrets, header.name); });
  return headers;
}

std::vector<Header> alert_headers(std::string_view idempotency_key) {
  return {{"Content-Type", "application/json"},
          {"User-Agent", std::string("wee5_cron/") + kVersion},
          {"Idempotency-Key", std::string(idempotency_key)}};
}

}  // namespace wee5::core
