#pragma once

#include <string_view>

namespace wee5::core {

// True where http without TLS does not cross a public network: literal loopback, private, link-local and
// unique-local addresses (IPv4, and IPv6 with or without brackets), "localhost", single-label names, and names
// that end in .localhost, .internal or .local. `host` as it stands in a URL, any case, a trailing dot allowed.
bool is_private_host(std::string_view host) noexcept;

// True for localhost and literal loopback addresses (127.0.0.0/8, ::1).
bool is_loopback_host(std::string_view host) noexcept;

}  // namespace wee5::core
