#include "engine/loopback_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace wee5::delivery::test {
namespace {

constexpr std::chrono::seconds kPatience{20};

int checked(int result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), call);
  return result;
}

// Bound to 127.0.0.1 and a port that the system picks.
int bound_socket(int* port) {
  const int socket = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  checked(bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  socklen_t length = sizeof address;
  checked(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  *port = ntohs(address.sin_port);
  return socket;
}

std::size_t content_length(const std::string& head) {
  const std::size_t at = head.find("\r\nContent-Length:");
  return at == std::string::npos ? 0 : std::strtoul(head.c_str() + at + 17, nullptr, 10);
}

}  // namespace

void Event::set() {
  const std::lock_guard lock(mutex_);
  set_ = true;
  changed_.notify_all();
}

bool Event::wait() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [this] { return set_; });
}

bool Event::is_set() {
  const std::lock_guard lock(mutex_);
  return set_;
}

std::string ReceivedRequest::target() const {
  const std::size_t begin = head.find(' ') + 1;
  return head.substr(begin, head.find(' ', begin) - begin);
}

Connection::~Connection() {
  if (tls_ != nullptr) {
    SSL_shutdown(tls_);
    SSL_free(tls_);
  }
  close(socket_);
}

bool Connection::write(const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const std::size_t left = bytes.size() - sent;
    const ssize_t count = tls_ != nullptr ? SSL_write(tls_, bytes.data() + sent, static_cast<int>(left))
                                          : send(socket_, bytes.data() + sent, left, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

bool Connection::read_more() {
  std::array<char, 16384> bytes{};
  const ssize_t count =
      tls_ != nullptr ? SSL_read(tls_, bytes.data(), bytes.size()) : recv(socket_, bytes.data(), bytes.size(), 0);
  if (count <= 0) return false;
  buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

std::optional<std::string> Connection::read_exactly(std::size_t bytes) {
  while (buffer_.size() < bytes) {
    if (!read_more()) return std::nullopt;
  }
  std::string result = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return result;
}

std::optional<ReceivedRequest> Connection::read_request() {
  std::size_t end = buffer_.find("\r\n\r\n");
  for (; end == std::string::npos; end = buffer_.find("\r\n\r\n")) {
    if (!read_more()) return std::nullopt;
  }
  ReceivedRequest request;
  request.head = *read_exactly(end + 4);
  const auto body = read_exactly(content_length(request.head));
  if (!body) return std::nullopt;
  request.body = *body;
  request.number = ++requests_;
  return request;
}

void Connection::wait_until_client_closes() {
  while (read_more()) buffer_.clear();
}

void Connection::say_goodbye() { SSL_shutdown(tls_); }

void Connection::interrupt() { shutdown(socket_, SHUT_RDWR); }

LoopbackServer::LoopbackServer(Script script, std::shared_ptr<SSL_CTX> tls)
    : script_(std::move(script)), tls_(std::move(tls)), listener_(bound_socket(&port_)) {
  // OpenSSL writes to sockets whose other end is gone, on both sides; Postgres ignores the signal in its workers, too.
  std::signal(SIGPIPE, SIG_IGN);
  checked(listen(listener_, 1024), "listen");
  acceptor_ = std::thread([this] { accept_connections(); });
}

LoopbackServer::~LoopbackServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (Connection* connection : open_) connection->interrupt();
  }
  shutdown(listener_, SHUT_RDWR);  // accept() returns
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

std::string LoopbackServer::url(const std::string& path, const std::string& host) const {
  return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
}

void LoopbackServer::accept_connections() {
  while (true) {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;
    const std::lock_guard lock(mutex_);
    threads_.emplace_back([this, socket, number = ++connections_] { serve(socket, number); });
  }
}

void LoopbackServer::serve(int socket, int number) {
  SSL* tls = nullptr;
  if (tls_) {
    tls = SSL_new(tls_.get());
    SSL_set_fd(tls, socket);
  }
  Connection connection(socket, tls, number);
  {
    const std::lock_guard lock(mutex_);
    open_.push_back(&connection);
    most_at_once_ = std::max(most_at_once_.load(), static_cast<int>(open_.size()));
    if (stopping_) connection.interrupt();
  }
  if (tls == nullptr || SSL_accept(tls) == 1) script_(connection);
  ERR_clear_error();
  const std::lock_guard lock(mutex_);
  open_.erase(std::find(open_.begin(), open_.end(), &connection));
}

std::string answer(const std::string& status, const std::string& body, const std::string& headers) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

LoopbackServer::Script answering(std::function<std::string(const ReceivedRequest&)> reply) {
  return [reply = std::move(reply)](Connection& connection) {
    while (const auto request = connection.read_request()) {
      if (!connection.write(reply(*request))) return;
    }
  };
}

int closed_port() {
  int port = 0;
  close(bound_socket(&port));
  return port;
}

}  // namespace wee5::delivery::test
