#pragma once

#include <curl/curl.h>

#include <span>
#include <unordered_map>

namespace wee5::delivery {

// The socket of each connection of an engine, by local port. When a request is about to be sent, libcurl tells only the
// local port of the connection that it chose. (In most versions CURLINFO_ACTIVESOCKET is still that of the transfer
// before.)
class ConnectionSockets {
 public:
  // Notes a new connection with this port, whose socket is one of `sockets`.
  void connected(int local_port, std::span<const curl_socket_t> sockets) noexcept;
  // Whether the server has closed this connection, or begun to close it, while it was idle. False if its socket is not
  // known.
  bool closed_by_server(int local_port, bool tls) const noexcept;

 private:
  std::unordered_map<int, curl_socket_t> by_port_;
};

}  // namespace wee5::delivery
