// HTTP/2, with a server that knows as many frames as these tests need (RFC 9113).

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>

#include "engine/certificates.hpp"
#include "engine/engine_driver.hpp"
#include "engine/loopback_server.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery::test {
namespace {

using core::Reason;

constexpr char kHeaders = 1;
constexpr char kResetStream = 3;
constexpr char kSettings = 4;
constexpr char kPing = 6;
constexpr char kGoAway = 7;
constexpr char kAck = 1;
constexpr char kEndStreamAndHeaders = 5;

struct Frame {
  char type = 0;
  char flags = 0;
  std::string stream;  // four bytes
  std::string payload;
};

std::string encode(const Frame& frame) {
  const std::size_t length = frame.payload.size();
  std::string bytes{static_cast<char>(length >> 16U), static_cast<char>(length >> 8U), static_cast<char>(length)};
  return bytes + frame.type + frame.flags + frame.stream + frame.payload;
}

std::optional<Frame> read_frame(Connection& connection) {
  const auto head = connection.read_exactly(9);
  if (!head) return std::nullopt;
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>((*head)[at])); };
  auto payload = connection.read_exactly(byte(0) << 16U | byte(1) << 8U | byte(2));
  if (!payload) return std::nullopt;
  return Frame{(*head)[3], (*head)[4], head->substr(5), *payload};
}

const std::string kConnectionStream(4, '\0');

// The stream of the next request; nullopt: the client is gone.
std::optional<std::string> read_stream(Connection& connection) {
  while (const auto frame = read_frame(connection)) {
    if (frame->type == kHeaders) return frame->stream;
    if (frame->flags == kAck) continue;
    if (frame->type == kSettings) connection.write(encode({kSettings, kAck, kConnectionStream, ""}));
    if (frame->type == kPing) connection.write(encode({kPing, kAck, kConnectionStream, frame->payload}));
  }
  return std::nullopt;
}

void greet(Connection& connection) {
  EXPECT_EQ(connection.read_exactly(24), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  connection.write(encode({kSettings, 0, kConnectionStream, ""}));
}

// ":status: 200" is HPACK's static entry 8.
void answer_200(Connection& connection, const std::string& stream) {
  connection.write(encode({kHeaders, kEndStreamAndHeaders, stream, "\x88"}));
}

std::string error_code(char code) { return std::string(3, '\0') + code; }
constexpr char kRefusedStream = 7;
constexpr char kInternalError = 2;

class EngineHttp2 : public testing::Test {
 protected:
  Request request(const LoopbackServer& server) {
    Request request = request_to(server.url());
    request.ca_file = roots.path();
    return request;
  }

  const Identity authority = issue("Test authority", nullptr, {.authority = true});
  const PemFile roots{authority.certificate};
  const std::shared_ptr<SSL_CTX> tls = server_http2(issue("127.0.0.1", &authority));
  std::atomic<int> requests{0};
};

TEST_F(EngineHttp2, IsUsedIfTheServerOffersIt) {
  LoopbackServer server(
      [](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) answer_200(connection, *stream);
      },
      tls);
  Engine engine({});
  for (int i = 0; i < 5; ++i) {
    engine.start(request(server));
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  }
  EXPECT_EQ(server.connections(), 1);
}

// The one case in which a second sending is right: the server has said that it did not process the first.
TEST_F(EngineHttp2, ARefusedRequestIsSentAgain) {
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) {
          ++requests;
          if (connection.number == 1) {
            connection.write(encode({kResetStream, 0, *stream, error_code(kRefusedStream)}));
          } else {
            answer_200(connection, *stream);
          }
        }
      },
      tls);
  const Result result = fetch(request(server));
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(requests, 2);
}

// nginx ends a connection so with its thousandth request.
TEST_F(EngineHttp2, AConnectionThatTheServerEndsCostsNoCall) {
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) {
          ++requests;
          connection.write(encode({kGoAway, 0, kConnectionStream, *stream + error_code(0)}));
          answer_200(connection, *stream);
        }
      },
      tls);
  Engine engine({});
  for (int i = 0; i < 5; ++i) {
    engine.start(request(server));
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  }
  EXPECT_EQ(requests, 5);
  EXPECT_EQ(server.connections(), 5);
}

TEST_F(EngineHttp2, AConnectionClosedWhileItWasIdleCostsNoCall) {
  Event closed;
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        const auto stream = read_stream(connection);
        if (!stream) return;
        ++requests;
        answer_200(connection, *stream);
        if (connection.number > 1) {
          connection.wait_until_client_closes();
          return;
        }
        connection.say_goodbye();
        connection.interrupt();
        closed.set();
      },
      tls);
  Engine engine({});
  engine.start(request(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  EXPECT_TRUE(closed.wait());
  engine.start(request(server));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(requests, 2);
  EXPECT_EQ(server.connections(), 2);
}

// Otherwise the end of one connection would fail all calls on it.
TEST_F(EngineHttp2, ConcurrentRequestsHaveTheirOwnConnections) {
  Event all_arrived;
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        const auto stream = read_stream(connection);
        if (!stream) return;
        if (++requests == 6) all_arrived.set();
        all_arrived.wait();
        if (connection.number % 2 == 0) return;
        answer_200(connection, *stream);
        connection.wait_until_client_closes();
      },
      tls);
  Engine engine({});
  for (int i = 0; i < 6; ++i) engine.start(request(server));
  int succeeded = 0;
  for (const Result& result : run(engine, 6)) succeeded += result.outcome.succeeded ? 1 : 0;
  EXPECT_EQ(succeeded, 3);
  EXPECT_EQ(requests, 6);
}

TEST_F(EngineHttp2, ARequestThatIsAlwaysRefusedWasNeverSent) {
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) {
          ++requests;
          connection.write(encode({kResetStream, 0, *stream, error_code(kRefusedStream)}));
        }
      },
      tls);
  const Result result = fetch(request(server));
  EXPECT_EQ(result.outcome.reason, Reason::kConnect) << result.outcome.error;
  EXPECT_LT(requests, 10);
}

TEST_F(EngineHttp2, AFailedRequestIsNotSentAgain) {
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) {
          ++requests;
          connection.write(encode({kResetStream, 0, *stream, error_code(kInternalError)}));
        }
      },
      tls);
  const Result result = fetch(request(server));
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_EQ(requests, 1);
}

TEST_F(EngineHttp2, AKeptAliveConnectionClosedAfterTheRequestIsNotSentAgain) {
  LoopbackServer server(
      [&](Connection& connection) {
        greet(connection);
        while (const auto stream = read_stream(connection)) {
          if (++requests > 1) return;
          answer_200(connection, *stream);
        }
      },
      tls);
  Engine engine({});
  engine.start(request(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  engine.start(request(server));
  const Result result = run(engine).front();
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_EQ(requests, 2);
}

}  // namespace
}  // namespace wee5::delivery::test
