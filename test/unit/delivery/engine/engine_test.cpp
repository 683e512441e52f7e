// What the engine sends, and what it makes of complete answers.

#include "wee5_cron/delivery/engine/engine.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_driver.hpp"
#include "engine/loopback_server.hpp"

namespace wee5::delivery::test {
namespace {

using core::Method;
using core::Reason;

LoopbackServer::Script always(std::string reply) {
  return answering([reply = std::move(reply)](const ReceivedRequest&) { return reply; });
}

TEST(Engine, IsIdleWhileNothingIsOnTheWire) {
  Engine engine({});
  EXPECT_GE(engine.poll_fd(), 0);
  EXPECT_EQ(engine.timeout_ms(), -1);
  EXPECT_EQ(engine.in_flight(), 0U);
  engine.perform();
  EXPECT_TRUE(engine.take_results().empty());
  EXPECT_EQ(engine.timeout_ms(), -1);
}

TEST(Engine, IsIdleAgainWhenAllRequestsHaveEnded) {
  LoopbackServer server(always(answer("200 OK", "")));
  Engine engine({});
  engine.start(request_to(server.url()));
  EXPECT_EQ(engine.timeout_ms(), 0);
  run(engine);
  EXPECT_EQ(engine.timeout_ms(), -1);  // the connection is kept, without a timer
}

TEST(Engine, ReportsTheAnswer) {
  LoopbackServer server(always(answer("200 OK", R"({"ok":true})", "Content-Type: application/json\r\n")));
  Request request = request_to(server.url("/api/cron/test?x=1"));
  request.id = 42;
  request.attempt = 3;
  const Result result = fetch(request);
  EXPECT_EQ(result.id, 42);
  EXPECT_EQ(result.attempt, 3);
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(result.outcome.reason, Reason::kNone);
  EXPECT_EQ(result.http_status, 200);
  EXPECT_EQ(result.url, request.url);
  EXPECT_EQ(result.response_content_type, "application/json");
  EXPECT_EQ(result.response_body, R"({"ok":true})");
  EXPECT_FALSE(result.response_truncated);
  EXPECT_GT(result.started_us, 1'600'000'000'000'000);
  EXPECT_GE(result.finished_us, result.started_us);
  EXPECT_GE(result.timings.dns_ms, 0);
  EXPECT_GE(result.timings.connect_ms, 0);
  EXPECT_LT(result.timings.tls_ms, 0);
  EXPECT_GE(result.timings.first_byte_ms, 0);
  EXPECT_GE(result.timings.total_ms, result.timings.first_byte_ms);
}

TEST(Engine, ReportsRetryAfterAsTheAppSentIt) {
  const auto told = [](const std::string& headers) {
    LoopbackServer server(always(answer("503 Service Unavailable", "", headers)));
    return fetch(request_to(server.url())).retry_after;
  };
  EXPECT_EQ(told("Retry-After: 120\r\n"), "120");
  EXPECT_EQ(told("retry-AFTER:\t Sun, 06 Nov 1994 08:49:37 GMT \r\n"), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(told("Retry-After: 1\r\nRetry-After: 2\r\n"), "2");
  EXPECT_EQ(told("Retry-After:\r\n"), "");
  EXPECT_EQ(told("X-Retry-After: 5\r\nRetry-Afterwards: 6\r\n"), "");
  EXPECT_EQ(told("Retry-After: " + std::string(500, '1') + "\r\n"), "") << "longer than any that means something";
}

TEST(Engine, ReportsTheRetryAfterOfTheFinalAnswerOnly) {
  LoopbackServer server(
      always("HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\n\r\n" + answer("503 Service Unavailable", "")));
  EXPECT_EQ(fetch(request_to(server.url())).retry_after, "");
  // A transfer that is used again has forgotten the last one's.
  int count = 0;
  LoopbackServer changing(answering([&count](const ReceivedRequest&) {
    return answer("503 Service Unavailable", "", ++count == 1 ? "Retry-After: 9\r\n" : "");
  }));
  Engine engine({});
  for (const char* expected : {"9", ""}) {
    engine.start(request_to(changing.url()));
    EXPECT_EQ(run(engine).at(0).retry_after, expected);
  }
}

// The signs of a cache that the hint names.
std::string cache_of(const Result& result) {
  const std::string begin = "The answer came from a cache (";
  if (!result.outcome.hint.starts_with(begin)) return result.outcome.hint;
  return result.outcome.hint.substr(begin.size(), result.outcome.hint.find(')') - begin.size());
}

TEST(Engine, ReportsAnAnswerFromACache) {
  const auto told = [](const std::string& headers, const std::string& status = "200 OK") {
    LoopbackServer server(always(answer(status, "", headers)));
    const Result result = fetch(request_to(server.url()));
    EXPECT_EQ(result.outcome.succeeded, status.starts_with('2'));
    return cache_of(result);
  };
  EXPECT_EQ(told(""), "");
  EXPECT_EQ(told("X-Vercel-Cache: HIT\r\nAge: 37\r\n"), "x-vercel-cache: HIT, Age above 0");
  EXPECT_EQ(told("x-NEXTJS-cache:\t hit \r\n"), "x-nextjs-cache: HIT");
  EXPECT_EQ(told("Age: 0\r\nX-Vercel-Cache: MISS\r\n"), "");
  EXPECT_EQ(told("Age: " + std::string(500, '9') + "\r\n", "204 No Content"), "Age above 0");
  EXPECT_EQ(told("Age: 5\r\n", "404 Not Found"), told("", "404 Not Found"));
}

TEST(Engine, ReportsTheCacheOfTheFinalAnswerOnly) {
  // Not what was announced before it, and not what follows its body.
  LoopbackServer announcing(always("HTTP/1.1 103 Early Hints\r\nAge: 7\r\n\r\n" + answer("200 OK", "")));
  EXPECT_EQ(cache_of(fetch(request_to(announcing.url()))), "");
  LoopbackServer announced(always("HTTP/1.1 103 Early Hints\r\nAge: 0\r\n\r\n" + answer("200 OK", "", "Age: 7\r\n")));
  EXPECT_EQ(cache_of(fetch(request_to(announced.url()))), "Age above 0");
  LoopbackServer trailing(
      always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Age\r\n\r\n2\r\nok\r\n0\r\nAge: 7\r\n\r\n"));
  const Result trailed = fetch(request_to(trailing.url()));
  EXPECT_EQ(trailed.response_body, "ok");
  EXPECT_EQ(cache_of(trailed), "");
  // A transfer that is used again has forgotten the last one's.
  int count = 0;
  LoopbackServer changing(answering([&count](const ReceivedRequest&) {
    return answer("200 OK", "", ++count == 1 ? "x-vercel-cache: STALE\r\n" : "");
  }));
  Engine engine({});
  for (const char* expected : {"x-vercel-cache: STALE", ""}) {
    engine.start(request_to(changing.url()));
    EXPECT_EQ(cache_of(run(engine).at(0)), expected);
  }
}

TEST(Engine, DoesNotRepeatTextFromCacheHeaders) {
  LoopbackServer server(always(answer("200 OK", "", "Age: 31415926535\r\n")));
  Request request = request_to(server.url());
  request.secrets = {"31415926535"};
  EXPECT_EQ(fetch(request).outcome.hint.find("31415926535"), std::string::npos);
}

TEST(Engine, SendsExactlyTheHeadersItWasGiven) {
  std::string head;
  LoopbackServer server(answering([&](const ReceivedRequest& request) {
    head = request.head;
    return answer("204 No Content", "");
  }));
  Request request = request_to(server.url("/x?y=%20z"));
  request.headers = {{"Authorization", "Bearer s"},
                     {"User-Agent", "wee5_cron/0.2.0"},
                     {"X-Empty", ""},
                     {"X-Blank", " "},
                     {"X-Twice", "a"},
                     {"X-Twice", "b; c"}};
  EXPECT_TRUE(fetch(request).outcome.succeeded);
  EXPECT_EQ(head, "GET /x?y=%20z HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
                      "\r\nAccept: */*\r\nAuthorization: Bearer s\r\nUser-Agent: wee5_cron/0.2.0\r\nX-Empty:\r\n"
                      "X-Blank:\r\nX-Twice: a\r\nX-Twice: b; c\r\n\r\n");
}

struct MethodCase {
  Method method;
  bool has_body;
  std::string expected_body;
};

// On one engine, so that each method meets a handle and a connection that another one has used.
TEST(Engine, SendsEveryMethodWithItsBody) {
  std::vector<ReceivedRequest> received;
  LoopbackServer server(answering([&](const ReceivedRequest& request) {
    received.push_back(request);
    if (request.method() == "HEAD") return std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    return answer("200 OK", request.method());
  }));
  const std::string body = R"({"n":1})";
  const std::vector<MethodCase> cases = {
      {Method::kGet, false, ""},   {Method::kPost, true, body},  {Method::kGet, true, ""},
      {Method::kPut, true, body},  {Method::kHead, false, ""},   {Method::kPatch, true, body},
      {Method::kPost, false, ""},  {Method::kDelete, false, ""}, {Method::kDelete, true, body},
      {Method::kGet, false, ""},   {Method::kPost, true, body},  {Method::kPost, true, body},
      {Method::kDelete, false, ""}};
  Engine engine({});
  for (const MethodCase& each : cases) {
    Request request = request_to(server.url());
    request.method = each.method;
    request.has_body = each.has_body;
    if (each.has_body) request.body = body;
    engine.start(request);
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
    EXPECT_EQ(result.response_body, each.method == Method::kHead ? "" : core::method_name(each.method));
    ASSERT_FALSE(received.empty());
    EXPECT_EQ(received.back().method(), core::method_name(each.method));
    EXPECT_EQ(received.back().body, each.expected_body);
    EXPECT_EQ(received.back().head.find("Expect"), std::string::npos);
    EXPECT_EQ(received.back().head.find("Transfer-Encoding"), std::string::npos);
  }
  EXPECT_EQ(received.size(), cases.size());
  EXPECT_EQ(server.connections(), 1);
}

TEST(Engine, SendsALargeBodyWithNulBytesAtOnce) {
  std::string received;
  LoopbackServer server(answering([&](const ReceivedRequest& request) {
    received = request.body;
    EXPECT_EQ(request.head.find("Expect"), std::string::npos);
    return answer("200 OK", "");
  }));
  Request request = request_to(server.url());
  request.method = Method::kPost;
  request.has_body = true;
  request.body = std::string(3'000'000, '\0');
  const std::string sent = request.body;
  EXPECT_TRUE(fetch(std::move(request)).outcome.succeeded);
  EXPECT_TRUE(received == sent);
}

TEST(Engine, OnlyA2xxIsSuccess) {
  for (const int status : {200, 201, 204, 299, 400, 401, 404, 429, 500, 503}) {
    LoopbackServer server(always(answer(std::to_string(status) + " x", status == 204 ? "" : "text")));
    const Result result = fetch(request_to(server.url()));
    EXPECT_EQ(result.http_status, status);
    EXPECT_EQ(result.outcome.succeeded, status < 300) << status;
    EXPECT_EQ(result.outcome.reason, status < 300 ? Reason::kNone : Reason::kHttp);
    EXPECT_EQ(result.outcome.error.empty(), status < 300) << result.outcome.error;
    EXPECT_EQ(result.response_body, status == 204 ? "" : "text");
  }
}

TEST(Engine, DoesNotFollowARedirect) {
  LoopbackServer elsewhere(always(answer("200 OK", "")));
  LoopbackServer server(always(answer("308 Permanent Redirect", "", "Location: " + elsewhere.url("/y") + "\r\n")));
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.http_status, 308);
  EXPECT_EQ(result.outcome.reason, Reason::kRedirect);
  EXPECT_NE(result.outcome.error.find(elsewhere.url("/y")), std::string::npos) << result.outcome.error;
  EXPECT_EQ(elsewhere.connections(), 0);
}

TEST(Engine, KeepsTheBeginningOfABodyAndReadsAMegabyteMore) {
  // All of it is read: the connection can be used again.
  LoopbackServer server(
      answering([](const ReceivedRequest&) { return answer("200 OK", std::string(1'000'000, 'x')); }));
  Engine engine({});
  for (int i = 0; i < 2; ++i) {
    Request request = request_to(server.url());
    request.max_response_bytes = 100;
    engine.start(request);
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded);
    EXPECT_TRUE(result.response_truncated);
    EXPECT_EQ(result.response_body, std::string(100, 'x'));
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(Engine, ClosesTheConnectionOnAnEndlessBody) {
  Event closed;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    std::string reply = answer("200 OK", std::string(10'000'000, 'x'));
    while (connection.write(reply)) reply = std::string(100'000, 'x');
    closed.set();
  });
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.http_status, 200);
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_TRUE(result.response_truncated);
  EXPECT_EQ(result.response_body, std::string(8192, 'x'));
  EXPECT_TRUE(closed.wait());
}

TEST(Engine, ABodyOfExactlyTheLimitIsNotTruncated) {
  LoopbackServer server(always(answer("200 OK", std::string(8192, 'x'))));
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.response_body.size(), 8192U);
  EXPECT_FALSE(result.response_truncated);
}

TEST(Engine, ABodyBecomesValidUtf8CutBetweenCharacters) {
  LoopbackServer server(always(answer("200 OK", std::string("a\0\xFF\xC3\xBC", 5) + "\xE2\x82\xAC")));
  Request request = request_to(server.url());
  request.max_response_bytes = 7;  // in the middle of the euro sign
  const Result result = fetch(request);
  EXPECT_EQ(result.response_body, "a\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xBC");
  EXPECT_TRUE(result.response_truncated);
}

TEST(Engine, RedactsTheSecretInEverythingThatTheAppSendsBack) {
  LoopbackServer server(answering([](const ReceivedRequest& request) {
    return answer("302 Found", "you sent:\n" + request.head,
                  std::string("Content-Type: text/") + kSecret + "\r\nLocation: /?token=" + kSecret + "\r\n");
  }));
  const Result result = fetch(request_to(server.url()));
  EXPECT_EQ(result.http_status, 302);
  EXPECT_NE(result.response_body.find("Authorization: Bearer [secret]"), std::string::npos) << result.response_body;
  for (const std::string& text :
       {result.response_body, result.response_content_type, result.outcome.error, result.outcome.hint, result.url}) {
    EXPECT_EQ(text.find(kSecret), std::string::npos) << text;
  }
}

TEST(Engine, ReusesAConnection) {
  LoopbackServer server(always(answer("200 OK", "")));
  Engine engine({});
  for (int i = 0; i < 10; ++i) {
    engine.start(request_to(server.url()));
    const Result result = run(engine).front();
    EXPECT_TRUE(result.outcome.succeeded);
    EXPECT_EQ(result.timings.connect_ms >= 0, i == 0);
    EXPECT_EQ(result.timings.dns_ms >= 0, i == 0);
    EXPECT_GE(result.timings.first_byte_ms, 0);
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(Engine, SendsAllRequestsAtOnce) {
  constexpr int kRequests = 256;
  std::atomic<int> arrived{0};
  Event all_arrived;
  LoopbackServer server(answering([&](const ReceivedRequest&) {
    if (++arrived == kRequests) all_arrived.set();
    return answer(all_arrived.wait() ? "200 OK" : "500 Not All Came", "");
  }));
  Engine engine({kRequests});
  for (int i = 1; i <= kRequests; ++i) {
    Request request = request_to(server.url());
    request.id = i;
    engine.start(request);
  }
  EXPECT_EQ(engine.in_flight(), 256U);
  std::set<std::int64_t> ids;
  for (const Result& result : run(engine, kRequests)) {
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
    ids.insert(result.id);
  }
  EXPECT_EQ(ids.size(), 256U);
  EXPECT_EQ(engine.in_flight(), 0U);
  EXPECT_EQ(server.most_at_once(), 256);
}

TEST(Engine, NeverHoldsMoreConnectionsThanAllowed) {
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  Event four;
  const auto script = answering([&](const ReceivedRequest&) {
    const int now = ++at_once;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
    if (now == 4) four.set();
    four.wait();
    --at_once;
    return answer("200 OK", "");
  });
  LoopbackServer one(script);
  LoopbackServer two(script);
  Engine engine({4});
  for (int i = 0; i < 40; ++i) engine.start(request_to(i % 2 == 0 ? one.url() : two.url()));
  for (const Result& result : run(engine, 40)) EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_EQ(most, 4);
}

TEST(Engine, IgnoresTheProxiesOfTheEnvironment) {
  LoopbackServer proxy(always(answer("200 OK", "from the proxy")));
  LoopbackServer server(always(answer("200 OK", "from the app")));
  setenv("http_proxy", proxy.url().c_str(), 1);
  setenv("ALL_PROXY", proxy.url().c_str(), 1);
  const Result result = fetch(request_to(server.url()));
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  EXPECT_EQ(result.response_body, "from the app");
  EXPECT_EQ(proxy.connections(), 0);
}

TEST(Engine, DoesNotSendACookieBack) {
  std::string head;
  LoopbackServer server(answering([&](const ReceivedRequest& request) {
    head = request.head;
    return answer("200 OK", "", "Set-Cookie: a=b\r\n");
  }));
  Engine engine({});
  for (int i = 0; i < 2; ++i) {
    engine.start(request_to(server.url()));
    run(engine);
  }
  EXPECT_EQ(head.find("Cookie"), std::string::npos);
}

// The cut must not leave the first half of the secret, which nobody would recognise.
TEST(Engine, RedactsASecretAcrossTheCut) {
  const std::string secret = kSecret;
  for (std::size_t shown = 0; shown <= secret.size(); ++shown) {
    LoopbackServer server(always(answer("200 OK", std::string(100, 'a') + secret + std::string(5000, 'b'))));
    Request request = request_to(server.url());
    request.max_response_bytes = 100 + shown;
    const Result result = fetch(request);
    EXPECT_TRUE(result.response_truncated);
    EXPECT_LE(result.response_body.size(), request.max_response_bytes);
    EXPECT_EQ(result.response_body.find(secret.substr(0, 4)), std::string::npos) << result.response_body;
    EXPECT_TRUE(result.response_body.starts_with(std::string(100, 'a')));
  }
}

// Each secret that is redacted makes the text shorter, so that bytes beyond the cut come into what is kept.
TEST(Engine, RedactsASecretInManyEchoes) {
  const std::string secret(64, 'k');
  std::string spelled;
  for (const char next : secret) {
    char escaped[8];
    std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(next));
    spelled += escaped;
  }
  for (const std::string& echo : {secret, spelled}) {
    for (std::size_t before = 0; before < 130; before += 13) {
      std::string body(before, 'a');
      for (int i = 0; i < 200; ++i) body += echo;
      LoopbackServer server(always(answer("200 OK", body)));
      Request request = request_to(server.url());
      request.secrets = {secret};
      const Result result = fetch(request);
      if (echo == secret) {
        EXPECT_TRUE(result.response_body.starts_with(std::string(before, 'a') + "[secret]"));
      }
      EXPECT_EQ(result.response_body.find("kk"), std::string::npos) << result.response_body;
      EXPECT_EQ(result.response_body.find("\\u006b"), std::string::npos) << result.response_body;
    }
  }
}

}  // namespace
}  // namespace wee5::delivery::test
