#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// True where http without TLS does not cross a public network: literal loopback, private, shared (100.64.0.0/10),
// link-local and unique-local addresses (IPv4, and IPv6 with or without brackets), "localhost", single-label names, and
// names that end in .localhost, .internal, .local, .svc or .svc.cluster.local. `host` as it stands in a URL, any case,
// a trailing dot allowed.
bool is_private_host(std::string_view host) noexcept;

// True for localhost and literal loopback addresses (127.0.0.0/8, ::1).
bool is_loopback_host(std::string_view host) noexcept;

// wee5_cron.allow_plain_http: "off", "on", any other word of a boolean, or patterns with commas between them. A pattern
// is the name or address of a host, or "*." and a domain, which stands for every name below it.
// Returns the value as it is to be shown. Throws Error{kInvalidValue} that names what cannot be read.
std::string read_plain_http_rule(std::string_view rule);

// Whether that setting lets plain http go to a host that is not private. False for a rule that cannot be read.
bool plain_http_allowed(std::string_view rule, std::string_view host) noexcept;

}  // namespace wee5::core
