#include "wee5_cron/delivery/network/connection_sockets.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace wee5::delivery {
namespace {

// The local port of a socket; 0 if it has none.
int local_port_of(curl_socket_t socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  return 0;
}

// Whether these TLS records hold an alert: a server that ends an idle connection sends close_notify, sometimes long
// before it closes the socket. TLS 1.2 shows the type of a record. TLS 1.3 encrypts it, but no other record that a
// server sends on its own is as short: two bytes of alert, one of type, 16 of authentication tag.
bool holds_tls_alert(std::span<const unsigned char> bytes) {
  constexpr std::size_t kHeaderLength = 5;
  constexpr std::size_t kEncryptedAlertLength = 19;
  constexpr unsigned char kAlert = 21;
  constexpr unsigned char kEncrypted = 23;
  while (bytes.size() >= kHeaderLength) {
    const std::size_t length = static_cast<std::size_t>(bytes[3]) << 8U | bytes[4];
    if (bytes[0] == kAlert || (bytes[0] == kEncrypted && length == kEncryptedAlertLength)) return true;
    bytes = bytes.subspan(std::min(bytes.size(), kHeaderLength + length));
  }
  return false;
}

}  // namespace

void ConnectionSockets::connected(int local_port, std::span<const curl_socket_t> sockets) noexcept {
  const auto found = std::find_if(sockets.begin(), sockets.end(), [local_port](curl_socket_t socket) {
    return socket != CURL_SOCKET_BAD && local_port_of(socket) == local_port;
  });
  try {
    if (found != sockets.end()) {
      by_port_[local_port] = *found;
    } else {
      by_port_.erase(local_port);
    }
  } catch (...) {
    // Out of memory. libcurl decides alone about a connection that is not known here.
  }
}

bool ConnectionSockets::closed_by_server(int local_port, bool tls) const noexcept {
  const auto found = by_port_.find(local_port);
  if (found == by_port_.end()) return false;
  pollfd state{found->second, POLLIN | POLLRDHUP, 0};
  if (poll(&state, 1, 0) <= 0) return false;
  if ((state.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0) return true;
  if ((state.revents & POLLIN) == 0) return false;
  if (!tls) return true;  // an unrequested answer, such as 408
  std::array<unsigned char, 2048> bytes{};
  const ssize_t count = recv(found->second, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  // Session tickets and HTTP/2 frames may be there as well.
  return count > 0 && holds_tls_alert(std::span(bytes).first(static_cast<std::size_t>(count)));
}

}  // namespace wee5::delivery
