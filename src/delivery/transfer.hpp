#pragma once

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "connection_sockets.hpp"
#include "deadline_heap.hpp"
#include "wee5_cron/core/cache_signs.hpp"
#include "wee5_cron/delivery/engine.hpp"

namespace wee5::delivery {

struct EasyCleanup {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
using EasyHandle = std::unique_ptr<CURL, EasyCleanup>;

// How much of an answer is read and dropped beyond what is kept: a server that sees its connection closed early may
// stop the route's work.
inline constexpr std::size_t kDroppedBytes = 1'048'576;
// Of all header lines of an answer, 1xx and trailers included. libcurl limits a line, and all of them since 8.3.
inline constexpr std::size_t kMaxHeaderBytes = 262'144;

class Transfer;

// Told from inside of libcurl that a request is about to be sent.
class SendObserver {
 public:
  virtual void about_to_send(Transfer* transfer) noexcept = 0;

 protected:
  ~SendObserver() = default;
};

// One request with its easy handle. Transfers are pooled: options that never change are set once, in the constructor,
// the others by begin(). libcurl keeps pointers into this object, so it stays where it is.
class Transfer {
 public:
  Transfer(SendObserver* observer, ConnectionSockets* sockets);  // throws CurlError
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Takes the request and prepares the handle. Throws CurlError, or std::runtime_error for a header that cannot be
  // sent; the request is kept, so that its Result can be made.
  void begin(Request next);
  // The request goes over a connection of its own, not over one that is kept open.
  void use_new_connection() noexcept;
  // Forgets what was seen of the answer, so that the handle can begin the same request anew.
  void forget_answer() noexcept;
  // Lets go of the request and the answer, for the pool.
  void release() noexcept;
  // Whether a transfer whose handle has seen an answer may serve another request. libcurl 7.83 to 8.1.0 (Debian 12 has
  // 7.88) keeps a pointer to the last header of the answer before, freed by then, and appends to it when an answer
  // begins with a folded line: two answers of an app could have written into the worker's memory (curl issue 11101).
  bool may_serve_again() const noexcept;

  CURL* easy() const noexcept { return easy_.get(); }

  Request request;
  TimePoint deadline;  // of the connection until about_to_send(), then of the whole attempt
  TimePoint total_deadline;
  std::size_t heap_index = 0;
  TimePoint started;
  std::int64_t started_us = 0;

  // What was seen of the answer.
  int sendings = 0;            // how often libcurl began to send
  bool refused = false;        // the server said of the last sending that it did not process it (REFUSED_STREAM)
  bool found_closed = false;   // nothing was sent: the connection that libcurl kept open has been closed by the server
  bool sent_again = false;     // libcurl wanted to send a second time, and was stopped
  bool cut = false;            // the body is longer than what was read
  bool out_of_memory = false;  // in a callback
  bool handshaking = false;    // TCP stands, TLS has begun
  TimePoint handshake_begun;
  bool headers_complete = false;
  std::size_t header_bytes = 0;
  std::array<char, 64> retry_after{};  // its value with a NUL behind it; a longer one is none
  core::CacheSigns cache_signs;
  std::size_t body_bytes = 0;
  std::string body;  // the first max_response_bytes of it, and secret_margin() more
  // A secret that stands across the cut has to be found whole: no spelling of it is longer than percent-encoded.
  std::size_t secret_margin() const noexcept { return 3 * request.secret.size(); }
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
  // The last ones: of several addresses of a host, libcurl tries one after the other, and a second one beside the
  // first.
  std::array<curl_socket_t, 4> sockets_made_;
  std::size_t next_made_ = 0;
  EasyHandle easy_;
  std::string header_text_;
  std::vector<curl_slist> header_list_;
  core::Method method_ = core::Method::kGet;  // that the handle is set to
  bool with_body_ = false;
  bool traced_ = false;
  bool new_connection_ = false;
  std::string ca_file_;
  Proxy proxy_;
};

}  // namespace wee5::delivery
