#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <array>
#include <span>

namespace wee5::delivery {

// One epoll descriptor that holds every socket of libcurl. The owner waits for it in its own wait set. It is
// level-triggered, so epoll reports readiness again that was not consumed.
class SocketSet {
 public:
  SocketSet();  // throws std::system_error
  ~SocketSet();
  SocketSet(const SocketSet&) = delete;
  SocketSet& operator=(const SocketSet&) = delete;

  int fd() const noexcept { return fd_; }
  // Does what CURLMOPT_SOCKETFUNCTION asks for: CURL_POLL_IN, OUT, INOUT or REMOVE. Returns false if the system
  // refuses.
  bool watch(curl_socket_t socket, int what) const noexcept;
  // Returns at most kBatch sockets that are ready now. Never waits.
  std::span<const epoll_event> ready() noexcept;

  static constexpr int kBatch = 64;

 private:
  int fd_;
  std::array<epoll_event, kBatch> events_;
};

}  // namespace wee5::delivery
