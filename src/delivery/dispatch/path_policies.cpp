#include "wee5_cron/delivery/dispatch/path_policies.hpp"

#include "wee5_cron/core/request/endpoint_path.hpp"

namespace wee5::delivery {

const PathPolicy& PathPolicies::policy_of(const std::string& endpoint_path) const {
  if (policies_.empty()) return default_;
  auto found = policies_.find(endpoint_path);
  if (found == policies_.end()) found = policies_.find(std::string(core::route_of(endpoint_path)));
  return found != policies_.end() ? found->second : default_;
}

std::string PathPolicies::queue_of(const std::string& endpoint_path) const {
  const std::string_view route = core::route_of(endpoint_path);
  if (policies_.empty() || route.size() == endpoint_path.size()) return std::string(route);
  const auto whole = policies_.find(endpoint_path);
  if (whole == policies_.end()) return std::string(route);
  return whole->second.max_in_flight || limit_of_route(route) ? endpoint_path : std::string(route);
}

std::unordered_map<std::string, std::size_t> PathPolicies::limits() const {
  std::unordered_map<std::string, std::size_t> limits;
  for (const auto& [path, policy] : policies_)
    if (policy.max_in_flight) limits.emplace(path, *policy.max_in_flight);
  return limits;
}

std::optional<std::size_t> PathPolicies::limit_of_route(std::string_view route) const {
  if (policies_.empty()) return std::nullopt;
  const auto found = policies_.find(std::string(route));
  return found != policies_.end() ? found->second.max_in_flight : std::nullopt;
}

}  // namespace wee5::delivery
