#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "outcome_parts.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

constexpr std::size_t kShownPath = 200;
constexpr std::string_view kSeeAnswer = " response_body has the answer.";

// The statuses that a cron route may answer: RFC 9110, section 15, and RFC 6585.
constexpr std::array<std::pair<int, std::string_view>, 42> kPhrases = {{{100, "Continue"},
                                                                        {101, "Switching Protocols"},
                                                                        {200, "OK"},
                                                                        {201, "Created"},
                                                                        {202, "Accepted"},
                                                                        {204, "No Content"},
                                                                        {206, "Partial Content"},
                                                                        {300, "Multiple Choices"},
                                                                        {301, "Moved Permanently"},
                                                                        {302, "Found"},
                                                                        {303, "See Other"},
                                                                        {304, "Not Modified"},
                                                                        {307, "Temporary Redirect"},
                                                                        {308, "Permanent Redirect"},
                                                                        {400, "Bad Request"},
                                                                        {401, "Unauthorized"},
                                                                        {402, "Payment Required"},
                                                                        {403, "Forbidden"},
                                                                        {404, "Not Found"},
                                                                        {405, "Method Not Allowed"},
                                                                        {406, "Not Acceptable"},
                                                                        {407, "Proxy Authentication Required"},
                                                                        {408, "Request Timeout"},
                                                                        {409, "Conflict"},
                                                                        {410, "Gone"},
                                                                        {411, "Length Required"},
                                                                        {412, "Precondition Failed"},
                                                                        {413, "Content Too Large"},
                                                                        {414, "URI Too Long"},
                                                                        {415, "Unsupported Media Type"},
                                                                        {421, "Misdirected Request"},
                                                                        {422, "Unprocessable Content"},
                                                                        {425, "Too Early"},
                                                                        {426, "Upgrade Required"},
                                                                        {429, "Too Many Requests"},
                                                                        {431, "Request Header Fields Too Large"},
                                                                        {451, "Unavailable For Legal Reasons"},
                                                                        {500, "Internal Server Error"},
                                                                        {501, "Not Implemented"},
                                                                        {502, "Bad Gateway"},
                                                                        {503, "Service Unavailable"},
                                                                        {504, "Gateway Timeout"}}};

// A statement that changes the requests of this path, whatever its query, by a row of wee5_cron.endpoint. Empty if the
// path is too long to show.
std::string endpoint_row(const Observation& observation, std::string_view column, std::string_view value) {
  const std::string_view route = route_of(observation.endpoint_path);
  if (route.empty() || route.size() > kShownPath) return "";
  const std::string name(column);
  return "INSERT INTO wee5_cron.endpoint (endpoint_path, " + name + ") VALUES (" + sql_literal(valid_utf8(route)) +
         ", " + sql_literal(value) + ") ON CONFLICT (endpoint_path) DO UPDATE SET " + name + " = excluded." + name;
}

std::string hint_401(const Observation& observation) {
  const AddressWords words = words_of(observation);
  const std::string secret =
      words.expected_secret() + ". On Vercel, a changed variable takes effect with the next deployment.";
  if (is_html(observation.content_type)) {
    return "The answer is an HTML page, so something in front of the route refused the call, such as Vercel's "
           "Deployment Protection or login middleware. Use the production domain in " +
           words.api_url() + ", or exempt the route. Otherwise, " + secret;
  }
  std::string hint = "The app did not accept the bearer secret: " + secret +
                     " Vercel's Deployment Protection also answers 401 on preview addresses.";
  const std::string row = endpoint_row(observation, "headers", R"({"User-Agent": "vercel-cron/1.0"})");
  if (!row.empty()) hint += " Some routes written for Vercel Cron check its User-Agent. To send that: " + row + ";";
  return hint;
}

std::string hint_404(const Observation& observation) {
  const std::string route = printable(route_of(split_target(observation.endpoint_path).path), kShownPath);
  const AddressWords words = words_of(observation);
  return "No route answers at this path. Check the path, " + words.api_url() + " with its path prefix" +
         words.how_to_show() + ", and that the deployment there has the route. In Next.js the route is the file app" +
         route + "/route.ts.";
}

std::string hint_405(const Observation& observation) {
  const std::string method = observation.method.empty() ? "GET" : observation.method;
  const std::string other = method == "GET" ? "POST" : "GET";
  std::string hint =
      "The route does not accept " + method + ". Accept it there (in Next.js: export async function " + method + ")";
  const std::string row = endpoint_row(observation, "method", other);
  if (row.empty() || observation.endpoint_path.size() > kShownPath) return hint + ".";
  // A job's command names no method, so only the row can change it.
  return hint + ", or use another method for this path: " + row + "; For a single call: SELECT wee5_cron.invoke(" +
         sql_literal(valid_utf8(observation.endpoint_path)) + ", method => '" + other + "');";
}

std::string hint_of_status(const Observation& observation) {
  const int status = observation.http_status;
  switch (status) {
    case 401:
      return hint_401(observation);
    case 403:
      return "The app, or a firewall or bot protection in front of it, refused the call. Let it accept requests to "
             "this path that carry the bearer secret.";
    case 404:
      return hint_404(observation);
    case 405:
      return hint_405(observation);
    case 408:
    case 504:
      return "The app's platform gave up waiting for the route, which may have done part of its work. Raise the "
             "route's own limit (maxDuration on Vercel), or do less in each call.";
    case 429:
      return "The app receives too many calls. Call it less often, or raise its rate limit.";
    case 502:
    case 503:
      return "The app is unavailable: it is down, starting or being deployed. If this lasts, look at its log.";
    default:
      break;
  }
  if (status >= 500) return "The route failed. Look at the app's log for this time." + std::string(kSeeAnswer);
  if (status >= 400) return "The app rejected this request." + std::string(kSeeAnswer);
  return "A cron route must answer 2xx." + std::string(kSeeAnswer);
}

}  // namespace

std::string status_text(int http_status) {
  std::string text = std::to_string(http_status);
  const auto* const found =
      std::find_if(kPhrases.begin(), kPhrases.end(), [&](const auto& phrase) { return phrase.first == http_status; });
  if (found != kPhrases.end()) text += " " + std::string(found->second);
  return text;
}

std::string shown_path(const Observation& observation) {
  return observation.endpoint_path.empty() ? "the call" : printable(observation.endpoint_path, kShownPath);
}

AddressWords words_of(const Observation& observation) {
  return AddressWords(split_target(observation.endpoint_path).target);
}

std::string_view authority_of(std::string_view url) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return {};
  url.remove_prefix(colon + 3);
  url = url.substr(0, url.find_first_of("/?#\\"));
  return url.substr(url.rfind('@') + 1);  // npos + 1 is 0
}

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    return end == std::string_view::npos ? std::string_view() : authority.substr(0, end + 1);
  }
  return authority.substr(0, authority.find(':'));
}

bool is_html(std::string_view content_type) noexcept {
  const auto begins = [content_type](std::string_view type) {
    return equals_ignoring_case(content_type.substr(0, type.size()), type);
  };
  return begins("text/html") || begins("application/xhtml");
}

Advice explain_status(const Observation& observation) {
  return {"The app answered " + status_text(observation.http_status) + " to " + shown_path(observation) + ".",
          hint_of_status(observation)};
}

Advice explain_incomplete(const Observation& observation) {
  const std::string row = endpoint_row(observation, "complete_within", "2 hours");
  return {
      "The app accepted the call of " + shown_path(observation) + " and did not complete it in time.",
      "The work may still be going on, or it ended and nobody called wee5_cron.complete(): look at the app's log. If "
      "it needs more time, raise complete_within" +
          (row.empty() ? "." : ": " + row + ";")};
}

}  // namespace wee5::core
