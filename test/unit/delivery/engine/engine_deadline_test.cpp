// Deadlines, an owner who comes late, a resolver that hangs, cancellation and destruction.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include "engine/certificates.hpp"
#include "engine/engine_driver.hpp"
#include "engine/loopback_server.hpp"
#include "network/hanging_resolver.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery::test {
namespace {

using core::Reason;
using std::chrono::milliseconds;

LoopbackServer::Script fine() {
  return answering([](const ReceivedRequest&) { return answer("200 OK", "in time"); });
}

LoopbackServer::Script silent() {
  return [](Connection& connection) { connection.wait_until_client_closes(); };
}

// There is no state to wait for: the clock itself has to move on.
void let_pass(milliseconds time) { std::this_thread::sleep_for(time); }

TEST(EngineDeadlines, AnAppThatDoesNotAnswerIsATimeout) {
  LoopbackServer server(silent());
  Request request = request_to(server.url());
  request.timeout_ms = 150;
  const Result result = fetch(request);
  EXPECT_EQ(result.outcome.reason, Reason::kTimeout) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("within 150 ms"), std::string::npos) << result.outcome.error;
  EXPECT_EQ(result.http_status, 0);
  EXPECT_GE(result.timings.total_ms, 150);
  EXPECT_GE(result.finished_us - result.started_us, 140'000);
}

TEST(EngineDeadlines, AnAnswerThatDripsForEverIsATimeout) {
  LoopbackServer server([](Connection& connection) {
    connection.read_request();
    bool open = connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    for (; open; let_pass(milliseconds(5))) open = connection.write("x");
  });
  Request request = request_to(server.url());
  request.timeout_ms = 200;
  const Result result = fetch(request);
  EXPECT_EQ(result.outcome.reason, Reason::kTimeout) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("an answer had begun"), std::string::npos) << result.outcome.error;
  EXPECT_EQ(result.response_body.find_first_not_of('x'), std::string::npos);
}

TEST(EngineDeadlines, TheConnectDeadlineDoesNotCutASlowAnswer) {
  Event late;
  LoopbackServer server(answering([&](const ReceivedRequest&) {
    late.wait();
    return answer("200 OK", "");
  }));
  Engine engine({});
  Request request = request_to(server.url());
  request.connect_timeout_ms = 1000;
  engine.start(request);
  engine.perform();
  // Until the request is sent, its deadline is the connection's.
  while (engine.timeout_ms() < 2000 && engine.in_flight() == 1) {
    engine.perform();
    std::this_thread::yield();
  }
  late.set();
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
}

TEST(EngineDeadlines, ExpireInTheirOrder) {
  LoopbackServer server(silent());
  Engine engine({});
  for (const int timeout : {300, 100, 250, 50, 200, 150}) {
    Request request = request_to(server.url());
    request.id = timeout;
    request.timeout_ms = timeout;
    engine.start(request);
  }
  std::int64_t last = 0;
  for (const Result& result : run(engine, 6)) {
    EXPECT_EQ(result.outcome.reason, Reason::kTimeout);
    EXPECT_GT(result.id, last);
    last = result.id;
  }
}

TEST(EngineDeadlines, AnAnswerThatHasArrivedIsReadByALateOwner) {
  Event sent;
  Event asked;
  Event answered;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    sent.set();
    asked.wait();
    // More than libcurl reads at a time.
    connection.write(answer("200 OK", std::string(200'000, 'x')));
    answered.set();
    connection.wait_until_client_closes();
  });
  Engine engine({});
  Request request = request_to(server.url());
  request.timeout_ms = 300;
  engine.start(request);
  ASSERT_TRUE(serve_until(engine, sent));
  asked.set();
  ASSERT_TRUE(answered.wait());
  let_pass(milliseconds(350));
  engine.perform();
  const auto results = engine.take_results();
  ASSERT_EQ(results.size(), 1U);
  EXPECT_TRUE(results.front().outcome.succeeded) << results.front().outcome.error;
}

TEST(EngineDeadlines, CanBeExtendedWhenTheOwnerCouldNotServe) {
  Event sent;
  Event late;
  LoopbackServer server(answering([&](const ReceivedRequest&) {
    sent.set();
    late.wait();
    return answer("200 OK", "");
  }));
  Engine engine({});
  Request request = request_to(server.url());
  request.timeout_ms = 100;
  engine.start(request);
  ASSERT_TRUE(serve_until(engine, sent));
  let_pass(milliseconds(150));
  engine.extend_deadlines(std::chrono::seconds(60));
  engine.perform();
  EXPECT_TRUE(engine.take_results().empty());
  EXPECT_EQ(engine.in_flight(), 1U);
  late.set();
  EXPECT_TRUE(run(engine).front().outcome.succeeded);
}

// libcurl judges its own connect timeout before it looks at the socket, and knows nothing of the owner's pause.
TEST(EngineDeadlines, AConnectionThatTheOwnerLeftAloneIsStartedAgain) {
  const Identity authority = issue("Test authority", nullptr, {.authority = true});
  const PemFile roots(authority.certificate);
  LoopbackServer server(fine(), server_tls(issue("127.0.0.1", &authority)));
  Engine engine({});
  Request request = request_to(server.url());
  request.ca_file = roots.path();
  request.connect_timeout_ms = 500;  // enough for the handshake on a busy machine
  engine.start(request);
  engine.perform();
  let_pass(milliseconds(1'200));  // past libcurl's timeout, too
  engine.extend_deadlines(std::chrono::seconds(60));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
}

TEST(EngineDeadlines, ADeadlineInYearsIsAWaitThatEpollCanTake) {
  Event received;
  LoopbackServer server([&received](Connection& connection) {
    connection.read_request();
    received.set();
    connection.wait_until_client_closes();
  });
  Engine engine({});
  Request request = request_to(server.url());
  request.timeout_ms = std::numeric_limits<std::int64_t>::max();
  engine.start(request);
  ASSERT_TRUE(serve_until(engine, received));
  // libcurl's own timers of the connection come first. Years in an int would be negative.
  for (int i = 0; i < 100 && engine.timeout_ms() >= 0 && engine.timeout_ms() < 10'000; ++i) {
    let_pass(milliseconds(engine.timeout_ms() + 1));
    engine.perform();
  }
  EXPECT_GE(engine.timeout_ms(), 10'000);
}

TEST(EngineResolver, AStuckLookupDelaysOnlyItsOwnCall) {
  LoopbackServer server(fine());
  HangingResolver resolver;
  Engine engine({});
  Request stuck = request_to("http://app.hang.test/");
  stuck.id = 1;
  engine.start(stuck);
  engine.perform();
  ASSERT_TRUE(resolver.wait_for_lookups(1));
  for (int i = 2; i < 12; ++i) {
    Request request = request_to(server.url());
    request.id = i;
    engine.start(request);
    const Result result = run(engine).front();
    EXPECT_EQ(result.id, i);
    EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  }
  EXPECT_GE(resolver.hanging(), 1);  // all the while
  EXPECT_EQ(engine.in_flight(), 1U);
}

TEST(EngineResolver, ADeadlineDoesNotWaitForTheLookup) {
  HangingResolver resolver;
  Engine engine({});
  Request request = request_to("http://app.hang.test/");
  request.connect_timeout_ms = 100;
  engine.start(request);
  const Result result = run(engine).front();
  EXPECT_EQ(result.outcome.reason, Reason::kDns) << result.outcome.error;
  EXPECT_NE(result.outcome.error.find("no answer from DNS within 100 ms"), std::string::npos) << result.outcome.error;
  ASSERT_TRUE(resolver.wait_for_lookups(1));
  EXPECT_GE(resolver.hanging(), 1);
  EXPECT_LT(result.timings.dns_ms, 0);
}

TEST(EngineResolver, TheEngineIsDestroyedWithoutWaitingForLookups) {
  HangingResolver resolver;
  {
    Engine engine({});
    for (int i = 0; i < 5; ++i) engine.start(request_to("http://app" + std::to_string(i) + ".hang.test/"));
    engine.perform();
    ASSERT_TRUE(resolver.wait_for_lookups(5));
  }
  EXPECT_GE(resolver.hanging(), 5);
}

// Each of the stuck names takes a thread, or two where IPv4 and IPv6 are looked up apart.
TEST(EngineResolver, ManyStuckLookupsLeaveThreadsForAnotherName) {
  LoopbackServer server(fine());
  HangingResolver resolver;
  Engine engine({});
  for (int i = 0; i < 30; ++i) engine.start(request_to("http://app" + std::to_string(i) + ".hang.test/"));
  engine.perform();
  ASSERT_TRUE(resolver.wait_for_lookups(30));
  engine.start(request_to(server.url("/", "app.local.test")));
  const Result result = run(engine).front();
  EXPECT_TRUE(result.outcome.succeeded) << result.outcome.error;
  EXPECT_GE(resolver.hanging(), 30);
}

TEST(EngineResolver, LookupThreadsTakeNoSignals) {
  HangingResolver resolver;
  Engine engine({});
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  for (int i = 0; i < 3; ++i) engine.start(request_to("http://app" + std::to_string(i) + ".hang.test/"));
  engine.perform();
  ASSERT_TRUE(resolver.wait_for_lookups(3));
  EXPECT_FALSE(resolver.took_signals());
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGURG}) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal));
  }
}

TEST(EngineCancel, CancelsARequestOnTheWire) {
  Event arrived;
  LoopbackServer server([&](Connection& connection) {
    connection.read_request();
    arrived.set();
    connection.wait_until_client_closes();
  });
  Engine engine({});
  Request request = request_to(server.url());
  request.id = 5;
  engine.start(request);
  ASSERT_TRUE(serve_until(engine, arrived));
  EXPECT_FALSE(engine.cancel(6));
  EXPECT_TRUE(engine.cancel(5));
  EXPECT_FALSE(engine.cancel(5));
  EXPECT_EQ(engine.in_flight(), 0U);
  const auto results = engine.take_results();
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results.front().id, 5);
  EXPECT_EQ(results.front().outcome.reason, Reason::kCancelled);
}

TEST(EngineCancel, WorksWhileALookupHangs) {
  HangingResolver resolver;
  Engine engine({});
  engine.start(request_to("http://app.hang.test/"));
  engine.perform();
  ASSERT_TRUE(resolver.wait_for_lookups(1));
  EXPECT_TRUE(engine.cancel(1));
  EXPECT_GE(resolver.hanging(), 1);
  EXPECT_EQ(engine.take_results().size(), 1U);
}

TEST(EngineEnd, LeavesNothingOpen) {
  Event arrived;
  Event closed;
  LoopbackServer server([&](Connection& connection) {
    while (const auto request = connection.read_request()) {
      if (request->target() == "/slow") {
        arrived.set();
        continue;
      }
      connection.write(answer("200 OK", ""));
    }
    closed.set();
  });
  {
    Engine engine({});
    engine.start(request_to(server.url("/fast")));
    run(engine);
    engine.start(request_to(server.url("/slow")));
    ASSERT_TRUE(serve_until(engine, arrived));
  }
  EXPECT_TRUE(closed.wait());
}

TEST(EngineEnd, SeveralEnginesLiveSideBySide) {
  LoopbackServer server(fine());
  auto first = std::make_unique<Engine>(EngineOptions{});
  Engine second({});
  first->start(request_to(server.url()));
  first.reset();
  second.start(request_to(server.url()));
  EXPECT_TRUE(run(second).front().outcome.succeeded);
}

}  // namespace
}  // namespace wee5::delivery::test
