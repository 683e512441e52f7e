#pragma once

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "deadline_heap.hpp"
#include "wee5_cron/core/outcome/cache_signs.hpp"
#include "wee5_cron/core/text/redact.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"
#include "wee5_cron/delivery/network/connection_sockets.hpp"

namespace wee5::delivery {

struct EasyCleanup {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
using EasyHandle = std::unique_ptr<CURL, EasyCleanup>;

// How much of an answer is read and dropped beyond the part that is kept. If the connection closed earlier, the server
// might stop the route's work.
inline constexpr std::size_t kDroppedBytes = 1'048'576;
// The most bytes of all header lines of an answer, with 1xx and trailers. libcurl limits each line, and all of them
// since 8.3.
inline constexpr std::size_t kMaxHeaderBytes = 262'144;

class Transfer;

// Is called from within libcurl when a request is about to be sent.
class SendObserver {
 public:
  virtual void about_to_send(Transfer* transfer) noexcept = 0;

 protected:
  ~SendObserver() = default;
};

// One request with its easy handle. Transfers are pooled: the constructor sets the options that never change, begin()
// the others. libcurl keeps pointers into this object, so it must not move.
class Transfer {
 public:
  Transfer(SendObserver* observer, ConnectionSockets* sockets);  // throws CurlError
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Takes the request and prepares the handle. Throws CurlError, or std::runtime_error if a header cannot be sent;
  // keeps the request, so that its Result can be made.
  void begin(Request next);
  // Sends the request over a new connection, not over one that is kept open.
  void use_new_connection() noexcept;
  // Forgets the answer, so that the handle can begin the same request again.
  void forget_answer() noexcept;
  // Drops the request and the answer, for the pool.
  void release() noexcept;
  // Whether a transfer that has seen an answer may serve another request. libcurl 7.83 to 8.1.0 (Debian 12 has 7.88)
  // keeps a pointer to the last header of an answer after it is freed, and appends to it if the next answer begins with
  // a folded line: two answers of an app could have written into the worker's memory (curl issue 11101).
  bool may_serve_again() const noexcept;

  CURL* easy() const noexcept { return easy_.get(); }

  Request request;
  TimePoint deadline;  // of the connection until about_to_send(), then of the whole attempt
  TimePoint total_deadline;
  std::size_t heap_index = 0;
  TimePoint started;
  std::int64_t started_us = 0;

  // The answer, as far as it came.
  int sendings = 0;            // how often libcurl began to send
  bool refused = false;        // the server said of the last sending that it did not process it (REFUSED_STREAM)
  bool found_closed = false;   // nothing was sent: the server had closed the connection that libcurl kept open
  bool sent_again = false;     // libcurl tried to send a second time, and was stopped
  bool cut = false;            // the body is longer than the part that was read
  bool out_of_memory = false;  // memory ran out in a callback
  bool handshaking = false;    // TCP is connected, TLS has begun
  TimePoint handshake_begun;
  bool headers_complete = false;
  std::size_t header_bytes = 0;
  std::array<char, 64> retry_after{};  // ends with a NUL; empty if the value is longer
  core::CacheSigns cache_signs;
  bool accepted = false;  // the app says that it works on
  std::size_t body_bytes = 0;
  std::string body;  // the first max_response_bytes of it, and twice secret_margin() more
  // The secret must be found even if it lies across the cut. Twice, because the last part is dropped (drop_margin()),
  // and each secret that is redacted makes the rest shorter.
  std::size_t secret_margin() const noexcept { return core::longest_spelling(request.secrets); }
  std::array<char, CURL_ERROR_SIZE> error_text;

 private:
  void keep_retry_after(std::string_view value) noexcept;
  void set_fixed_options();
  void set_method();
  void set_proxy();
  void set_headers();
  bool on_closed_connection(int local_port) const noexcept;

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static int on_send(void* self, char* remote_ip, char* local_ip, int remote_port, int local_port) noexcept;
  static CURLcode on_handshake(CURL* easy, void* ssl_context, void* self) noexcept;
  static int on_socket_made(void* self, curl_socket_t socket, curlsocktype purpose) noexcept;
  static int on_trace(CURL* easy, curl_infotype type, char* data, std::size_t size, void* self) noexcept;

  SendObserver* observer_;
  ConnectionSockets* sockets_;
  // The newest sockets: libcurl tries the addresses of a host one after the other, and may try two at a time.
  std::array<curl_socket_t, 4> sockets_made_;
  std::size_t next_made_ = 0;
  EasyHandle easy_;
  std::string header_text_;
  std::vector<curl_slist> header_list_;
  core::Method method_ = core::Method::kGet;  // the handle's current setting
  bool with_body_ = false;
  bool traced_ = false;
  bool new_connection_ = false;
  std::string ca_file_;
  Proxy proxy_;
};

}  // namespace wee5::delivery
