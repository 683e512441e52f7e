#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wee5::core {

inline constexpr std::size_t kMaxEndpointPathBytes = 2048;

// Checks a caller's path, UTF-8, against the rules that keep the bearer on the app's own host: exactly one
// leading '/', no "//", backslash, control byte or '#', no dot segment (plain or percent-encoded, split also at
// an encoded slash), no broken percent escape, at most kMaxEndpointPathBytes bytes.
// Throws Error{kInvalidValue} that names the path (shortened where long) and the rule.
void check_endpoint_path(std::string_view path);

// The path as it goes into a URL: bytes that a URL cannot hold (non-ASCII, space, quotes, ...) percent-encoded,
// existing escapes kept. `path` has passed check_endpoint_path.
std::string encode_endpoint_path(std::string_view path);

// The path without its query: what takes turns on the wire, and what a policy is looked up by after the whole path.
std::string_view route_of(std::string_view path) noexcept;

// What stands in place of a path in the ledger's row of an alert. No path is like it: they start with a slash.
inline constexpr std::string_view kAlertPath = "wee5_cron.alert";

}  // namespace wee5::core
