#include "wee5_cron/core/outcome/outcome.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "outcome_parts.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/host_rules.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

constexpr std::size_t kShownDetail = 200;
// In the order of Reason.
constexpr std::array<const char*, 13> kReasonNames = {"",           "config",  "dns",      "connect",  "tls",
                                                      "timeout",    "http",    "redirect", "response", "lost",
                                                      "incomplete", "overlap", "cancelled"};
constexpr std::string_view kCacheAdvice =
    ", so the route probably did not run. Keep it out of every cache: in Next.js, put export const dynamic = "
    "'force-dynamic' into the route's file; elsewhere, let the route answer Cache-Control: no-store. Exclude cron "
    "routes from the cache of a CDN or proxy in front of the app.";
constexpr std::string_view kHtmlHint =
    "The answer is an HTML page, but cron routes usually answer JSON. Check that the path reaches the route, and not a "
    "login or catch-all page.";

constexpr const char* kWebhookHint =
    "It went to the webhook that wee5_cron.alert_url names: check that setting, and the webhook.";

bool contains(std::string_view text, std::string_view wanted) { return text.find(wanted) != std::string_view::npos; }

bool contains_any(std::string_view text, std::initializer_list<std::string_view> wanted) {
  return std::any_of(wanted.begin(), wanted.end(), [&](std::string_view one) { return contains(text, one); });
}

// The transport's words, for the end of a sentence: " (Connection refused)".
std::string in_brackets(std::string_view detail) {
  while (!detail.empty() && (is_space(detail.back()) || detail.back() == '.')) detail.remove_suffix(1);
  return detail.empty() ? "" : " (" + printable(detail, kShownDetail) + ")";
}

std::string shown_authority(const Observation& observation) {
  const std::string_view authority = authority_of(observation.url);
  if (!authority.empty()) return printable(authority);
  const std::string_view target = split_target(observation.endpoint_path).target;
  return target.empty() ? "the app's address" : "the address of target \"" + std::string(target) + "\"";
}

std::string shown_host(const Observation& observation) {
  const std::string_view host = host_of(authority_of(observation.url));
  if (!host.empty()) return printable(host);
  return "of " + words_of(observation).api_url();
}

Advice explain_dns(const Observation& observation) {
  const std::string detail = lower_case(observation.detail);
  const bool says_the_same = contains(detail, "resolve host");
  const AddressWords words = words_of(observation);
  return {"The host name " + shown_host(observation) + " could not be resolved" +
              (says_the_same ? "" : in_brackets(observation.detail)) + ".",
          "Check the spelling in " + words.api_url() + words.how_to_show() +
              ", and that the database server, or the container it runs in, can look up this name."};
}

Advice explain_connect(const Observation& observation) {
  const std::string host(host_of(authority_of(observation.url)));
  const std::string detail = lower_case(observation.detail);
  const AddressWords words = words_of(observation);
  std::string error = "No connection to " + shown_authority(observation) +
                      (observation.proxy.empty() ? "" : " through the proxy " + printable(observation.proxy)) +
                      in_brackets(observation.detail) + ".";
  if (!observation.proxy.empty()) {
    return {std::move(error),
            "Check that the proxy in wee5_cron.proxy is running, that it allows CONNECT to this host and port, and "
            "that it accepts the user name and password in that setting, if it requires them."};
  }
  if (is_loopback_host(host)) {
    return {std::move(error),
            printable(host) +
                " is the machine or container that Postgres itself runs in. Start the app there, or set " +
                words.api_url() +
                " to a name by which the database reaches the app: host.docker.internal from a container to its host, "
                "the service's name from one container to another."};
  }
  if (contains_any(detail, {"timed out", "timeout"})) {
    return {std::move(error),
            "Nothing answered. Check the port in " + words.api_url() +
                ", and the firewalls between the database and the app. wee5_cron.connect_timeout limits how long a "
                "connection may take."};
  }
  return {std::move(error),
          "Check that the app is running, and that the database server reaches it at the host and port in " +
              words.api_url() + words.how_to_show() + "."};
}

Advice explain_tls(const Observation& observation) {
  const std::string detail = lower_case(observation.detail);
  const AddressWords words = words_of(observation);
  std::string error =
      "No trusted TLS connection to " + shown_authority(observation) + in_brackets(observation.detail) + ".";
  if (contains_any(detail, {"subject name", "does not match", "doesn't match", "hostname mismatch"})) {
    return {std::move(error), "The certificate was issued for another name. Use the certificate's name in " +
                                  words.api_url() + ": often 'www.' is missing there, or should not be there."};
  }
  if (contains(detail, "expired")) return {std::move(error), "The app's certificate has expired. Renew it."};
  if (contains_any(detail, {"wrong version number", "packet length", "unknown protocol", "record layer"})) {
    return {std::move(error), "This port does not speak TLS. Check the port, and whether " + words.api_url() +
                                  " should begin with http://, which is accepted for private hosts."};
  }
  // The words of several versions of libcurl.
  if (contains_any(detail, {"certificate file", "verify locations", "trust anchors", "ca cert (path"})) {
    return {
        std::move(error),
        "The database server cannot read the file of root certificates, or the file holds none. Install the package "
        "ca-certificates, or name another file: ALTER SYSTEM SET wee5_cron.ca_file = '/path/to/roots.pem'; SELECT "
        "pg_reload_conf();"};
  }
  if (contains_any(detail, {"self-signed", "self signed", "issuer", "unknown ca", "ca cert", "certificate verify"})) {
    return {std::move(error),
            "The database server does not trust the authority that issued the certificate. Replace the certificate, or "
            "name the authority's own certificates: ALTER SYSTEM SET wee5_cron.ca_file = '/path/to/roots.pem'; SELECT "
            "pg_reload_conf();"};
  }
  return {std::move(error),
          "Check the app's certificate, and that the app speaks TLS 1.2 or newer. To trust other roots than the "
          "system's, set wee5_cron.ca_file."};
}

std::string duration_text(std::int64_t milliseconds) {
  return milliseconds % 1000 == 0 ? std::to_string(milliseconds / 1000) + " s" : std::to_string(milliseconds) + " ms";
}

Advice explain_timeout(const Observation& observation) {
  const std::int64_t seconds = (observation.timeout_ms + 999) / 1000;
  const std::string longer = std::to_string(std::max<std::int64_t>(60, 2 * seconds));
  const std::string within =
      observation.timeout_ms > 0 ? " within " + duration_text(observation.timeout_ms) : " in time";
  std::string hint = "The app may have finished its work anyway: check there before you call it again. ";
  if (seconds > 0 && seconds <= 10) hint += "A cold start alone can take this long. ";
  hint += "Raise the timeout above the route's own limit: ";
  if (!observation.endpoint_path.empty() && observation.endpoint_path.size() <= kShownDetail) {
    hint += "SELECT wee5_cron.invoke(" + sql_literal(valid_utf8(observation.endpoint_path)) + ", timeout => '" +
            longer + " seconds'), or for all calls ";
  }
  hint += "ALTER DATABASE ... SET wee5_cron.request_timeout = '" + longer + "s'.";
  return {"The app did not answer " + shown_path(observation) + within + in_brackets(observation.detail) + ".",
          std::move(hint)};
}

Advice explain_response(const Observation& observation) {
  const std::string began = observation.http_status > 0
                                ? "The app began to answer " + status_text(observation.http_status) + " to "
                                : "No complete answer came to ";
  return {began + shown_path(observation) + (observation.http_status > 0 ? ", and the answer broke off" : "") +
              in_brackets(observation.detail) + ".",
          "The app may have done its work anyway: look at its log before you call it again."};
}

Advice explain_config(const Observation& observation) {
  const AddressWords words = words_of(observation);
  return {"The call of " + shown_path(observation) + " could not be made" + in_brackets(observation.detail) + ".",
          "Check " + words.api_url() + words.how_to_show() + " and " + words.secret() + "."};
}

Advice explain_reason(const Observation& observation) {
  switch (observation.reason) {
    case Reason::kConfig:
      return explain_config(observation);
    case Reason::kDns:
      return explain_dns(observation);
    case Reason::kConnect:
      return explain_connect(observation);
    case Reason::kTls:
      return explain_tls(observation);
    case Reason::kTimeout:
      return explain_timeout(observation);
    case Reason::kLost:
      return {"The outcome of the call of " + shown_path(observation) + " is unknown" +
                  (observation.detail.empty()
                       ? ": the server, or the process that sent it, stopped before the answer was recorded"
                       : in_brackets(observation.detail)) +
                  ".",
              "It may or may not have reached the app: look at the app's log before you call it again."};
    case Reason::kIncomplete:
      return explain_incomplete(observation);
    case Reason::kOverlap:
      return {(observation.detail.empty() ? "An earlier call of " : "Call " + observation.detail + " of ") +
                  shown_path(observation) + " has not ended yet.",
              ""};
    case Reason::kCancelled:
      return {"The call of " + shown_path(observation) + " was cancelled.", ""};
    case Reason::kNone:
    case Reason::kHttp:
    case Reason::kRedirect:
    case Reason::kResponse:
      break;
  }
  return explain_response(observation);
}

// The hint of a success that looks wrong.
std::string explain_success(const Observation& observation) {
  std::string hint;
  if (observation.cache_signs.any()) {
    hint = "The answer came from a cache (" + observation.cache_signs.text() + ")" + std::string(kCacheAdvice);
  }
  if (is_html(observation.content_type)) hint += (hint.empty() ? "" : " ") + std::string(kHtmlHint);
  return hint;
}

// The transport's reason, or the one that the HTTP status stands for.
Reason reason_of(const Observation& observation) {
  const bool by_status = observation.reason == Reason::kNone || observation.reason == Reason::kHttp ||
                         observation.reason == Reason::kRedirect;
  if (!by_status) return observation.reason;
  const int status = observation.http_status;
  if (status <= 0) return Reason::kResponse;
  if (status >= 200 && status < 300) return Reason::kNone;
  return status >= 300 && status < 400 ? Reason::kRedirect : Reason::kHttp;
}

}  // namespace

const char* reason_name(Reason reason) noexcept { return kReasonNames[static_cast<std::size_t>(reason)]; }

Reason parse_reason(std::string_view name) noexcept {
  const auto* found = std::find(kReasonNames.begin(), kReasonNames.end(), name);
  return found == kReasonNames.end() ? Reason::kNone : static_cast<Reason>(found - kReasonNames.begin());
}

bool says_accepted(std::string_view header_line) noexcept {
  const std::size_t colon = header_line.find(':');
  return colon != std::string_view::npos && equals_ignoring_case(header_line.substr(0, colon), "wee5-cron") &&
         equals_ignoring_case(without_blanks_around(header_line.substr(colon + 1)), "accepted");
}

Explanation explain(const Observation& observation) {
  const Reason reason = reason_of(observation);
  // The usual hints speak of the app and its settings. A webhook has its own, and completes nothing later.
  const bool to_webhook = observation.endpoint_path == kAlertPath;
  if (reason == Reason::kNone) {
    const bool accepted = observation.accepted && observation.http_status == 202 && !to_webhook;
    return {!accepted, accepted, reason, "", to_webhook ? "" : explain_success(observation)};
  }
  Advice advice;
  if (reason == Reason::kRedirect) {
    advice = explain_redirect(observation);
  } else if (reason == Reason::kHttp) {
    advice = explain_status(observation);
  } else {
    advice = explain_reason(observation);
  }
  if (to_webhook && reason != Reason::kCancelled) advice.hint = kWebhookHint;
  return {false, false, reason, std::move(advice.error), std::move(advice.hint)};
}

}  // namespace wee5::core
