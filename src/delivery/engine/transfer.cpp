#include "transfer.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/delivery/network/curl_check.hpp"

namespace wee5::delivery {
namespace {

// Node closes an idle connection after 5 s, most proxies later. If a connection was idle for almost as long, the app
// may close it just while the next request travels. libcurl would send again, which the engine forbids, and the call
// would fail. So old connections are not used again. (libcurl compares whole seconds: up to 3.99 s.)
constexpr long kMaxIdleSeconds = 3;
// Under steady traffic a connection is never idle. Calls must still follow an address that changed within five seconds:
// libcurl remembers an address for one, and a connection to it lives for less than four. (libcurl compares whole
// seconds here, too.)
constexpr long kAddressSeconds = 1;
constexpr long kMaxLifeSeconds = 3;
// How long libcurl keeps the CA store of the multi handle. After that it reads the bundle again, which may have
// changed.
constexpr long kCaCacheSeconds = 600;

// The largest buffer for a body that a pooled transfer keeps.
constexpr std::size_t kMostKeptCapacity = 65'536;

// The default CA bundle of the loaded libcurl. The text is libcurl's own, and lives as long as the process.
const char* default_ca_file() {
  static const char* path = curl_version_info(CURLVERSION_NOW)->cainfo;
  return path;
}

constexpr std::string_view kRetryAfter = "retry-after:";

// Whether the line is the header `lower_name`, which ends in a colon.
bool is_header(std::string_view line, std::string_view lower_name) {
  if (line.size() < lower_name.size()) return false;
  return core::equals_ignoring_case(line.substr(0, lower_name.size()), lower_name);
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t") == std::string_view::npos; }

}  // namespace

Transfer::Transfer(SendObserver* observer, ConnectionSockets* sockets)
    : error_text(), observer_(observer), sockets_(sockets), easy_(curl_easy_init()) {
  if (!easy_) throw CurlError("curl_easy_init", "out of memory");
  sockets_made_.fill(CURL_SOCKET_BAD);
  set_fixed_options();
}

void Transfer::set_fixed_options() {
  CURL* easy = easy_.get();
  WEE5_SET_OPTION(easy, CURLOPT_PRIVATE, this);
  WEE5_SET_OPTION(easy, CURLOPT_ERRORBUFFER, error_text.data());
  WEE5_SET_OPTION(easy, CURLOPT_NOSIGNAL, 1L);

  // The request goes exactly where the URL says.
  WEE5_SET_OPTION(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  WEE5_SET_OPTION(easy, CURLOPT_FOLLOWLOCATION, 0L);
  // The environment (http_proxy, no_proxy) does not count. A proxy that the request names only opens a tunnel, also for
  // plain http, so it sees none of our headers and bodies. Its answer is not the app's.
  WEE5_SET_OPTION(easy, CURLOPT_PROXY, "");
  WEE5_SET_OPTION(easy, CURLOPT_NOPROXY, "");
  WEE5_SET_OPTION(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  WEE5_SET_OPTION(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  WEE5_SET_OPTION(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_PATH_AS_IS, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_HTTP09_ALLOWED, 0L);
  // HTTP/2 over TLS if the server offers it. A libcurl that was built without HTTP/2 refuses the option.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));

  WEE5_SET_OPTION(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  WEE5_SET_OPTION(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  // libcurl caches the CA store in the multi handle only if there is no directory of certificates. A connection then
  // takes 84 kB and 1.2 ms instead of 904 kB and 25 ms.
  WEE5_SET_OPTION(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));
  WEE5_SET_OPTION(easy, CURLOPT_CA_CACHE_TIMEOUT, kCaCacheSeconds);

  WEE5_SET_OPTION(easy, CURLOPT_DNS_CACHE_TIMEOUT, kAddressSeconds);
  WEE5_SET_OPTION(easy, CURLOPT_MAXAGE_CONN, kMaxIdleSeconds);
  WEE5_SET_OPTION(easy, CURLOPT_MAXLIFETIME_CONN, kMaxLifeSeconds);
  WEE5_SET_OPTION(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  // Without it, removing a transfer joins its resolver thread, and one DNS lookup that hangs would freeze the whole
  // loop.
  WEE5_SET_OPTION(easy, CURLOPT_QUICK_EXIT, 1L);

  WEE5_SET_OPTION(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  WEE5_SET_OPTION(easy, CURLOPT_WRITEDATA, this);
  WEE5_SET_OPTION(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  WEE5_SET_OPTION(easy, CURLOPT_HEADERDATA, this);
  WEE5_SET_OPTION(easy, CURLOPT_SOCKOPTFUNCTION, &Transfer::on_socket_made);
  WEE5_SET_OPTION(easy, CURLOPT_SOCKOPTDATA, this);
  WEE5_SET_OPTION(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_send);
  WEE5_SET_OPTION(easy, CURLOPT_PREREQDATA, this);
  WEE5_SET_OPTION(easy, CURLOPT_DEBUGFUNCTION, &Transfer::on_trace);
  WEE5_SET_OPTION(easy, CURLOPT_DEBUGDATA, this);
  WEE5_SET_OPTION(easy, CURLOPT_HTTPGET, 1L);
  // CURLINFO_CONNECT_TIME_T stays 0 until TLS is ready, too. This callback tells that a handshake has begun. Not every
  // TLS library of libcurl has it; without it, a handshake that hangs is reported as a connection that hangs.
  curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, &Transfer::on_handshake);
  curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, this);
  if (default_ca_file() != nullptr) WEE5_SET_OPTION(easy, CURLOPT_CAINFO, default_ca_file());
}

void Transfer::begin(Request next) {
  request = std::move(next);
  forget_answer();
  CURL* easy = easy_.get();
  set_headers();
  WEE5_SET_OPTION(easy, CURLOPT_URL, request.url.c_str());
  set_method();
  if (new_connection_) WEE5_SET_OPTION(easy, CURLOPT_FRESH_CONNECT, 0L);
  new_connection_ = false;
  set_proxy();
  if (request.ca_file != ca_file_) {
    WEE5_SET_OPTION(easy, CURLOPT_CAINFO, request.ca_file.empty() ? default_ca_file() : request.ca_file.c_str());
    ca_file_ = request.ca_file;
  }
  // The engine's own deadline must come first, because libcurl's clock runs on while the owner is away, and libcurl
  // checks it before it reads what has arrived. The option is set at all because libcurl gives half of the time to the
  // first of several addresses before it tries the next one, and the default is 300 s.
  const std::int64_t limit = std::max<std::int64_t>(1, std::min(request.connect_timeout_ms, request.timeout_ms));
  const std::int64_t most = std::numeric_limits<int>::max() / 2;
  WEE5_SET_OPTION(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min(most, limit + limit / 4 + 50)));
}

void Transfer::use_new_connection() noexcept {
  new_connection_ = curl_easy_setopt(easy_.get(), CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
}

// User and password are set apart from the address, which libcurl's messages may show.
void Transfer::set_proxy() {
  if (request.proxy == proxy_) return;
  CURL* easy = easy_.get();
  const Proxy& proxy = request.proxy;
  WEE5_SET_OPTION(easy, CURLOPT_PROXY, proxy.url().c_str());
  WEE5_SET_OPTION(easy, CURLOPT_PROXYUSERNAME, proxy.user.empty() ? nullptr : proxy.user.c_str());
  WEE5_SET_OPTION(easy, CURLOPT_PROXYPASSWORD, proxy.user.empty() ? nullptr : proxy.password.c_str());
  proxy_ = proxy;
}

void Transfer::release() noexcept {
  if (traced_) curl_easy_setopt(easy_.get(), CURLOPT_VERBOSE, 0L);
  traced_ = false;
  request = Request();
  body.clear();
  // The pool must not keep the memory of a large answer.
  if (body.capacity() > kMostKeptCapacity) body.shrink_to_fit();
}

bool Transfer::may_serve_again() const noexcept {
  constexpr unsigned int kFirstBad = 0x075300;
  constexpr unsigned int kFirstGood = 0x080101;
  static const unsigned int version = curl_version_info(CURLVERSION_NOW)->version_num;
  return header_bytes == 0 || version < kFirstBad || version >= kFirstGood;
}

void Transfer::forget_answer() noexcept {
  sendings = 0;
  refused = false;
  found_closed = false;
  sent_again = false;
  cut = false;
  out_of_memory = false;
  handshaking = false;
  headers_complete = false;
  header_bytes = 0;
  retry_after[0] = '\0';
  cache_signs = {};
  accepted = false;
  body_bytes = 0;
  body.clear();
  error_text[0] = '\0';
}

void Transfer::set_method() {
  CURL* easy = easy_.get();
  const bool with_body = core::needs_body(request.method) || (request.has_body && core::takes_body(request.method));
  if (request.method != method_ || with_body != with_body_) {
    WEE5_SET_OPTION(easy, CURLOPT_NOBODY, 0L);
    WEE5_SET_OPTION(easy, CURLOPT_HTTPGET, 1L);
    const bool own_name = request.method == core::Method::kGet || request.method == core::Method::kHead;
    WEE5_SET_OPTION(easy, CURLOPT_CUSTOMREQUEST, own_name ? nullptr : core::method_name(request.method));
    if (request.method == core::Method::kHead) WEE5_SET_OPTION(easy, CURLOPT_NOBODY, 1L);
    method_ = request.method;
    with_body_ = with_body;
  }
  if (!with_body) return;
  // The size first: without it, libcurl would end the body at its first NUL. libcurl does not copy the body.
  WEE5_SET_OPTION(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  WEE5_SET_OPTION(easy, CURLOPT_POSTFIELDS, request.body.c_str());
}

// Builds the list of headers over one buffer that is used again. curl_slist_append() would make two allocations for
// each header. libcurl reads the list and does not own it.
void Transfer::set_headers() {
  constexpr std::string_view kNoExpect =
      "Expect:";  // libcurl would wait a second for "100 Continue" before a large body
  header_text_.clear();
  std::size_t length = kNoExpect.size() + 1;
  for (const core::Header& header : request.headers) length += header.name.size() + header.value.size() + 3;
  header_text_.reserve(length);  // the list points into it
  header_list_.clear();
  header_list_.reserve(request.headers.size() + 1);
  const auto add = [this](std::size_t begin) {
    header_text_ += '\0';
    header_list_.push_back({header_text_.data() + begin, nullptr});
  };
  for (const core::Header& header : request.headers) {
    const std::size_t begin = header_text_.size();
    header_text_ += header.name;
    if (is_blank(header.value)) {
      header_text_ += ';';  // "Name:" would remove the header
    } else {
      header_text_ += ": ";
      header_text_ += header.value;
    }
    const std::string_view line = std::string_view(header_text_).substr(begin);
    const bool breaks = line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
    if (breaks || header.name.empty()) throw std::runtime_error("a header holds a line break, a NUL or no name");
    add(begin);
  }
  const std::size_t begin = header_text_.size();
  header_text_ += kNoExpect;
  add(begin);
  for (std::size_t i = 0; i + 1 < header_list_.size(); ++i) header_list_[i].next = &header_list_[i + 1];
  WEE5_SET_OPTION(easy_.get(), CURLOPT_HTTPHEADER, header_list_.data());
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto* transfer = static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  const std::size_t most = transfer->request.max_response_bytes;
  const std::size_t looked_at = most + 2 * transfer->secret_margin();
  transfer->body_bytes += bytes;
  if (transfer->body.size() < looked_at) {
    try {
      transfer->body.append(data, std::min(bytes, looked_at - transfer->body.size()));
    } catch (...) {
      transfer->out_of_memory = true;
      return CURL_WRITEFUNC_ERROR;
    }
  }
  if (transfer->body_bytes <= most + kDroppedBytes) return bytes;
  transfer->cut = true;
  return CURL_WRITEFUNC_ERROR;
}

void Transfer::keep_retry_after(std::string_view value) noexcept {
  const std::size_t begin = value.find_first_not_of(" \t");
  const std::size_t end = value.find_last_not_of(" \t\r\n");
  if (begin == std::string_view::npos || end == std::string_view::npos) return;
  value = value.substr(begin, end + 1 - begin);
  if (value.size() >= retry_after.size()) return;
  std::copy(value.begin(), value.end(), retry_after.begin());
  retry_after[value.size()] = '\0';
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto* transfer = static_cast<Transfer*>(self);
  const std::string_view line(data, size * count);
  transfer->header_bytes += line.size();
  if (transfer->header_bytes > kMaxHeaderBytes) return CURL_WRITEFUNC_ERROR;
  // libcurl reports success if the connection closes in the middle of the header lines. After the empty line of "100
  // Continue", another status line follows.
  if (line.starts_with("HTTP/")) {
    transfer->headers_complete = false;
    transfer->retry_after[0] = '\0';
    transfer->cache_signs = {};
    transfer->accepted = false;
  }
  if (is_header(line, kRetryAfter)) transfer->keep_retry_after(line.substr(kRetryAfter.size()));
  // A trailer comes after the empty line. The route writes it when it has ended.
  if (!transfer->headers_complete) {
    transfer->cache_signs.read_line(line);
    transfer->accepted = transfer->accepted || core::says_accepted(line);
  }
  if (line == "\r\n" || line == "\n") transfer->headers_complete = true;
  return line.size();
}

CURLcode Transfer::on_handshake(CURL* /*easy*/, void* /*ssl_context*/, void* self) noexcept {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->handshaking = true;
  transfer->handshake_begun = Clock::now();
  return CURLE_OK;
}

// CURLOPT_SOCKOPTFUNCTION: libcurl has created a socket and is about to connect it.
int Transfer::on_socket_made(void* self, curl_socket_t socket, curlsocktype /*purpose*/) noexcept {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->sockets_made_[transfer->next_made_++ % transfer->sockets_made_.size()] = socket;
  return CURL_SOCKOPT_OK;
}

// Whether libcurl is about to reuse a connection that the server has closed. libcurl checks that itself, but not well
// enough for a request that must not be sent twice: before 8.0 it takes a close_notify that waits for a sign of life,
// and from 8.22 on it checks at most once a second. The call would fail although nobody received it.
bool Transfer::on_closed_connection(int local_port) const noexcept {
  long new_connections = 0;
  curl_easy_getinfo(easy(), CURLINFO_NUM_CONNECTS, &new_connections);
  if (new_connections == 0) return sockets_->closed_by_server(local_port, request.url.starts_with("https"));
  sockets_->connected(local_port, sockets_made_);
  return false;
}

// CURLOPT_PREREQFUNCTION: the connection is ready, and the request is about to leave. If a kept-alive connection turns
// out dead, libcurl calls this again to send the same request over another one. The app may have run by then.
int Transfer::on_send(void* self, char* /*remote_ip*/, char* /*local_ip*/, int /*remote_port*/,
                      int local_port) noexcept {
  auto* transfer = static_cast<Transfer*>(self);
  if (transfer->sendings > 0 && !transfer->refused) {
    // If the first sending failed before its first byte, it did not happen.
    long sent = 1;
    curl_easy_getinfo(transfer->easy(), CURLINFO_REQUEST_SIZE, &sent);
    if (sent > 0) {
      transfer->sent_again = true;
      return CURL_PREREQFUNC_ABORT;
    }
  }
  if (transfer->on_closed_connection(local_port)) {
    transfer->found_closed = true;
    return CURL_PREREQFUNC_ABORT;
  }
  transfer->refused = false;
  if (transfer->sendings++ == 0) {
    transfer->observer_->about_to_send(transfer);
    // HTTP/2 can refuse a request so that it was surely not processed (RFC 9113, section 8.7), e.g. when nginx ends a
    // connection after its thousandth request. libcurl tells this only in its trace. It is read from here on, where the
    // handshake is over, and for TLS alone, since plain http never becomes HTTP/2 here.
    transfer->traced_ = transfer->request.url.starts_with("https");
    if (transfer->traced_) curl_easy_setopt(transfer->easy(), CURLOPT_VERBOSE, 1L);
  }
  return CURL_PREREQFUNC_OK;
}

int Transfer::on_trace(CURL* /*easy*/, curl_infotype type, char* data, std::size_t size, void* self) noexcept {
  if (type == CURLINFO_TEXT && std::string_view(data, size).starts_with("REFUSED_STREAM")) {
    static_cast<Transfer*>(self)->refused = true;
  }
  return 0;
}

}  // namespace wee5::delivery
