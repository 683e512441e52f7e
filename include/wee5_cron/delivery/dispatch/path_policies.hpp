#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "wee5_cron/core/outcome/retry_policy.hpp"

namespace wee5::delivery {

// The policy of a path. nullopt: the setting counts.
struct PathPolicy {
  core::RetryPolicy retry;
  std::optional<std::size_t> max_in_flight;
  std::optional<std::size_t> max_response_bytes;
};

// The policies of a database, each for a whole path or for a path without its query. A call has the policy of its whole
// path, otherwise that of its route, otherwise the defaults.
class PathPolicies {
 public:
  PathPolicies() = default;
  explicit PathPolicies(std::unordered_map<std::string, PathPolicy> policies) : policies_(std::move(policies)) {}

  const PathPolicy& policy_of(const std::string& endpoint_path) const;
  const PathPolicy& defaults() const noexcept { return default_; }
  // The queue that a call waits in: that of its route, or one of its whole path. A path with a policy of its own needs
  // its own queue if either policy limits how many calls are in flight, so that each limit counts its own calls.
  std::string queue_of(const std::string& endpoint_path) const;
  // How many calls of a queue may be in flight, for the queues that have a limit.
  std::unordered_map<std::string, std::size_t> limits() const;
  // The limit of a route; nullopt: it has none.
  std::optional<std::size_t> limit_of_route(std::string_view route) const;

 private:
  std::unordered_map<std::string, PathPolicy> policies_;
  PathPolicy default_;
};

}  // namespace wee5::delivery
