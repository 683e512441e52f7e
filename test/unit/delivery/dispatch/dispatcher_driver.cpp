#include "dispatch/dispatcher_driver.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>

namespace wee5::delivery::test {

DueCall call(std::int64_t id, const std::string& path, const std::string& role) {
  DueCall due;
  due.id = id;
  due.endpoint_path = path;
  due.method = "GET";
  due.requested_by = role;
  due.idempotency_key = "00000000-0000-4000-8000-000000000001";
  return due;
}

void set_role(Dispatcher& dispatcher, const std::string& role, const std::string& api_url, const std::string& secret,
              const std::string& previous_secret) {
  core::AppSettings settings;
  settings.api_url.database = api_url;
  settings.secret.database = secret;
  settings.previous_secret.database = previous_secret;
  dispatcher.set_role(role, settings);
}

DispatchSettings slots(std::size_t count) {
  DispatchSettings settings;
  settings.max_in_flight = count;
  return settings;
}

std::vector<Result> serve(Dispatcher& dispatcher, std::size_t count) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (dispatcher.batch(count).size() < count && std::chrono::steady_clock::now() < give_up) {
    pollfd waiting{dispatcher.poll_fd(), POLLIN, 0};
    const long timeout = dispatcher.timeout_ms();
    poll(&waiting, 1, timeout < 0 ? 100 : static_cast<int>(std::min(timeout, 100L)));
    dispatcher.perform();
  }
  return dispatcher.batch(count);
}

Recorder::Recorder(Event& release)
    : server_(answering([this, &release](const ReceivedRequest& request) {
        {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
        }
        release.wait();
        return answer("200 OK", "{}");
      })) {}

std::vector<std::string> Recorder::targets() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> targets;
  for (const ReceivedRequest& request : requests_) targets.push_back(request.target());
  return targets;
}

std::vector<ReceivedRequest> Recorder::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace wee5::delivery::test
