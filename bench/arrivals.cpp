// A server that answers 200 at once, and records when each request arrives.
//
//   bench_arrivals <file>     prints its port; at SIGTERM writes one line per request into the file: the id of the
//                             invocation, and the unix time in microseconds at which its first byte arrived

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

std::vector<std::pair<long, long long>> arrivals;
std::unordered_map<int, std::string> begun;  // requests that came in parts

long long unix_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void watch(int epoll, int descriptor) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

void serve(int socket, long long now) {
  std::array<char, 8192> buffer{};
  const ssize_t length = read(socket, buffer.data(), buffer.size());
  if (length <= 0) {
    begun.erase(socket);
    close(socket);
    return;
  }
  std::string& text = begun[socket];
  text.append(buffer.data(), static_cast<std::size_t>(length));
  if (text.find("\r\n\r\n") == std::string::npos) return;
  constexpr std::string_view kHeader = "X-Wee5-Cron-Invocation: ";
  const std::size_t at = text.find(kHeader);
  if (at != std::string::npos) arrivals.emplace_back(std::atol(text.c_str() + at + kHeader.size()), now);
  text.clear();
  constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
  if (write(socket, kAnswer.data(), kAnswer.size()) < 0) close(socket);
}

void write_down(const char* path) {
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) std::exit(1);
  for (const auto& [id, time] : arrivals) std::fprintf(file, "%ld %lld\n", id, time);
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int ended = signalfd(-1, &signals, SFD_CLOEXEC);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 4096) != 0) return 1;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  watch(epoll, ended);
  for (;;) {
    std::array<epoll_event, 64> events{};
    const int ready = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    const long long now = unix_us();
    for (int i = 0; i < ready; ++i) {
      const int descriptor = events[i].data.fd;
      if (descriptor == ended) {
        write_down(argv[1]);
        return 0;
      }
      if (descriptor != listener) {
        serve(descriptor, now);
        continue;
      }
      const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      const int on = 1;
      setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      watch(epoll, socket);
    }
  }
}
