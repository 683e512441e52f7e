#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wee5_cron/core/decision.hpp"
#include "wee5_cron/core/outcome.hpp"
#include "wee5_cron/core/request_headers.hpp"
#include "wee5_cron/delivery/proxy.hpp"

namespace wee5::delivery {

// One attempt, complete: the engine knows nothing of settings or of the ledger.
struct Request {
  std::int64_t id = 0;  // the invocation
  int attempt = 1;
  core::Method method = core::Method::kGet;
  std::string url;
  std::string shown_url;              // what the ledger is told, where the URL is a secret; empty: the URL
  std::string endpoint_path;          // for the explanation of the outcome
  std::vector<core::Header> headers;  // all of them, the bearer included
  std::string body;                   // sent where core::takes_body(method) and has_body
  bool has_body = false;
  std::int64_t timeout_ms = 60'000;         // the whole attempt
  std::int64_t connect_timeout_ms = 5'000;  // until the connection (DNS, TCP, TLS) stands
  std::size_t max_response_bytes = 8'192;   // of the body that are kept
  std::string ca_file;                      // PEM; empty: the system's roots
  Proxy proxy;                              // that the connection goes through
  std::string secret;                       // to be redacted from whatever the app answers
};

// Phase lengths in milliseconds, negative where the phase was not reached (or not needed: a reused connection has
// no dns, connect or tls phase).
struct Timings {
  float dns_ms = -1;
  float connect_ms = -1;
  float tls_ms = -1;
  float first_byte_ms = -1;
  float total_ms = -1;
};

struct Result {
  std::int64_t id = 0;
  int attempt = 1;
  std::int64_t started_us = 0;  // unix time in microseconds
  std::int64_t finished_us = 0;
  int http_status = 0;        // 0: no answer
  core::Explanation outcome;  // redacted
  std::string url;
  std::string response_content_type;
  std::string response_body;  // valid UTF-8 without NUL, redacted
  bool response_truncated = false;
  std::string retry_after;                      // the header of that name, as it came
  core::Status status = core::Status::kFailed;  // the dispatcher's: what the call's row says from now on
  bool as_before = false;  // the dispatcher's: nothing was sent; the call ends with the outcome of its last attempt
  std::int64_t retry_at_us = 0;  // the dispatcher's: when the next attempt begins; 0: there is none, this is the end
  Timings timings;
};

struct EngineOptions {
  std::size_t max_connections = 256;
};

// Sends requests with libcurl's multi interface, all of them at once, in one thread, without ever waiting. The owner
// waits: on poll_fd() becoming readable (one epoll descriptor that holds every socket) or timeout_ms() passing, then
// calls perform(). Every request that start() took yields exactly one Result.
//
// Each request is sent once: libcurl's own silent second sending on a dead kept-alive connection is stopped and
// becomes `response`. TLS is verified, 1.2 or newer; redirects are not followed; no cookies, no .netrc, and no proxy
// but the request's own, which sees the host and port of the app and no header of ours. Deadlines are the engine's own:
// what has already arrived is read before a request is judged too late. The process ignores SIGPIPE, as Postgres's
// workers do: OpenSSL writes to connections that the app has closed.
class Engine {
 public:
  explicit Engine(EngineOptions options);  // throws std::runtime_error with libcurl's or the system's words
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int poll_fd() const noexcept;
  // Milliseconds until perform() is due though nothing is readable; 0: now; -1: never.
  long timeout_ms() const noexcept;

  void start(Request request);
  void perform();
  // The owner could not serve the engine for that long: deadlines move by it.
  void not_served_for(std::chrono::microseconds pause) noexcept;
  // Gives up a request that is on the wire: its Result says `cancelled`. False where there is none of that id.
  bool cancel(std::int64_t id);

  std::size_t in_flight() const noexcept;
  // What has finished since the last call, in order of completion.
  std::vector<Result> take_results();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wee5::delivery
