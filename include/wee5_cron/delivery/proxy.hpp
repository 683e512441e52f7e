#pragma once

#include <string>
#include <string_view>

namespace wee5::delivery {

// An HTTP proxy through which connections are made, by CONNECT.
struct Proxy {
  std::string host;  // empty: no proxy; IPv6 in brackets
  std::string port;
  std::string user;
  std::string password;

  bool is_set() const noexcept { return !host.empty(); }
  // What may be shown of it: never user and password.
  std::string shown() const { return is_set() ? host + ":" + port : ""; }
  std::string url() const { return is_set() ? "http://" + shown() : ""; }
  bool operator==(const Proxy&) const = default;
};

// wee5_cron.proxy: "[http://][user:password@]host[:port]", blank for none; user and password percent-encoded; port 3128
// where none is named. Throws core::Error{kInvalidValue} that shows nothing of the text: it may hold a password.
Proxy parse_proxy(std::string_view text);

}  // namespace wee5::delivery
