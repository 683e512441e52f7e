// The yardstick: a bare libcurl multi loop. It sends the same request with the same headers as the worker, equally
// often and with as many in flight, and ignores the answers.
//
//   bench_bare_multi <url> <count> <parallel>     prints requests per second

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Slot {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
};

struct Loop {
  CURLM* multi = nullptr;
  int epoll = -1;
  long timeout_ms = -1;
  long left = 0;
  long done = 0;
  long failed = 0;
  std::string url;
};

std::size_t drop(char* /*data*/, std::size_t size, std::size_t count, void* /*self*/) { return size * count; }

int on_socket(CURL* /*easy*/, curl_socket_t socket, int what, void* self, void* /*watched*/) {
  const auto* loop = static_cast<Loop*>(self);
  epoll_event event{};
  event.data.fd = socket;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, socket, &event);
    return 0;
  }
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
    epoll_ctl(loop->epoll, EPOLL_CTL_MOD, socket, &event);
  }
  return 0;
}

int on_timer(CURLM* /*multi*/, long timeout_ms, void* self) {
  static_cast<Loop*>(self)->timeout_ms = timeout_ms;
  return 0;
}

curl_slist* headers_of(long id) {
  curl_slist* list = nullptr;
  const std::string number = std::to_string(id);
  char key[40];
  std::snprintf(key, sizeof(key), "8f14e45f-ceea-467f-a8f5-%012ld", id);
  for (const std::string& line :
       {std::string("Authorization: Bearer bench-secret-0123456789abcdef"),
        std::string("Content-Type: application/json"), std::string("User-Agent: wee5_cron/0.2.0"),
        std::string("Cache-Control: no-cache"), std::string("Idempotency-Key: ") + key,
        "X-Wee5-Cron-Invocation: " + number, std::string("X-Wee5-Cron-Attempt: 1"), std::string("Expect:")}) {
    list = curl_slist_append(list, line.c_str());
  }
  return list;
}

void start(Loop& loop, Slot& slot) {
  curl_slist* headers = headers_of(loop.left--);
  curl_easy_setopt(slot.easy, CURLOPT_HTTPHEADER, headers);
  curl_slist_free_all(slot.headers);
  slot.headers = headers;
  curl_easy_setopt(slot.easy, CURLOPT_URL, loop.url.c_str());
  curl_multi_add_handle(loop.multi, slot.easy);
}

void collect(Loop& loop) {
  int waiting = 0;
  while (const CURLMsg* message = curl_multi_info_read(loop.multi, &waiting)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (message->data.result != CURLE_OK || status != 200) ++loop.failed;
    ++loop.done;
    Slot* slot = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &slot);
    curl_multi_remove_handle(loop.multi, easy);
    if (loop.left > 0) start(loop, *slot);
  }
}

void run(Loop& loop, long count) {
  int running = 0;
  std::array<epoll_event, 64> events{};
  while (loop.done < count) {
    const int wait = loop.timeout_ms < 0 ? 1000 : static_cast<int>(loop.timeout_ms);
    const int ready = epoll_wait(loop.epoll, events.data(), static_cast<int>(events.size()), wait);
    if (ready == 0 || loop.timeout_ms == 0) {
      loop.timeout_ms = -1;
      curl_multi_socket_action(loop.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (int i = 0; i < ready; ++i) {
      int what = 0;
      if ((events[i].events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
      if ((events[i].events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
      if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
      curl_multi_socket_action(loop.multi, events[i].data.fd, what, &running);
    }
    collect(loop);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_bare_multi <url> <count> <parallel>\n");
    return 2;
  }
  const long count = std::atol(argv[2]);
  const long parallel = std::atol(argv[3]);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  Loop loop;
  loop.url = argv[1];
  loop.left = count;
  loop.epoll = epoll_create1(EPOLL_CLOEXEC);
  loop.multi = curl_multi_init();
  curl_multi_setopt(loop.multi, CURLMOPT_MAXCONNECTS, parallel);
  curl_multi_setopt(loop.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(loop.multi, CURLMOPT_SOCKETDATA, &loop);
  curl_multi_setopt(loop.multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(loop.multi, CURLMOPT_TIMERDATA, &loop);

  const auto began = Clock::now();
  std::vector<Slot> slots(static_cast<std::size_t>(parallel));
  for (Slot& slot : slots) {
    slot.easy = curl_easy_init();
    curl_easy_setopt(slot.easy, CURLOPT_PRIVATE, &slot);
    curl_easy_setopt(slot.easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(slot.easy, CURLOPT_WRITEFUNCTION, drop);
    if (loop.left > 0) start(loop, slot);
  }
  run(loop, count);
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  for (Slot& slot : slots) {
    curl_easy_cleanup(slot.easy);
    curl_slist_free_all(slot.headers);
  }
  curl_multi_cleanup(loop.multi);
  close(loop.epoll);
  if (loop.failed > 0) {
    std::fprintf(stderr, "%ld of %ld requests failed\n", loop.failed, count);
    return 1;
  }
  std::printf("%.0f\n", static_cast<double>(count) / seconds);
  return 0;
}
