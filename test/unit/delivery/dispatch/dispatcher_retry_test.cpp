// What becomes of a call beyond its first attempt: retries, calls sent at most once, interrupted attempts,
// cancellation.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "dispatch/dispatcher_driver.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"

namespace wee5::delivery::test {
namespace {

LoopbackServer::Script always(std::string reply) {
  return answering([reply = std::move(reply)](const ReceivedRequest&) { return reply; });
}

std::int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(DispatcherRetry, SaysWhenAFailedCallIsRetried) {
  LoopbackServer server(always(answer("503 Service Unavailable", "")));
  Dispatcher dispatcher(16, [] { return 0.5; });
  core::RetryPolicy quick;
  quick.delays_ms = {100};
  core::RetryPolicy once;
  once.max_attempts = 1;
  core::RetryPolicy over;
  over.window_ms = 1'000;
  dispatcher.set_policies(PathPolicies({{"/quick", {quick, {}, {}}},
                                        {"/once", {once, {}, {}}},
                                        {"/once?but=this", {quick, {}, {}}},
                                        {"/over", {over, {}, {}}}}));
  set_role(dispatcher, "app", server.url(""), "secret");
  std::int64_t id = 0;
  for (const char* path : {"/default", "/quick", "/quick?x=1", "/once", "/once?x=1", "/once?but=this", "/over"}) {
    dispatcher.add(call(++id, path));
  }
  DueCall last = call(8, "/default");
  last.attempt = 4;
  dispatcher.add(last);
  DueCall old = call(9, "/over");
  old.attempt = 2;
  old.first_begun_us = unix_now_us() - 30'000'000;
  dispatcher.add(old);
  dispatcher.dispatch();
  std::map<std::int64_t, std::int64_t> delays_ms;
  for (const Result& result : serve(dispatcher, 9)) {
    EXPECT_EQ(result.http_status, 503);
    EXPECT_FALSE(result.outcome.error.empty());
    delays_ms[result.id] = result.retry_at_us == 0 ? 0 : (result.retry_at_us - result.finished_us) / 1'000;
  }
  EXPECT_EQ(delays_ms, (std::map<std::int64_t, std::int64_t>{
                           {1, 10'000}, {2, 100}, {3, 100}, {4, 0}, {5, 0}, {6, 100}, {7, 0}, {8, 0}, {9, 0}}));
}

TEST(DispatcherRetry, WaitsForWorkThatTheAppHasAccepted) {
  LoopbackServer server(always(answer("202 Accepted", "", "wee5-cron:  ACCEPTED \r\n")));
  Dispatcher dispatcher(16, [] { return 0.5; });
  core::RetryPolicy quick;
  quick.complete_within_ms = 1'500;
  dispatcher.set_policies(PathPolicies({{"/quick", {quick, {}, {}}}}));
  set_role(dispatcher, "app", server.url(""), "secret");
  dispatcher.add(call(1, "/default"));
  dispatcher.add(call(2, "/quick"));
  dispatcher.dispatch();
  for (const Result& result : serve(dispatcher, 2)) {
    EXPECT_EQ(result.status, core::Status::kAccepted);
    EXPECT_FALSE(result.outcome.succeeded);
    EXPECT_EQ(result.retry_at_us - result.finished_us, result.id == 1 ? 3'600'000'000 : 1'500'000);
  }
  dispatcher.batch_recorded();
  // A ledger without this status.
  DispatchSettings settings;
  settings.may_accept = false;
  dispatcher.configure(settings);
  dispatcher.add(call(3, "/default"));
  dispatcher.dispatch();
  for (const Result& result : serve(dispatcher, 1)) {
    EXPECT_EQ(result.status, core::Status::kSucceeded);
    EXPECT_TRUE(result.outcome.succeeded);
    EXPECT_EQ(result.retry_at_us, 0);
  }
}

TEST(DispatcherRetry, RespectsARetryAfter) {
  LoopbackServer server(always(answer("429 Too Many Requests", "", "Retry-After: 120\r\n")));
  Dispatcher dispatcher(16);
  set_role(dispatcher, "app", server.url(""), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 1);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].retry_at_us, results[0].finished_us + 120'000'000);
}

TEST(DispatcherRetry, DoesNotRetryACallThatSucceededOrMayHaveBeenProcessed) {
  for (const char* status : {"200 OK", "404 Not Found", "500 Internal Server Error"}) {
    LoopbackServer server(always(answer(status, "")));
    Dispatcher dispatcher(16);
    set_role(dispatcher, "app", server.url(""), "secret");
    dispatcher.add(call(1, "/a"));
    dispatcher.dispatch();
    const std::vector<Result> results = serve(dispatcher, 1);
    ASSERT_EQ(results.size(), 1U) << status;
    EXPECT_EQ(results[0].retry_at_us, 0) << status;
  }
}

core::RetryPolicy at_most_once() {
  core::RetryPolicy policy;
  policy.retry_on = core::RetryOn::kNever;
  return policy;
}

TEST(DispatcherRetry, SendsAClaimedCallAtMostOnce) {
  Event release;
  release.set();
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(2));
  dispatcher.set_policies(PathPolicies({{"/mail", {at_most_once(), {}, {}}}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  for (std::int64_t id = 1; id <= 3; ++id) dispatcher.add(call(id, "/mail"));
  dispatcher.dispatch();
  dispatcher.perform();
  ASSERT_TRUE(dispatcher.has_claims());
  std::vector<OnTheWire> claims = dispatcher.claims();
  ASSERT_EQ(claims.size(), 2U) << "as many as have a slot";
  EXPECT_EQ(claims[0].id, 1);
  EXPECT_EQ(claims[0].url, recorder.url() + "/mail");
  EXPECT_GT(claims[0].started_us, 0);
  EXPECT_EQ(dispatcher.in_flight(), 2U);
  EXPECT_TRUE(dispatcher.holds(1) && dispatcher.holds(2) && dispatcher.holds(3));
  EXPECT_TRUE(recorder.targets().empty()) << "nothing leaves before the claim is durable";
  // The second one is gone from the ledger meanwhile.
  dispatcher.claimed({1});
  EXPECT_FALSE(dispatcher.has_claims());
  EXPECT_EQ(dispatcher.in_flight(), 1U);
  dispatcher.perform();
  EXPECT_TRUE(recorder.targets().empty()) << "nor before everybody who has to has it";
  dispatcher.send_claimed();
  EXPECT_FALSE(dispatcher.has_claimed());
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  EXPECT_EQ(dispatcher.batch(0)[0].id, 1);
  dispatcher.batch_recorded();
  dispatcher.dispatch();
  claims = dispatcher.claims();
  ASSERT_EQ(claims.size(), 1U) << "the slots are free again";
  EXPECT_EQ(claims[0].id, 3);
  EXPECT_EQ(recorder.targets().size(), 1U);
}

TEST(DispatcherRetry, RepeatsAnAttemptThatWasCutOffUnlessThePolicyForbidsIt) {
  Event release;
  release.set();
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.set_policies(PathPolicies({{"/mail", {at_most_once(), {}, {}}}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  const auto cut_off = [](std::int64_t id, const std::string& path, int attempt) {
    DueCall due = call(id, path);
    due.cut_off = true;
    due.attempt = attempt;
    return due;
  };
  dispatcher.add(cut_off(1, "/mail", 2));
  dispatcher.add(cut_off(2, "/other", 5));
  dispatcher.add(cut_off(3, "/other", 4));
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 3);
  ASSERT_EQ(results.size(), 3U);
  for (const Result& result : {results[0], results[1]}) {
    EXPECT_EQ(result.outcome.reason, core::Reason::kLost) << result.id;
    EXPECT_EQ(result.started_us, 0) << "no attempt of its own";
    EXPECT_EQ(result.retry_at_us, 0);
  }
  EXPECT_EQ(results[0].attempt, 1);
  EXPECT_EQ(results[1].attempt, 4);
  EXPECT_EQ(results[2].id, 3);
  EXPECT_TRUE(results[2].outcome.succeeded);
  EXPECT_EQ(recorder.targets().size(), 1U);
}

TEST(DispatcherRetry, ADueRetryThatIsNoLongerAllowedEndsWithTheLastOutcome) {
  Event release;
  release.set();
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.set_policies(PathPolicies({{"/mail", {at_most_once(), {}, {}}}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  const std::int64_t now = unix_now_us();
  const auto due_again = [now](std::int64_t id, const std::string& path, int attempt, std::int64_t minutes_ago) {
    DueCall due = call(id, path);
    due.attempt = attempt;
    due.first_begun_us = now - minutes_ago * 60'000'000;
    return due;
  };
  dispatcher.add(due_again(1, "/mail", 2, 1));
  dispatcher.add(due_again(2, "/other", 5, 1));
  dispatcher.add(due_again(3, "/other", 2, 67));
  dispatcher.add(due_again(4, "/other", 2, 65));
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 4);
  ASSERT_EQ(results.size(), 4U);
  for (const Result& result : {results[0], results[1], results[2]}) {
    EXPECT_TRUE(result.keep_last_outcome) << result.id;
    EXPECT_FALSE(result.outcome.succeeded);
    EXPECT_EQ(result.started_us, 0) << "no attempt of its own";
    EXPECT_EQ(result.retry_at_us, 0);
  }
  EXPECT_EQ(results[1].attempt, 4);
  EXPECT_EQ(results[3].id, 4) << "somewhat late is not too late";
  EXPECT_TRUE(results[3].outcome.succeeded);
  EXPECT_FALSE(results[3].keep_last_outcome);
  EXPECT_EQ(recorder.targets().size(), 1U);
}

TEST(DispatcherRetry, CancelsACallInEveryState) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  dispatcher.set_policies(PathPolicies({{"/mail", {at_most_once(), {}, {}}}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.add(call(2, "/a"));
  dispatcher.add(call(3, "/mail"));
  dispatcher.dispatch();
  EXPECT_FALSE(dispatcher.cancel(99));
  EXPECT_TRUE(dispatcher.cancel(2)) << "it waits";
  EXPECT_TRUE(dispatcher.cancel(1)) << "it is on the wire";
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  dispatcher.dispatch();
  ASSERT_TRUE(dispatcher.has_claims());
  EXPECT_TRUE(dispatcher.cancel(3)) << "it is to be claimed";
  EXPECT_FALSE(dispatcher.has_claims());
  dispatcher.add(call(4, "/mail"));
  dispatcher.dispatch();
  dispatcher.claimed({4});
  EXPECT_TRUE(dispatcher.cancel(4)) << "it is claimed";
  EXPECT_FALSE(dispatcher.has_claimed());
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  EXPECT_EQ(dispatcher.waiting(), 0U);
  EXPECT_TRUE(dispatcher.waiting_roles().empty());
  const std::vector<Result> results = dispatcher.batch(10);
  ASSERT_EQ(results.size(), 4U);
  for (const Result& result : results) {
    EXPECT_EQ(result.outcome.reason, core::Reason::kCancelled) << result.id;
    EXPECT_FALSE(result.outcome.succeeded);
    EXPECT_EQ(result.retry_at_us, 0);
    EXPECT_EQ(result.attempt, result.id == 1 ? 1 : 0) << result.id;
  }
  EXPECT_TRUE(dispatcher.cancel(1)) << "its result waits to be recorded";
  dispatcher.batch_recorded();
  EXPECT_FALSE(dispatcher.cancel(1));
  release.set();
}

}  // namespace
}  // namespace wee5::delivery::test
