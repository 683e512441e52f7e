// Which calls the dispatcher sends, when, and what it holds in memory.

#include "wee5_cron/delivery/dispatch/dispatcher.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "dispatch/dispatcher_driver.hpp"

namespace wee5::delivery::test {
namespace {

TEST(Dispatcher, IsIdleWithoutCalls) {
  Dispatcher dispatcher(16);
  dispatcher.dispatch();
  dispatcher.perform();
  EXPECT_EQ(dispatcher.timeout_ms(), -1);
  EXPECT_FALSE(dispatcher.has_results());
  EXPECT_FALSE(dispatcher.wants_refill());
  EXPECT_FALSE(dispatcher.can_dispatch());
  EXPECT_FALSE(dispatcher.next_mark_us(0).has_value());
}

TEST(Dispatcher, LooksUpUrlAndBearerWhenItSends) {
  Event release;
  release.set();
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  // Known wrongly while the call waits, rightly when it is sent.
  set_role(dispatcher, "app", "http://127.0.0.1:1", "the old secret");
  DueCall due = call(7, "/api/cron/a?x=1");
  due.attempt = 2;
  due.job_name = "a job";
  due.headers = {{"X-Mine", "yes"}};
  dispatcher.add(due);
  set_role(dispatcher, "app", recorder.url() + "/base", "the new secret");
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 1);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_TRUE(results[0].outcome.succeeded) << results[0].outcome.error;
  EXPECT_EQ(results[0].id, 7);
  EXPECT_EQ(results[0].attempt, 2);
  ASSERT_EQ(recorder.requests().size(), 1U);
  const ReceivedRequest request = recorder.requests()[0];
  EXPECT_EQ(request.target(), "/base/api/cron/a?x=1");
  EXPECT_TRUE(request.has_line("Authorization: Bearer the new secret")) << request.head;
  EXPECT_TRUE(request.has_line("X-Wee5-Cron-Attempt: 2")) << request.head;
  EXPECT_TRUE(request.has_line("X-Mine: yes")) << request.head;
}

TEST(Dispatcher, ACallThatCannotBeSentHasAResultButNoAttempt) {
  Dispatcher dispatcher(16);
  set_role(dispatcher, "no-url", "", "hush-hush");
  set_role(dispatcher, "no-secret", "https://app.example.com", " ");
  set_role(dispatcher, "bad-url", "ftp://app.example.com", "hush-hush");
  set_role(dispatcher, "plain", "http://app.example.com", "hush-hush");
  std::int64_t id = 0;
  for (const char* role : {"no-url", "no-secret", "bad-url", "plain", "unknown"})
    dispatcher.add(call(++id, "/a", role));
  dispatcher.dispatch();
  const std::vector<Result> results = dispatcher.batch(10);
  ASSERT_EQ(results.size(), 5U);
  for (const Result& result : results) {
    EXPECT_FALSE(result.outcome.succeeded);
    EXPECT_EQ(result.outcome.reason, core::Reason::kConfig);
    EXPECT_FALSE(result.outcome.error.empty());
    EXPECT_FALSE(result.outcome.hint.empty());
    EXPECT_EQ(result.attempt, 0);
    EXPECT_EQ(result.started_us, 0);
    EXPECT_EQ(result.outcome.error.find("hush-hush"), std::string::npos);
  }
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  EXPECT_EQ(dispatcher.sent(), 0U);
}

// Sends and answers so many calls. At most `most` of them are in flight at once.
void serve_all(Dispatcher& dispatcher, std::size_t calls, std::size_t most) {
  for (std::size_t done = 0; done < calls;) {
    const std::size_t got = serve(dispatcher, 1).size();
    ASSERT_GT(got, 0U);
    done += got;
    dispatcher.batch_recorded();
    dispatcher.dispatch();
    EXPECT_LE(dispatcher.in_flight(), most);
  }
}

TEST(Dispatcher, KeepsToMaxInFlight) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(4096);
  dispatcher.configure(slots(4));
  set_role(dispatcher, "app", recorder.url(), "secret");
  for (std::int64_t id = 1; id <= 20; ++id) dispatcher.add(call(id, "/a"));
  dispatcher.dispatch();
  EXPECT_EQ(dispatcher.in_flight(), 4U);
  EXPECT_EQ(dispatcher.waiting(), 16U);
  dispatcher.dispatch();
  EXPECT_EQ(dispatcher.in_flight(), 4U);
  release.set();
  serve_all(dispatcher, 20, 4);
  EXPECT_LE(recorder.most_at_once(), 4);
}

PathPolicy in_flight(std::size_t most) {
  PathPolicy policy;
  policy.max_in_flight = most;
  return policy;
}

TEST(Dispatcher, APolicyLimitsHowManyCallsOfItsPathAreInFlight) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(4096);
  dispatcher.configure(slots(64));
  dispatcher.set_policies(
      PathPolicies({{"/a", in_flight(2)}, {"/a?x=1", in_flight(3)}, {"/a?x=2", {}}, {"/b?x=1", in_flight(1)}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  std::int64_t id = 0;
  for (const char* path : {"/a", "/a?x=1", "/a?x=2", "/a?x=3", "/b", "/b?x=1"})
    for (int i = 0; i < 5; ++i) dispatcher.add(call(++id, path));
  EXPECT_EQ(dispatcher.waiting(), 30U);
  dispatcher.dispatch();
  // 2 of /a and /a?x=3, 3 of /a?x=1, all of /a?x=2, all of /b, 1 of /b?x=1
  EXPECT_EQ(dispatcher.in_flight(), 16U);
  EXPECT_FALSE(dispatcher.can_dispatch());
  release.set();
  serve_all(dispatcher, 30, 16);
  EXPECT_EQ(dispatcher.waiting(), 0U);
  EXPECT_FALSE(dispatcher.can_dispatch());
}

TEST(Dispatcher, APathOfWhichFewAreInFlightDoesNotFillTheMemory) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(64));
  const std::size_t unlimited = dispatcher.room_for("/a");
  dispatcher.set_policies(PathPolicies({{"/a", in_flight(4)}, {"/b", in_flight(1)}}));
  EXPECT_EQ(dispatcher.room_for("/a"), 16U);
  EXPECT_EQ(dispatcher.room_for("/b"), 8U);
  EXPECT_EQ(dispatcher.room_for("/c"), unlimited);
}

TEST(Dispatcher, AClaimAndACancelledCallCountInTheQueueOfTheirPath) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  PathPolicy once = in_flight(1);
  once.retry.retry_on = core::RetryOn::kNever;
  dispatcher.set_policies(PathPolicies({{"/a?x=1", once}}));
  set_role(dispatcher, "app", recorder.url(), "secret");
  for (std::int64_t id = 1; id <= 3; ++id) dispatcher.add(call(id, "/a?x=1"));
  dispatcher.dispatch();
  ASSERT_EQ(dispatcher.claims().size(), 1U);
  EXPECT_TRUE(dispatcher.cancel(1));
  EXPECT_TRUE(dispatcher.cancel(2));
  dispatcher.dispatch();
  ASSERT_EQ(dispatcher.claims().size(), 1U);
  EXPECT_EQ(dispatcher.claims()[0].id, 3);
  dispatcher.drop_waiting();
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  EXPECT_EQ(dispatcher.waiting(), 0U);
  release.set();
}

TEST(Dispatcher, APolicyLimitsHowMuchOfAnAnswerIsKept) {
  LoopbackServer server(answering([](const ReceivedRequest&) { return answer("200 OK", "0123456789"); }));
  Dispatcher dispatcher(16);
  PathPolicy four;
  four.max_response_bytes = 4;
  PathPolicy nothing;
  nothing.max_response_bytes = 0;
  dispatcher.set_policies(PathPolicies({{"/four", four}, {"/none", nothing}}));
  set_role(dispatcher, "app", server.url(""), "secret");
  dispatcher.add(call(1, "/four?x=1"));
  dispatcher.add(call(2, "/none"));
  dispatcher.add(call(3, "/all"));
  dispatcher.dispatch();
  std::map<std::int64_t, std::string> bodies;
  for (const Result& result : serve(dispatcher, 3))
    bodies[result.id] = result.response_body + (result.response_truncated ? "..." : "");
  EXPECT_EQ(bodies, (std::map<std::int64_t, std::string>{{1, "0123..."}, {2, "..."}, {3, "0123456789"}}));
}

TEST(Dispatcher, AFastRouteDoesNotWaitBehindASlowOne) {
  Event release;
  LoopbackServer server(answering([&release](const ReceivedRequest& request) {
    if (request.target() == "/slow") release.wait();
    return answer("200 OK", "{}");
  }));
  Dispatcher dispatcher(4096);
  dispatcher.configure(slots(4));
  set_role(dispatcher, "app", "http://127.0.0.1:" + std::to_string(server.port()), "secret");
  for (std::int64_t id = 1; id <= 100; ++id) dispatcher.add(call(id, "/slow"));
  dispatcher.add(call(101, "/fast"));
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 1);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].id, 101);
  release.set();
}

TEST(Dispatcher, HoldsACallUntilItsResultIsRecorded) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.add(call(2, "/a"));
  dispatcher.dispatch();
  auto known = [&dispatcher] {
    std::vector<std::int64_t> ids;
    for (const std::int64_t id : {1, 2, 3})
      if (dispatcher.holds(id)) ids.push_back(id);
    return ids;
  };
  // A second reading of the same row changes nothing.
  dispatcher.add(call(1, "/a"));
  dispatcher.add(call(2, "/a"));
  EXPECT_EQ(dispatcher.waiting(), 1U);
  EXPECT_EQ(known(), (std::vector<std::int64_t>{1, 2}));
  release.set();
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  EXPECT_EQ(known(), (std::vector<std::int64_t>{1, 2}));
  // Not recorded, the database being blocked, say: the same batch again.
  EXPECT_EQ(dispatcher.batch(10).size(), 1U);
  EXPECT_EQ(dispatcher.batch(10)[0].id, 1);
  dispatcher.batch_recorded();
  EXPECT_EQ(known(), (std::vector<std::int64_t>{2}));
}

TEST(Dispatcher, ReportsCallsThatAreOnTheWireForLong) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.dispatch();
  ASSERT_TRUE(dispatcher.next_mark_us(250'000).has_value());
  const std::int64_t due_us = *dispatcher.next_mark_us(250'000);
  EXPECT_TRUE(dispatcher.unmarked(due_us - 1, 250'000).empty());
  ASSERT_EQ(dispatcher.unmarked(due_us, 250'000).size(), 1U);
  EXPECT_EQ(dispatcher.unmarked(due_us, 250'000)[0].id, 1);
  EXPECT_EQ(dispatcher.unmarked(due_us, 250'000)[0].url, recorder.url() + "/a");
  dispatcher.marked();
  EXPECT_TRUE(dispatcher.unmarked(due_us, 250'000).empty());
  EXPECT_FALSE(dispatcher.next_mark_us(250'000).has_value());
  release.set();
  EXPECT_EQ(serve(dispatcher, 1).size(), 1U);
}

TEST(Dispatcher, ACallThatEndsEarlyIsNotMarkedAsSending) {
  Event release;
  release.set();
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.dispatch();
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  EXPECT_TRUE(dispatcher.unmarked(std::numeric_limits<std::int64_t>::max() / 2, 0).empty());
  EXPECT_FALSE(dispatcher.next_mark_us(0).has_value());
}

TEST(Dispatcher, ForgetsACallThatEndedWhileItWaited) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  set_role(dispatcher, "app", recorder.url(), "secret");
  for (std::int64_t id : {1, 2, 3}) dispatcher.add(call(id, "/a"));
  dispatcher.dispatch();
  EXPECT_FALSE(dispatcher.is_waiting(1)) << "it is on the wire";
  EXPECT_TRUE(dispatcher.is_waiting(2));
  EXPECT_FALSE(dispatcher.is_waiting(4));
  for (std::int64_t id : {1, 2, 4}) dispatcher.forget_ended(id);
  EXPECT_TRUE(dispatcher.holds(1));
  EXPECT_FALSE(dispatcher.holds(2));
  EXPECT_EQ(dispatcher.waiting(), 1U);
  release.set();
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  dispatcher.batch_recorded();
  dispatcher.dispatch();
  const std::vector<Result> results = serve(dispatcher, 1);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].id, 3);
  EXPECT_FALSE(dispatcher.is_waiting(3)) << "it has a result";
}

TEST(Dispatcher, ForgetsEverything) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(1, "/a"));
  dispatcher.add(call(2, "/b"));
  dispatcher.set_read("/b", 0, 3);
  dispatcher.dispatch();
  dispatcher.forget();
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  EXPECT_EQ(dispatcher.waiting(), 0U);
  EXPECT_FALSE(dispatcher.wants_refill());
  EXPECT_FALSE(dispatcher.has_results());
  EXPECT_FALSE(dispatcher.holds(1) || dispatcher.holds(2));
  release.set();
  dispatcher.perform();
  EXPECT_FALSE(dispatcher.has_results());
  // The slot is free again.
  set_role(dispatcher, "app", recorder.url(), "secret");
  dispatcher.add(call(3, "/c"));
  dispatcher.dispatch();
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  EXPECT_EQ(dispatcher.batch(1)[0].id, 3);
}

TEST(Dispatcher, NeverHoldsAWholeQueue) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(4));
  EXPECT_EQ(dispatcher.room_for("/a"), 16U);
  for (std::int64_t id = 1; id <= 16; ++id) dispatcher.add(call(id, "/a"));
  EXPECT_EQ(dispatcher.room_for("/a"), 0U);
  EXPECT_EQ(dispatcher.room_for("/b"), 16U);
  EXPECT_TRUE(dispatcher.wants_more_routes());
  // However many routes there are, a new one has its few calls, until far too many wait.
  for (std::int64_t id = 17; id <= 40; ++id) dispatcher.add(call(id, "/" + std::to_string(id)));
  EXPECT_GT(dispatcher.room_for("/new"), 0U);
  EXPECT_TRUE(dispatcher.wants_more_routes());
  EXPECT_EQ(dispatcher.room_for("/new", 24), 0U);
  for (std::int64_t id = 41; id <= 64; ++id) dispatcher.add(call(id, "/" + std::to_string(id)));
  EXPECT_EQ(dispatcher.room_for("/new"), 0U);
  EXPECT_FALSE(dispatcher.wants_more_routes());
}

TEST(Dispatcher, HoldsOnlyFewLargeBodies) {
  Dispatcher dispatcher(16);
  const std::size_t all = dispatcher.bytes_left();
  DueCall large = call(1, "/a");
  large.body.assign(all, 'x');
  dispatcher.add(large);
  EXPECT_EQ(dispatcher.bytes_left(), 0U);
  EXPECT_EQ(dispatcher.room_for("/b"), 0U);
  EXPECT_FALSE(dispatcher.wants_more_routes());
  dispatcher.dispatch();  // without settings it ends at once
  EXPECT_EQ(dispatcher.bytes_left(), all);
  EXPECT_GT(dispatcher.room_for("/b"), 0U);
}

TEST(Dispatcher, WantsARefillOfARouteThatRunsLow) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(4));
  for (std::int64_t id = 1; id <= 12; ++id) dispatcher.add(call(id, "/a"));
  EXPECT_FALSE(dispatcher.wants_refill());
  EXPECT_TRUE(dispatcher.set_read("/a", 0, 13));
  EXPECT_TRUE(dispatcher.refills(10).empty());
  dispatcher.dispatch();  // without settings they end at once
  EXPECT_TRUE(dispatcher.wants_refill());
  ASSERT_EQ(dispatcher.refills(10).size(), 1U);
  EXPECT_EQ(dispatcher.refills(10)[0].route, "/a");
  EXPECT_EQ(dispatcher.refills(10)[0].range.from, 13);
  EXPECT_EQ(dispatcher.refills(10)[0].room, 16U);
  EXPECT_TRUE(dispatcher.refills(0).empty());
  EXPECT_TRUE(dispatcher.set_read("/a", 13, Dispatcher::kNothing));
  EXPECT_FALSE(dispatcher.wants_refill());
}

TEST(Dispatcher, HasNoRoomForOtherCallsOfARouteThatHasMoreInTheLedger) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(4));
  EXPECT_EQ(dispatcher.room_for("/a"), 16U);
  dispatcher.set_read("/a", 0, 50);
  EXPECT_EQ(dispatcher.room_for("/a"), 0U) << "refills bring them";
  EXPECT_EQ(dispatcher.room_for("/b"), 16U);
  dispatcher.set_read("/a", 50, Dispatcher::kNothing);
  EXPECT_EQ(dispatcher.room_for("/a"), 16U);
}

TEST(Dispatcher, SharesARefillBetweenNewCallsAndThoseThatAreDueAgain) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(4));
  dispatcher.set_read("/a", 0, 50);
  dispatcher.set_read("/a", 30, 30);
  const std::vector<Dispatcher::Refill> refills = dispatcher.refills(10);
  ASSERT_EQ(refills.size(), 2U);
  EXPECT_EQ(refills[0].range.from + refills[1].range.from, 30 + 50);
  EXPECT_EQ(refills[0].room, 8U);
  EXPECT_EQ(refills[1].room, 8U);
  dispatcher.set_read("/a", 30, Dispatcher::kNothing, 50);
  ASSERT_EQ(dispatcher.refills(10).size(), 1U);
  EXPECT_EQ(dispatcher.refills(10)[0].room, 16U);
}

TEST(Dispatcher, GivesTheOnlyPlaceToEachKindInTurn) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  for (std::int64_t id = 1; id <= 8; ++id) dispatcher.add(call(id, "/" + std::to_string(id)));
  ASSERT_EQ(dispatcher.room_for("/a"), 1U);
  dispatcher.set_read("/a", 0, 50);
  dispatcher.set_read("/a", 30, 30);
  std::set<std::int64_t> from;
  for (int i = 0; i < 2; ++i) {
    const std::vector<Dispatcher::Refill>& refills = dispatcher.refills(10);
    ASSERT_EQ(refills.size(), 1U);
    from.insert(refills[0].range.from);
  }
  EXPECT_EQ(from, (std::set<std::int64_t>{30, 50}));
}

TEST(Dispatcher, ARouteLeavesSlotsForOneThatWaitsInTheLedger) {
  Event release;
  Recorder recorder(release);
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(4));
  set_role(dispatcher, "app", recorder.url(), "secret");
  for (std::int64_t id = 1; id <= 4; ++id) dispatcher.add(call(id, "/slow"));
  dispatcher.set_read("/slow", 0, 5);
  dispatcher.set_read("/other", 0, 6);
  dispatcher.dispatch();
  EXPECT_EQ(dispatcher.in_flight(), 2U);
  EXPECT_FALSE(dispatcher.can_dispatch());
  dispatcher.set_read("/other", 0, Dispatcher::kNothing);
  EXPECT_TRUE(dispatcher.can_dispatch());
  dispatcher.dispatch();
  EXPECT_EQ(dispatcher.in_flight(), 4U) << "alone it has all";
  release.set();
  EXPECT_EQ(serve(dispatcher, 4).size(), 4U);
}

TEST(Dispatcher, SaysWhenTooManyRoutesHaveMore) {
  Dispatcher dispatcher(16);
  int remembered = 0;
  while (dispatcher.set_read("/" + std::to_string(remembered), 0, 1)) ++remembered;
  EXPECT_GE(remembered, 1000);
  EXPECT_LE(remembered, 10'000);
  EXPECT_TRUE(dispatcher.set_read("/1", 1, 2)) << "one that is known already";
  EXPECT_TRUE(dispatcher.set_read("/new", 0, Dispatcher::kNothing)) << "nothing to remember";
  EXPECT_TRUE(dispatcher.set_read("/1", 2, Dispatcher::kNothing));
  EXPECT_TRUE(dispatcher.set_read("/new", 0, 1)) << "one was forgotten";
}

TEST(Dispatcher, ResultsOfLockedRowsWaitAndHoldNewCallsBack) {
  Dispatcher dispatcher(16);
  dispatcher.configure(slots(1));
  for (std::int64_t id = 1; id <= 6; ++id) dispatcher.add(call(id, "/a"));
  dispatcher.dispatch();  // without settings they end at once
  ASSERT_EQ(dispatcher.batch(10).size(), 6U);
  dispatcher.batch_recorded({2, 3, 4, 5});
  EXPECT_FALSE(dispatcher.holds(1));
  EXPECT_TRUE(dispatcher.holds(2));
  EXPECT_FALSE(dispatcher.has_results());
  EXPECT_TRUE(dispatcher.has_locked());
  dispatcher.add(call(7, "/a"));
  EXPECT_FALSE(dispatcher.can_dispatch());
  dispatcher.dispatch();
  EXPECT_EQ(dispatcher.waiting(), 1U);
  dispatcher.retry_locked();
  EXPECT_FALSE(dispatcher.has_locked());
  ASSERT_EQ(dispatcher.batch(10).size(), 4U);
  dispatcher.batch_recorded();
  EXPECT_FALSE(dispatcher.holds(2));
  EXPECT_TRUE(dispatcher.can_dispatch());
}

}  // namespace
}  // namespace wee5::delivery::test
