#pragma once

#include <curl/curl.h>

#include <span>
#include <unordered_map>

namespace wee5::delivery {

// Which socket each connection of an engine has, by its local port: that is what libcurl tells of the connection that
// it chose when a request is about to be sent. (CURLINFO_ACTIVESOCKET is, in most versions, still that of the transfer
// before.)
class ConnectionSockets {
 public:
  // A new connection has this port; it is one of these sockets.
  void connected(int local_port, std::span<const curl_socket_t> sockets) noexcept;
  // Whether the server has closed this connection, or begun to close it, while it was idle. False where its socket is
  // not known.
  bool closed_by_server(int local_port, bool tls) const noexcept;

 private:
  std::unordered_map<int, curl_socket_t> by_port_;
};

}  // namespace wee5::delivery
