#pragma once

#include <string>
#include <string_view>

namespace wee5::delivery {

// An HTTP proxy. Connections go through it by CONNECT.
struct Proxy {
  std::string host;  // empty: no proxy; IPv6 in brackets
  std::string port;
  std::string user;
  std::string password;

  bool is_set() const noexcept { return !host.empty(); }
  // Host and port, for messages. Never shows user and password.
  std::string shown() const { return is_set() ? host + ":" + port : ""; }
  std::string url() const { return is_set() ? "http://" + shown() : ""; }
  bool operator==(const Proxy&) const = default;
};

// Reads wee5_cron.proxy: "[http://][user:password@]host[:port]", or blank for none. User and password are
// percent-encoded; the default port is 3128. Throws core::Error{kInvalidValue} that shows nothing of the text, which
// may hold a password.
Proxy parse_proxy(std::string_view text);

}  // namespace wee5::delivery
