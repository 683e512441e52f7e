#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"

namespace wee5::delivery {

// One attempt with everything it needs. The engine knows nothing of settings or of the ledger.
struct Request {
  std::int64_t id = 0;  // the invocation
  int attempt = 1;
  core::Method method = core::Method::kGet;
  std::string url;
  std::string shown_url;              // for the ledger, if the URL is a secret; empty: the URL
  std::string endpoint_path;          // for the explanation of the outcome
  std::vector<core::Header> headers;  // all of them, with the bearer
  std::string body;                   // sent where core::takes_body(method) and has_body
  bool has_body = false;
  std::int64_t timeout_ms = 60'000;         // the whole attempt
  std::int64_t connect_timeout_ms = 5'000;  // until the connection (DNS, TCP, TLS) is established
  std::size_t max_response_bytes = 8'192;   // of the body that are kept
  std::string ca_file;                      // PEM; empty: the system's roots
  Proxy proxy;                              // the connection goes through it, if it is set
  std::vector<std::string> secrets;         // are redacted in the answer
};

// Phase lengths in milliseconds. Negative: the attempt did not reach the phase or did not need it (a reused connection
// has no dns, connect or tls phase).
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
  core::Status status = core::Status::kFailed;  // set by the dispatcher: the status of the call's row from now on
  bool keep_last_outcome = false;               // set by the dispatcher: nothing was sent, so the row keeps its outcome
  // Set by the dispatcher: when the next attempt begins, or until when the app may work; 0: the call has ended.
  std::int64_t retry_at_us = 0;
  Timings timings;
};

struct EngineOptions {
  std::size_t max_connections = 256;
};

// Sends requests with libcurl's multi interface, all at once, in one thread, and never waits. Its owner waits until
// poll_fd() (one epoll descriptor that holds every socket) is readable or timeout_ms() has passed, then calls
// perform(). Every request that start() took yields exactly one Result.
//
// The engine sends each request once. When a kept-alive connection turns out dead, libcurl would silently send the
// request again; the engine stops that, and the reason is `response`. It verifies TLS, 1.2 or newer, and does not
// follow redirects. It uses no cookies and no .netrc, and no proxy but the request's own, which sees the app's host and
// port and no header of ours. Deadlines are the engine's own: it reads what has arrived before it judges a request too
// late. The process must ignore SIGPIPE, as Postgres's workers do, because OpenSSL writes to connections that the app
// has closed.
class Engine {
 public:
  explicit Engine(EngineOptions options);  // throws std::runtime_error with the message of libcurl or the system
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int poll_fd() const noexcept;
  // Milliseconds until perform() is due even if nothing is readable; 0: now; -1: never. At most what an int holds.
  long timeout_ms() const noexcept;

  void start(Request request);
  void perform();
  // The owner could not serve the engine for that long. Moves all deadlines by it.
  void extend_deadlines(std::chrono::microseconds pause) noexcept;
  // Gives up a request on the wire; its Result says `cancelled`. Returns false if there is none of that id.
  bool cancel(std::int64_t id);

  std::size_t in_flight() const noexcept;
  // The results since the last call, in order of completion.
  std::vector<Result> take_results();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wee5::delivery
