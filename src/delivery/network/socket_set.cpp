#include "wee5_cron/delivery/network/socket_set.hpp"

#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace wee5::delivery {

SocketSet::SocketSet() : fd_(epoll_create1(EPOLL_CLOEXEC)), events_() {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

SocketSet::~SocketSet() { close(fd_); }

bool SocketSet::watch(curl_socket_t socket, int what) const noexcept {
  if (what == CURL_POLL_REMOVE) {
    // libcurl may have closed the socket already, which removes it.
    epoll_ctl(fd_, EPOLL_CTL_DEL, socket, nullptr);
    return true;
  }
  epoll_event event{};
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) event.events |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) event.events |= EPOLLOUT;
  event.data.fd = socket;
  // libcurl does not say whether a socket is new, and the system reuses numbers.
  if (epoll_ctl(fd_, EPOLL_CTL_ADD, socket, &event) == 0) return true;
  return errno == EEXIST && epoll_ctl(fd_, EPOLL_CTL_MOD, socket, &event) == 0;
}

std::span<const epoll_event> SocketSet::ready() noexcept {
  const int count = epoll_wait(fd_, events_.data(), kBatch, 0);
  return {events_.data(), count > 0 ? static_cast<std::size_t>(count) : 0};
}

}  // namespace wee5::delivery
