#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <array>
#include <span>

namespace wee5::delivery {

// The one epoll descriptor that holds every socket of libcurl's. The owner waits on it from outside, nested in its own
// wait set: level-triggered, so readiness that was not consumed is reported again.
class SocketSet {
 public:
  SocketSet();  // throws std::system_error
  ~SocketSet();
  SocketSet(const SocketSet&) = delete;
  SocketSet& operator=(const SocketSet&) = delete;

  int fd() const noexcept { return fd_; }
  // What CURLMOPT_SOCKETFUNCTION asks for: CURL_POLL_IN, OUT, INOUT, REMOVE. False where the system refuses.
  bool watch(curl_socket_t socket, int what) const noexcept;
  // The sockets that are ready now, at most kBatch of them; never waits.
  std::span<const epoll_event> ready() noexcept;

  static constexpr int kBatch = 64;

 private:
  int fd_;
  std::array<epoll_event, kBatch> events_;
};

}  // namespace wee5::delivery
