#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// Whether http without TLS to this host stays off public networks. True for loopback, private, shared (100.64.0.0/10),
// link-local and unique-local addresses (IPv4, and IPv6 with or without brackets), for "localhost", for single-label
// names, and for names that end in .localhost, .internal, .local, .svc or .svc.cluster.local. `host` is written as in a
// URL, in any case, with or without a dot at the end. scripts/generate-cron-config.ts has the same rule;
// test/plain_http_hosts.txt holds the cases for both.
bool is_private_host(std::string_view host) noexcept;

// Whether the host is localhost or a loopback address (127.0.0.0/8, ::1).
bool is_loopback_host(std::string_view host) noexcept;

// Reads wee5_cron.allow_plain_http: "off", "on", any other word of a boolean, or patterns separated by commas. A
// pattern is the name or address of a host, or "*." and a domain, which stands for every name below it. Returns the
// value in the form that SHOW displays. Throws Error{kInvalidValue} that names the wrong part.
std::string read_plain_http_rule(std::string_view rule);

// Whether that setting allows plain http to a host that is not private. False if the rule cannot be read.
bool plain_http_allowed(std::string_view rule, std::string_view host) noexcept;

}  // namespace wee5::core
