// Over TLS: who is trusted, how old it may be, and what a refusal is called.

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "engine/certificates.hpp"
#include "engine/engine_driver.hpp"
#include "engine/loopback_server.hpp"
#include "network/hanging_resolver.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery::test {
namespace {

using core::Reason;

LoopbackServer::Script fine() {
  return answering([](const ReceivedRequest&) { return answer("200 OK", "trusted"); });
}

class EngineTls : public testing::Test {
 protected:
  Request request_with_roots(const LoopbackServer& server, const std::string& host = "127.0.0.1") {
    Request request = request_to(server.url("/", host));
    request.ca_file = roots.path();
    return request;
  }
  // The request was refused before its first byte, bearer included, left.
  void expect_untrusted(const Result& result, const char* words) {
    EXPECT_EQ(result.outcome.reason, Reason::kTls) << result.outcome.error;
    EXPECT_NE((result.outcome.error + result.outcome.hint).find(words), std::string::npos)
        << result.outcome.error << "\n"
        << result.outcome.hint;
    EXPECT_EQ(result.http_status, 0);
    EXPECT_EQ(requests, 0);
  }
  LoopbackServer::Script counting() {
    return answering([this](const ReceivedRequest&) {
      ++requests;
      return answer("200 OK", "");
    });
  }

  const Identity authority = issue("Test authority", nullptr, {.authority = true});
  const Identity right = issue("127.0.0.1", &authority);
  const PemFile roots{authority.certificate};
  std::atomic<int> requests{0};
};

TEST_F(EngineTls, TheRightCertificateIsTrusted) {
  LoopbackServer server(fine(), server_tls(right));
  Engine engine({});
  for (int i = 0; i < 3; ++i) {
    engine.start(request_with_roots(server));
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
    EXPECT_EQ(result.response_body, "trusted");
    EXPECT_EQ(result.timings.tls_ms >= 0, i == 0);
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(EngineTls, AnotherHostsCertificateIsRefused) {
  LoopbackServer server(counting(), server_tls(issue("other.local.test", &authority)));
  expect_untrusted(fetch(request_with_roots(server)), "issued for another name");
  expect_untrusted(fetch(request_with_roots(server, "app.local.test")), "issued for another name");
  EXPECT_TRUE(fetch(request_with_roots(server, "other.local.test")).outcome.succeeded);
}

TEST_F(EngineTls, AnExpiredCertificateIsRefused) {
  LoopbackServer server(counting(), server_tls(issue("127.0.0.1", &authority, {.expired = true})));
  expect_untrusted(fetch(request_with_roots(server)), "expired");
}

TEST_F(EngineTls, ASelfSignedCertificateIsRefused) {
  LoopbackServer server(counting(), server_tls(issue("127.0.0.1", nullptr)));
  expect_untrusted(fetch(request_with_roots(server)), "wee5_cron.ca_file");
}

TEST_F(EngineTls, AnUnknownAuthorityIsRefused) {
  LoopbackServer server(counting(), server_tls(right));
  expect_untrusted(fetch(request_to(server.url())), "wee5_cron.ca_file");  // the system's roots
}

TEST_F(EngineTls, ATrustedConnectionIsNotReusedWithOtherRoots) {
  LoopbackServer server(counting(), server_tls(right));
  Engine engine({});
  engine.start(request_with_roots(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  requests = 0;
  engine.start(request_to(server.url()));
  expect_untrusted(run(engine).front(), "certificate");
  engine.start(request_with_roots(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
}

TEST_F(EngineTls, TheErrorNamesAMissingFileOfRoots) {
  LoopbackServer server(counting(), server_tls(right));
  Request request = request_to(server.url());
  request.ca_file = "/nonexistent/roots.pem";
  expect_untrusted(fetch(request), "/nonexistent/roots.pem");
  expect_untrusted(fetch(request), "cannot read the file of root certificates");
}

TEST_F(EngineTls, Tls11IsRefused) {
  LoopbackServer server(counting(), server_old_tls(right));
  expect_untrusted(fetch(request_with_roots(server)), "TLS 1.2");
}

TEST_F(EngineTls, AServerWithoutTlsIsRefused) {
  LoopbackServer server([](Connection& connection) {
    connection.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    connection.wait_until_client_closes();
  });
  expect_untrusted(fetch(request_to("https://127.0.0.1:" + std::to_string(server.port()) + "/")), "does not speak TLS");
}

TEST_F(EngineTls, AConnectionClosedInTheHandshakeIsATlsFailure) {
  LoopbackServer server([](Connection& connection) { connection.read_exactly(5); });
  const Result result = fetch(request_to("https://127.0.0.1:" + std::to_string(server.port()) + "/"));
  EXPECT_EQ(result.outcome.reason, Reason::kTls) << result.outcome.error;
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(EngineTls, AnEndlessHandshakeIsATlsFailureAtItsTimeout) {
  LoopbackServer server([](Connection& connection) { connection.wait_until_client_closes(); });
  Request request = request_to("https://127.0.0.1:" + std::to_string(server.port()) + "/");
  request.connect_timeout_ms = 200;
  const Result result = fetch(request);
  EXPECT_EQ(result.outcome.reason, Reason::kTls) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("handshake timed out after 200 ms"), std::string::npos) << result.outcome.error;
  EXPECT_GE(result.timings.connect_ms, 0);
  EXPECT_LT(result.timings.tls_ms, 0);
}

TEST_F(EngineTls, AKeptAliveConnectionClosedAfterTheRequestIsNotSentAgain) {
  LoopbackServer server(
      [&](Connection& connection) {
        connection.read_request();
        connection.write(answer("200 OK", ""));
        if (connection.read_request()) ++requests;
      },
      server_tls(right));
  Engine engine({});
  engine.start(request_with_roots(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  engine.start(request_with_roots(server));
  EXPECT_EQ(run(engine).front().outcome.reason, Reason::kResponse);
  EXPECT_EQ(requests, 1);
}

class ClosedWhileIdle : public EngineTls, public testing::WithParamInterface<bool> {};

// A server says in TLS that it ends the connection, and closes the socket with that or much later.
TEST_P(ClosedWhileIdle, CostsNoCall) {
  Event idle;
  Event closed;
  LoopbackServer server(
      [&](Connection& connection) {
        connection.read_request();
        ++requests;
        connection.write(answer("200 OK", ""));
        if (connection.number > 1) return;
        idle.wait();
        connection.say_goodbye();
        if (GetParam()) connection.interrupt();
        closed.set();
        if (connection.read_request()) ++requests;
      },
      server_tls(right));
  Engine engine({});
  engine.start(request_with_roots(server));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  idle.set();
  EXPECT_TRUE(closed.wait());
  engine.start(request_with_roots(server));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(requests, 2);
  EXPECT_EQ(server.connections(), 2);
}

INSTANTIATE_TEST_SUITE_P(Socket, ClosedWhileIdle, testing::Bool(),
                         [](const auto& info) { return info.param ? "Closed" : "LeftOpen"; });

}  // namespace
}  // namespace wee5::delivery::test
