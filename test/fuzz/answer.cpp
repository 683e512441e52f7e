// Feeds any bytes as an app's answer (status line, header lines and body) to libcurl and the engine, as the worker runs
// them. Each input must become one result that the ledger can hold, without the secret.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "promise.hpp"
#include "wee5_cron/core/outcome/retry_policy.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace {

constexpr std::size_t kKept = 1024;
constexpr const char* kSecret = "s3cr3t-0123456789-abcdefghij";

int server_end = -1;

// Answers the request that waits in the pair of sockets, and closes the connection.
void answer_with(std::string_view bytes) {
  char request[4096];
  while (recv(server_end, request, sizeof(request), MSG_DONTWAIT) > 0) {
  }
  while (!bytes.empty()) {
    const ssize_t written = send(server_end, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written <= 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  shutdown(server_end, SHUT_WR);
}

void fits_into_the_ledger(const std::string& text) {
  WEE5_PROMISE(wee5::core::valid_utf8(text) == text);
  WEE5_PROMISE(text.find('\0') == std::string::npos);
  WEE5_PROMISE(text.find(kSecret) == std::string::npos);
}

void is_a_sound_result(const wee5::delivery::Result& result) {
  WEE5_PROMISE(result.id == 7);
  WEE5_PROMISE(result.http_status == 0 || (result.http_status >= 100 && result.http_status <= 999));
  WEE5_PROMISE(!result.outcome.succeeded || (result.http_status >= 200 && result.http_status < 300));
  WEE5_PROMISE(result.outcome.succeeded == (result.outcome.reason == wee5::core::Reason::kNone));
  WEE5_PROMISE(result.outcome.succeeded == result.outcome.error.empty());
  WEE5_PROMISE(result.finished_us >= result.started_us);
  // Each invalid byte becomes a character of three bytes.
  WEE5_PROMISE(result.response_body.size() <= 3 * kKept);
  for (const std::string* text :
       {&result.outcome.error, &result.outcome.hint, &result.response_content_type, &result.response_body, &result.url})
    fits_into_the_ledger(*text);
  if (result.retry_after.empty()) return;
  const auto at = wee5::core::retry_after_us(result.retry_after, result.finished_us);
  WEE5_PROMISE(!at || *at >= result.finished_us);
}

wee5::delivery::Result run(wee5::delivery::Engine& engine, std::string_view bytes) {
  wee5::delivery::Request request;
  request.id = 7;
  request.url = "http://127.0.0.1:7/api/cron/fuzz";
  request.endpoint_path = "/api/cron/fuzz";
  request.headers = {{"Authorization", std::string("Bearer ") + kSecret}};
  request.secrets = {std::string(kSecret)};
  request.max_response_bytes = kKept;
  engine.start(std::move(request));
  bool answered = false;
  for (int turn = 0; turn < 100'000; ++turn) {
    engine.perform();
    std::vector<wee5::delivery::Result> results = engine.take_results();
    if (!results.empty()) {
      WEE5_PROMISE(results.size() == 1);
      return results.front();
    }
    if (!answered && server_end >= 0) {
      pollfd arrived{server_end, POLLIN, 0};
      if (poll(&arrived, 1, 0) > 0) {
        answer_with(bytes);
        answered = true;
      }
    }
    pollfd ready{engine.poll_fd(), POLLIN, 0};
    const long wait = engine.timeout_ms();
    poll(&ready, 1, wait < 0 || wait > 1 ? 1 : static_cast<int>(wait));
  }
  WEE5_PROMISE(!"it ends");
  return {};
}

}  // namespace

// libcurl connects to the other end of a pair of sockets, so the fuzzer never runs out of ports.
extern "C" int connect(int socket, const sockaddr* /*address*/, socklen_t /*length*/) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) return -1;
  if (server_end >= 0) close(server_end);
  server_end = ends[1];
  dup2(ends[0], socket);
  close(ends[0]);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Like the worker, one engine serves all answers.
  static auto* engine = new wee5::delivery::Engine({});
  is_a_sound_result(run(*engine, std::string_view(reinterpret_cast<const char*>(data), size)));
  if (server_end >= 0) close(server_end);
  server_end = -1;
  return 0;
}
