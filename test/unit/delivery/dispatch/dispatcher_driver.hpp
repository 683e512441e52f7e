#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "engine/loopback_server.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"

namespace wee5::delivery::test {

DueCall call(std::int64_t id, const std::string& path, const std::string& role = "app");
void set_role(Dispatcher& dispatcher, const std::string& role, const std::string& api_url, const std::string& secret,
              const std::string& previous_secret = "");
DispatchSettings slots(std::size_t count);

// Drives the dispatcher until `count` results are waiting to be recorded, or for 20 s.
std::vector<Result> serve(Dispatcher& dispatcher, std::size_t count);

// A server that records each request and answers it once `release` is set.
class Recorder {
 public:
  explicit Recorder(Event& release);
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
  int most_at_once() const { return server_.most_at_once(); }
  std::vector<std::string> targets();
  std::vector<ReceivedRequest> requests();

 private:
  std::mutex mutex_;
  std::vector<ReceivedRequest> requests_;
  LoopbackServer server_;
};

}  // namespace wee5::delivery::test
