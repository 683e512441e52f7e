// Calls that fail: each yields one Result, and none is sent twice.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "engine/engine_driver.hpp"
#include "engine/loopback_server.hpp"
#include "network/hanging_resolver.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery::test {
namespace {

using core::Reason;

LoopbackServer::Script sending(std::string bytes) {
  return [bytes](Connection& connection) {
    connection.read_request();
    connection.write(bytes);
  };
}

TEST(EngineFailures, APortWhereNothingListensIsAConnectFailure) {
  const std::string url = "http://127.0.0.1:" + std::to_string(closed_port()) + "/";
  const Result result = fetch(request_to(url));
  EXPECT_EQ(result.outcome.reason, Reason::kConnect) << result.outcome.error;
  EXPECT_EQ(result.http_status, 0);
  EXPECT_EQ(result.url, url);
  EXPECT_LT(result.timings.connect_ms, 0);
  EXPECT_LT(result.timings.first_byte_ms, 0);
  EXPECT_GE(result.timings.total_ms, 0);
}

TEST(EngineFailures, AnUnknownNameIsADnsFailure) {
  const Result result = fetch(request_to("http://app.nowhere.test/"));
  EXPECT_EQ(result.outcome.reason, Reason::kDns) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("app.nowhere.test"), std::string::npos) << result.outcome.error;
  EXPECT_LT(result.timings.dns_ms, 0);
}

TEST(EngineFailures, AConnectionDroppedUnreadIsAResponseFailure) {
  LoopbackServer server([](Connection&) {});
  const Result result = fetch(request_to(server.url()));
  // The request left, as far as the system told us.
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_EQ(result.http_status, 0);
  EXPECT_EQ(server.connections(), 1);
}

// What libcurl remembers of the answer before must not become part of this one.
TEST(EngineFailures, AFoldedFirstLineIsNotJoinedToTheAnswerBefore) {
  std::atomic<int> answers{0};
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    connection.write(++answers == 1 ? "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Last: of the first\r\n\r\n"
                                    : "HTTP/1.1 200 OK\r\n folded\r\nConnection: close\r\n\r\n");
  });
  Engine engine({});
  engine.start(request_to(server.url()));
  EXPECT_EQ(run(engine).front().http_status, 200);
  engine.start(request_to(server.url()));
  const Result second = run(engine).front();
  EXPECT_EQ(second.outcome.reason, Reason::kResponse) << second.outcome.error;
}

TEST(EngineFailures, AConnectionClosedAfterTheRequestIsAResponseFailure) {
  std::atomic<int> requests{0};
  LoopbackServer server([&](Connection& connection) {
    if (connection.read_request()) ++requests;
  });
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_EQ(requests, 1);
}

class SentOnce : public testing::TestWithParam<core::Method> {};

// libcurl takes a kept-alive connection that dies before the first byte of an answer for one that was dead already,
// and sends the request again over a new one.
TEST_P(SentOnce, AKeptAliveConnectionClosedAfterTheRequestWasRead) {
  std::atomic<int> seen{0};
  LoopbackServer server([&](Connection& connection) {
    while (const auto request = connection.read_request()) {
      if (request->target() == "/second") {
        ++seen;
        return;
      }
      connection.write(answer("200 OK", ""));
    }
  });
  Engine engine({});
  engine.start(request_to(server.url("/first")));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  Request request = request_to(server.url("/second"));
  request.method = GetParam();
  request.has_body = core::takes_body(GetParam());
  request.body = request.has_body ? "{}" : "";
  engine.start(request);
  const Result result = run(engine).front();
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("may have run"), std::string::npos) << result.outcome.error;
  EXPECT_EQ(result.http_status, 0);
  EXPECT_EQ(seen, 1);
  // The engine goes on.
  engine.start(request_to(server.url("/third")));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
}

INSTANTIATE_TEST_SUITE_P(Methods, SentOnce,
                         testing::Values(core::Method::kGet, core::Method::kPost, core::Method::kPut,
                                         core::Method::kPatch, core::Method::kDelete, core::Method::kHead));

TEST(EngineFailures, ARequestIsNotSentAgainWhenTheServerIsGone) {
  std::atomic<int> seen{0};
  Engine engine({});
  {
    Event request_read;
    LoopbackServer server([&](Connection& connection) {
      connection.read_request();
      connection.write(answer("200 OK", ""));
      if (connection.read_request()) ++seen;
      request_read.set();
      connection.wait_until_client_closes();  // until the server is destroyed
    });
    engine.start(request_to(server.url()));
    EXPECT_TRUE(run(engine).front().outcome.succeeded);
    engine.start(request_to(server.url()));
    EXPECT_TRUE(serve_until(engine, request_read));
  }
  const Result result = run(engine).front();
  // "Connection refused" on a second connection would not be what happened to the request.
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_EQ(seen, 1);
}

TEST(EngineFailures, AConnectionClosedWhileItWasIdleCostsNoCall) {
  Event closed;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    connection.write(answer("200 OK", ""));
    if (connection.number == 1) {
      connection.interrupt();
      closed.set();
    }
  });
  Engine engine({});
  engine.start(request_to(server.url()));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  EXPECT_TRUE(closed.wait());
  engine.start(request_to(server.url()));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(server.connections(), 2);
}

// As many connections as an app under load keeps open, all closed by its restart.
TEST(EngineFailures, ManyConnectionsClosedWhileTheyWereIdleCostNoCall) {
  constexpr int kConnections = 8;
  Event all_open;
  Event closed;
  std::atomic<int> arrived{0};
  std::atomic<int> gone{0};
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    if (connection.number > kConnections) {
      connection.write(answer("200 OK", ""));
      return;
    }
    if (++arrived == kConnections) all_open.set();
    all_open.wait();
    connection.write(answer("200 OK", ""));
    connection.interrupt();
    if (++gone == kConnections) closed.set();
  });
  Engine engine({});
  for (int i = 0; i < kConnections; ++i) engine.start(request_to(server.url()));
  for (const Result& result : run(engine, kConnections)) EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_TRUE(closed.wait());
  for (int i = 0; i < kConnections; ++i) engine.start(request_to(server.url()));
  for (const Result& result : run(engine, kConnections)) EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
}

// "408 Request Timeout" is how some servers announce that they close an idle connection. It answers no request.
TEST(EngineFailures, AnUnsolicitedAnswerIsNotTaken) {
  Event idle;
  Event announced;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    connection.write(answer("200 OK", ""));
    if (connection.number > 1) return;
    idle.wait();
    connection.write(answer("408 Request Timeout", "", "Connection: close\r\n"));
    announced.set();
    connection.wait_until_client_closes();
  });
  Engine engine({});
  engine.start(request_to(server.url()));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
  idle.set();
  EXPECT_TRUE(announced.wait());
  engine.start(request_to(server.url()));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(server.connections(), 2);
}

struct Nonsense {
  const char* name;
  std::string bytes;
  int http_status;
};
std::ostream& operator<<(std::ostream& out, const Nonsense& nonsense) { return out << nonsense.name; }

class NoAnswer : public testing::TestWithParam<Nonsense> {};

TEST_P(NoAnswer, IsAResponseFailure) {
  LoopbackServer server(sending(GetParam().bytes));
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_FALSE(result.outcome.succeeded);
  EXPECT_EQ(result.http_status, GetParam().http_status);
  EXPECT_FALSE(result.outcome.error.empty());
  EXPECT_EQ(server.connections(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Table, NoAnswer,
    testing::Values(
        Nonsense{"garbage", "\x01\x02\x03 garbage\r\n\r\n", 0}, Nonsense{"http 0.9", "<html>hello</html>", 0},
        Nonsense{"ssh", "SSH-2.0-OpenSSH_9.2\r\n", 0},
        Nonsense{"only 100 Continue", "HTTP/1.1 100 Continue\r\n\r\n", 0},
        Nonsense{"half a status line", "HTTP/1.1 20", 0},
        Nonsense{"half of the headers", "HTTP/1.1 200 OK\r\nA: b", 200},
        Nonsense{"half of the body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 200},
        Nonsense{"no body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 200},
        Nonsense{"half of the chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 200},
        Nonsense{"a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n", 200}),
    [](const auto& info) {
      std::string name = info.param.name;
      for (char& byte : name) byte = byte == ' ' || byte == '.' ? '_' : byte;
      return name;
    });

// What libcurl reads into such lines is another thing with each version: a status of seven digits, too.
TEST(EngineFailures, AStatusHasThreeDigitsOrIsMissing) {
  for (const char* bytes :
       {"HTTP/20212021\r\nl", "HTTP/20212021\r\n\r\n", "HTTP/2 99999\r\n\r\n", "HTTP/1.1 0\r\n\r\n"}) {
    LoopbackServer server(sending(bytes));
    const Result result = fetch(request_to(server.url()));
    EXPECT_TRUE(result.http_status == 0 || (result.http_status >= 200 && result.http_status <= 999))
        << bytes << result.http_status;
    EXPECT_TRUE(!result.outcome.succeeded || (result.http_status >= 200 && result.http_status < 300)) << bytes;
  }
}

TEST(EngineFailures, ABrokenAnswerKeepsTheBodyThatCame) {
  LoopbackServer server(sending("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
  EXPECT_EQ(fetch(request_to(server.url())).response_body, "half");
}

class Floods : public testing::TestWithParam<const char*> {};

// Without end, of whatever kind: it is closed, not read until memory is full.
TEST_P(Floods, AreCutOff) {
  Event closed;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    std::string piece;
    while (piece.size() < 10'000) piece += GetParam();
    bool open = connection.write(std::string(GetParam()).starts_with("HTTP") ? "" : "HTTP/1.1 200 OK\r\n");
    while (open) open = connection.write(piece);
    closed.set();
  });
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.outcome.reason, Reason::kResponse) << result.outcome.error;
  EXPECT_TRUE(closed.wait());
}

INSTANTIATE_TEST_SUITE_P(Table, Floods,
                         testing::Values("X-Header: some text that makes it longer\r\n", "x",
                                         "HTTP/1.1 100 Continue\r\n\r\n",
                                         "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"));

struct BadRequest {
  const char* name;
  std::string url;
  core::Header header;
};
std::ostream& operator<<(std::ostream& out, const BadRequest& bad) { return out << bad.name; }

class CannotBegin : public testing::TestWithParam<BadRequest> {};

TEST_P(CannotBegin, StillHasAResult) {
  LoopbackServer server(answering([](const ReceivedRequest&) { return answer("200 OK", ""); }));
  Engine engine({});
  Request request = request_to(GetParam().url.empty() ? server.url() : GetParam().url);
  if (!GetParam().header.name.empty() || !GetParam().header.value.empty()) request.headers.push_back(GetParam().header);
  request.id = 7;
  engine.start(request);
  const Result result = run(engine).front();
  EXPECT_EQ(result.id, 7);
  EXPECT_EQ(result.outcome.reason, Reason::kConfig) << result.outcome.error;
  EXPECT_EQ(result.url, request.url);
  EXPECT_EQ(server.connections(), 0);
  engine.start(request_to(server.url()));
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
}

INSTANTIATE_TEST_SUITE_P(Table, CannotBegin,
                         testing::Values(BadRequest{"no host", "http://", {}}, BadRequest{"no scheme", "://x", {}},
                                         BadRequest{"ftp", "ftp://127.0.0.1/x", {}},
                                         BadRequest{"file", "file:///etc/passwd", {}},
                                         BadRequest{"user", "http://user:pass@127.0.0.1/", {}},
                                         BadRequest{"line break", "", {"X-A", "b\r\nX-Evil: c"}},
                                         BadRequest{"line break in the name", "", {"X-A: b\nX-Evil", "c"}},
                                         BadRequest{"NUL", "", {"X-A", std::string("b\0c", 3)}},
                                         BadRequest{"no name", "", {"", "b"}}));

TEST(EngineFailures, OneFailureDoesNotAffectOtherRequests) {
  LoopbackServer good(answering([](const ReceivedRequest&) { return answer("200 OK", ""); }));
  LoopbackServer bad([](Connection&) {});
  Engine engine({});
  for (int i = 0; i < 50; ++i) {
    Request request = request_to(i % 2 == 0 ? good.url() : bad.url());
    request.id = i;
    engine.start(request);
  }
  for (const Result& result : run(engine, 50)) {
    EXPECT_EQ(result.outcome.succeeded, result.id % 2 == 0) << result.outcome.error;
  }
}

}  // namespace
}  // namespace wee5::delivery::test
