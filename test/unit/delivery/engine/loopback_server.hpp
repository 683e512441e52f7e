#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace wee5::delivery::test {

// A real server on 127.0.0.1 that does to its clients whatever a test says: each connection is a thread that runs the
// test's script.

// Something that has happened or has not. wait() gives up after 20 s, so that a broken test ends.
class Event {
 public:
  void set();
  bool wait();
  bool is_set();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

struct ReceivedRequest {
  std::string head;  // with the empty line
  std::string body;
  int number = 1;  // on this connection

  std::string method() const { return head.substr(0, head.find(' ')); }
  std::string target() const;
  bool has_line(const std::string& line) const { return head.find("\r\n" + line + "\r\n") != std::string::npos; }
};

class Connection {
 public:
  Connection(int socket, SSL* tls, int number) : number(number), socket_(socket), tls_(tls) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False, or nullopt: the client is gone (or sent no request).
  bool write(const std::string& bytes);
  std::optional<ReceivedRequest> read_request();
  std::optional<std::string> read_exactly(std::size_t bytes);
  void wait_until_client_closes();
  // TLS: close_notify; the socket stays open.
  void say_goodbye();
  // Reading fails from now on; called from another thread.
  void interrupt();

  const int number;  // of the server's connections, from 1

 private:
  bool read_more();

  const int socket_;
  SSL* const tls_;
  std::string buffer_;
  int requests_ = 0;
};

class LoopbackServer {
 public:
  using Script = std::function<void(Connection&)>;
  // `tls`: shared with the caller; null: plain.
  explicit LoopbackServer(Script script, std::shared_ptr<SSL_CTX> tls = nullptr);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  std::string url(const std::string& path = "/", const std::string& host = "127.0.0.1") const;
  int connections() const { return connections_; }
  int most_at_once() const { return most_at_once_; }

 private:
  void accept_connections();
  void serve(int socket, int number);

  Script script_;
  std::shared_ptr<SSL_CTX> tls_;
  int port_ = 0;  // before listener_, whose making fills it in
  int listener_;
  std::atomic<int> connections_{0};
  std::mutex mutex_;  // of what follows
  std::vector<std::thread> threads_;
  std::vector<Connection*> open_;
  std::atomic<int> most_at_once_{0};
  bool stopping_ = false;
  std::thread acceptor_;
};

// An answer with its length, on a connection that stays open.
std::string answer(const std::string& status, const std::string& body, const std::string& headers = "");

// A script that answers each request with what `reply` makes of it, until the client goes.
LoopbackServer::Script answering(std::function<std::string(const ReceivedRequest&)> reply);

// A port on which nothing listens.
int closed_port();

}  // namespace wee5::delivery::test
