#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wee5::core {

inline constexpr std::size_t kMaxEndpointPathBytes = 2048;

// An endpoint path is the path of a route of the app, such as "/api/cron/x", or that of a target: "billing:/api/x".
struct PathOfTarget {
  std::string_view target;  // empty: the app
  std::string_view path;    // from the slash on
};
// The text itself as `path`, if it does not begin with a target's name, a colon and one slash.
PathOfTarget split_target(std::string_view endpoint_path) noexcept;

// The name that stands for the app itself. It has further headers, and no path begins with it.
inline constexpr std::string_view kAppTarget = "app";
// A letter, then letters, digits, '_' and '-', at most 63 bytes. Not http or https, so that a URL is never a target.
bool is_target_name(std::string_view name) noexcept;

// Checks a caller's path (UTF-8), behind the name of a target if there is one, against the rules that keep the bearer
// on the app's own host: one leading '/', at most kMaxEndpointPathBytes bytes, no control byte, no '#', no broken
// percent escape; before the '?' no "//", no backslash and no dot segment (plain or percent-encoded; an encoded slash
// separates segments, too). Throws Error{kInvalidValue} that names the path (shortened if it is long) and the rule.
void check_endpoint_path(std::string_view path);

// The path for a URL: percent-encodes bytes that a URL cannot hold (non-ASCII, space, quotes, ...), and keeps the
// escapes in it. check_endpoint_path() must have accepted `path`, which begins with its slash.
std::string encode_endpoint_path(std::string_view path);

// The path without its query. Routes take turns on the wire. A policy is looked up by the whole path first, then by the
// route.
std::string_view route_of(std::string_view path) noexcept;

// The ledger's row of an alert has this in place of a path. A path starts with a slash, so no call can have it.
inline constexpr std::string_view kAlertPath = "wee5_cron.alert";

}  // namespace wee5::core
