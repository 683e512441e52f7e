#include "wee5_cron/core/request/endpoint_path.hpp"

#include <algorithm>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

constexpr std::size_t kShownBytes = 100;

[[noreturn]] void refuse(std::string_view path, std::string_view rule, std::string hint) {
  throw Error(ErrorKind::kInvalidValue,
              "invalid endpoint path \"" + printable(path, kShownBytes) + "\": " + std::string(rule), std::move(hint));
}

// The length of the separator at `at`; 0 if there is none. An encoded slash or backslash is one, too, because a server
// may decode it before it resolves dot segments.
std::size_t separator_length(std::string_view path, std::size_t at) {
  if (path[at] == '/') return 1;
  if (path[at] != '%') return 0;
  const int byte = hex_pair(path, at + 1);
  return byte == '/' || byte == '\\' ? 3 : 0;
}

// Whether the segment is "." or "..", with each dot plain or as %2e.
bool is_dot_segment(std::string_view segment) {
  std::size_t dots = 0;
  for (std::size_t at = 0; at < segment.size(); ++dots) {
    if (segment[at] == '.') {
      at += 1;
    } else if (segment[at] == '%' && hex_pair(segment, at + 1) == '.') {
      at += 3;
    } else {
      return false;
    }
  }
  return dots == 1 || dots == 2;
}

bool has_dot_segment(std::string_view route) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < route.size();) {
    const std::size_t length = separator_length(route, at);
    if (length == 0) {
      ++at;
      continue;
    }
    if (is_dot_segment(route.substr(begin, at - begin))) return true;
    at += length;
    begin = at;
  }
  return is_dot_segment(route.substr(begin));
}

bool has_broken_escape(std::string_view path) {
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1)) {
    if (hex_pair(path, at + 1) < 0) return true;
  }
  return false;
}

void check_beginning(std::string_view path) {
  if (path.empty()) {
    refuse(path, "it is empty", "Give the path of a route, such as '/api/cron/poll-activities'.");
  }
  const std::string_view target = split_target(path).target;
  if (target == kAppTarget) {
    refuse(path, "\"app\" is the app itself, not a target", "Leave out \"app:\": the path alone calls the app.");
  }
  if (path.front() == '/' || !target.empty()) return;
  const std::string lower = lower_case(path.substr(0, 8));
  if (lower.starts_with("http://") || lower.starts_with("https://")) {
    refuse(path, "it is a whole URL",
           "Give the path alone, such as '/api/cron/poll-activities'; scheme and host come from app.settings.api_url.");
  }
  refuse(path, "it does not start with a slash",
         "Start it with one slash, such as '/api/cron/poll-activities'; without it, the text could change the host "
         "that the bearer secret is sent to.");
}

void check_bytes(std::string_view path) {
  if (std::any_of(path.begin(), path.end(), is_control)) {
    refuse(path, "it holds a control character", "Take out line breaks, tabs and other control characters.");
  }
  if (path.find('#') != std::string_view::npos) {
    refuse(path, "it holds a '#'", "What follows a '#' never reaches the app: leave it out, or write %23.");
  }
  // A query is data, and no server resolves it (RFC 3986, section 3.4).
  const std::string_view route = route_of(path);
  if (route.find('\\') != std::string_view::npos) {
    refuse(path, "it holds a backslash", "Use a slash, or write a backslash that is data as %5C.");
  }
  if (route.find("//") != std::string_view::npos) {
    refuse(path, "it holds two slashes in a row",
           "Use single slashes before the '?', and write slashes that are data there as %2F. A query may hold two.");
  }
}

// Whether RFC 3986 allows the byte in a path or a query. A '%' begins an escape that was checked before.
bool stands_in_url(char byte) {
  constexpr std::string_view kAllowed = "-._~!$&'()*+,;=:@/?%";
  return is_alnum(byte) || kAllowed.find(byte) != std::string_view::npos;
}

}  // namespace

bool is_target_name(std::string_view name) noexcept {
  constexpr std::size_t kMostBytes = 63;
  if (name.empty() || name.size() > kMostBytes || !is_alnum(name.front()) || is_digit(name.front())) return false;
  if (equals_ignoring_case(name, "http") || equals_ignoring_case(name, "https")) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return is_alnum(c) || c == '_' || c == '-'; });
}

PathOfTarget split_target(std::string_view endpoint_path) noexcept {
  const std::size_t colon = endpoint_path.find(':');
  if (colon == std::string_view::npos) return {{}, endpoint_path};
  const std::string_view path = endpoint_path.substr(colon + 1);
  if (!path.starts_with('/') || path.starts_with("//")) return {{}, endpoint_path};
  if (!is_target_name(endpoint_path.substr(0, colon))) return {{}, endpoint_path};
  return {endpoint_path.substr(0, colon), path};
}

void check_endpoint_path(std::string_view path) {
  check_beginning(path);
  if (path.size() > kMaxEndpointPathBytes) {
    refuse(path,
           "it is " + std::to_string(path.size()) + " bytes long, more than " + std::to_string(kMaxEndpointPathBytes),
           "Send the data in the body instead: SELECT wee5_cron.invoke('/path', method => 'POST', body => '{...}').");
  }
  check_bytes(path);
  if (has_broken_escape(path)) {
    refuse(path, "a '%' in it is not followed by two hexadecimal digits", "Write a percent sign itself as %25.");
  }
  if (has_dot_segment(route_of(path))) {
    refuse(path, "it holds a segment '.' or '..'",
           "Write the path that is meant, without '.' and '..', also where they are percent-encoded.");
  }
}

std::string encode_endpoint_path(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  for (const char byte : path) {
    if (stands_in_url(byte)) {
      out += byte;
    } else {
      append_percent_encoded(out, byte);
    }
  }
  return out;
}

std::string_view route_of(std::string_view path) noexcept { return path.substr(0, path.find('?')); }

}  // namespace wee5::core
