#include "engine/engine_driver.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace wee5::delivery::test {
namespace {

constexpr std::chrono::seconds kPatience{20};

void serve_once(Engine& engine, long at_most_ms) {
  pollfd ready{engine.poll_fd(), POLLIN, 0};
  const long timeout = engine.timeout_ms();
  poll(&ready, 1, static_cast<int>(timeout < 0 ? at_most_ms : std::min(timeout, at_most_ms)));
  engine.perform();
}

}  // namespace

Request request_to(const std::string& url) {
  Request request;
  request.id = 1;
  request.url = url;
  request.endpoint_path = "/api/cron/test";
  request.headers = {{"Authorization", std::string("Bearer ") + kSecret}, {"Content-Type", "application/json"}};
  request.secrets = {std::string(kSecret)};
  request.timeout_ms = 20'000;
  request.connect_timeout_ms = 20'000;
  return request;
}

std::vector<Result> run(Engine& engine, std::size_t count) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  std::vector<Result> results;
  while (results.size() < count && std::chrono::steady_clock::now() < give_up) {
    serve_once(engine, 1000);
    auto finished = engine.take_results();
    std::move(finished.begin(), finished.end(), std::back_inserter(results));
  }
  EXPECT_EQ(results.size(), count);
  results.resize(count);
  return results;
}

testing::AssertionResult serve_until(Engine& engine, Event& event) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!event.is_set()) {
    if (std::chrono::steady_clock::now() > give_up) return testing::AssertionFailure() << "nothing in 20 s";
    serve_once(engine, 1);  // the event comes from another thread, and wakes nobody here
  }
  return testing::AssertionSuccess();
}

Result fetch(Request request) {
  Engine engine({});
  engine.start(std::move(request));
  return run(engine).front();
}

}  // namespace wee5::delivery::test
