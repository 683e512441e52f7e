// A call that the app answers with 401 is made again at once with the previous secret.

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "dispatch/dispatcher_driver.hpp"
#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"

namespace wee5::delivery::test {
namespace {

std::int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// An app that expects a secret.
class App {
 public:
  explicit App(std::string secret)
      : server_(answering([this, secret = std::move(secret)](const ReceivedRequest& request) {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
          if (request.has_line("Authorization: Bearer " + secret)) return answer("200 OK", "{}");
          return answer("401 Unauthorized", "neither the-new-one nor the-old-one");
        })) {}
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
  std::vector<ReceivedRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  std::mutex mutex_;
  std::vector<ReceivedRequest> requests_;
  LoopbackServer server_;
};

std::string previous(const std::string& api_url, std::int64_t until_us) {
  return core::write_previous_secret({"the-old-one", api_url, until_us});
}

Result made(Dispatcher& dispatcher, const std::string& path = "/x") {
  dispatcher.add(call(1, path));
  dispatcher.dispatch();
  if (dispatcher.has_claims()) {
    dispatcher.claimed({1});
    dispatcher.send_claimed();
  }
  const std::vector<Result> results = serve(dispatcher, 1);
  EXPECT_EQ(results.size(), 1U);
  Result result = results.empty() ? Result() : results.front();
  dispatcher.batch_recorded();
  EXPECT_EQ(dispatcher.in_flight(), 0U);
  return result;
}

TEST(DispatcherPreviousSecret, IsTriedAtOnceAfterA401) {
  App app("the-old-one");
  for (const core::RetryOn retry_on : {core::RetryOn::kUnprocessed, core::RetryOn::kNever}) {
    Dispatcher dispatcher(16);
    core::RetryPolicy policy;
    policy.retry_on = retry_on;
    dispatcher.set_policies(PathPolicies({{"/x", {policy, {}, {}}}}));
    set_role(dispatcher, "app", app.url(), "the-new-one", previous(app.url() + "/base", unix_now_us() + 60'000'000));
    const Result result = made(dispatcher);
    EXPECT_TRUE(result.outcome.succeeded);
    EXPECT_EQ(result.http_status, 200);
    EXPECT_EQ(result.attempt, 1);
    EXPECT_NE(result.outcome.hint.find("previous one"), std::string::npos) << result.outcome.hint;
    EXPECT_LE(result.started_us, result.finished_us);
    EXPECT_EQ(dispatcher.sent(), 1U);
  }
  const std::vector<ReceivedRequest> requests = app.requests();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_TRUE(requests[0].has_line("Authorization: Bearer the-new-one"));
  EXPECT_TRUE(requests[1].has_line("Authorization: Bearer the-old-one"));
  EXPECT_TRUE(requests[1].has_line("X-Wee5-Cron-Attempt: 1"));
  EXPECT_TRUE(requests[1].has_line("Idempotency-Key: 00000000-0000-4000-8000-000000000001"));
}

TEST(DispatcherPreviousSecret, IsTriedOnceAndNeitherSecretIsShown) {
  App app("another one");
  Dispatcher dispatcher(16);
  set_role(dispatcher, "app", app.url(), "the-new-one", previous(app.url(), unix_now_us() + 60'000'000));
  const Result result = made(dispatcher);
  EXPECT_EQ(result.http_status, 401);
  EXPECT_FALSE(result.outcome.succeeded);
  EXPECT_EQ(result.outcome.hint.find("previous one"), std::string::npos) << result.outcome.hint;
  EXPECT_EQ(result.response_body, "neither [secret] nor [secret]");
  EXPECT_EQ(app.requests().size(), 2U);
}

TEST(DispatcherPreviousSecret, IsNotSentLaterOrElsewhere) {
  App app("the-old-one");
  const std::int64_t later = unix_now_us() + 60'000'000;
  for (const std::string& document :
       {previous(app.url(), unix_now_us()), previous("http://localhost", later), previous("http://127.0.0.1:1", later),
        previous("https" + app.url().substr(4), later), std::string("{}"), std::string("the-old-one")}) {
    Dispatcher dispatcher(16);
    set_role(dispatcher, "app", app.url(), "the-new-one", document);
    EXPECT_EQ(made(dispatcher).http_status, 401) << document;
  }
  EXPECT_EQ(app.requests().size(), 6U);
}

TEST(DispatcherPreviousSecret, AppliesOnlyIfStoredWhereTheSecretIs) {
  App app("the-old-one");
  Dispatcher dispatcher(16);
  core::AppSettings settings;
  const std::string url = app.url();
  const std::string document = previous(url, unix_now_us() + 60'000'000);
  settings.api_url.database = url;
  settings.secret.role = "the-new-one";
  settings.secret.database = "another";
  settings.previous_secret.database = document;
  dispatcher.set_role("app", settings);
  EXPECT_EQ(made(dispatcher).http_status, 401);
  settings.previous_secret.role = document;
  dispatcher.set_role("app", settings);
  EXPECT_EQ(made(dispatcher).http_status, 200);
}

TEST(DispatcherPreviousSecret, NothingIsSentOnceSendingHasStopped) {
  Event release;
  LoopbackServer app(answering([&release](const ReceivedRequest&) {
    release.wait();
    return answer("401 Unauthorized", "");
  }));
  const std::string url = "http://127.0.0.1:" + std::to_string(app.port());
  Dispatcher dispatcher(16);
  set_role(dispatcher, "app", url, "the-new-one", previous(url, unix_now_us() + 60'000'000));
  dispatcher.add(call(1, "/x"));
  dispatcher.dispatch();
  dispatcher.drop_waiting();
  release.set();
  ASSERT_EQ(serve(dispatcher, 1).size(), 1U);
  EXPECT_EQ(dispatcher.batch(0).front().http_status, 401);
}

}  // namespace
}  // namespace wee5::delivery::test
