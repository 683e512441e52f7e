#include "wee5_cron/delivery/dispatch/dispatcher.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/delivery/address/url.hpp"
#include "wee5_cron/delivery/engine/unix_clock.hpp"

namespace wee5::delivery {

namespace {

// If more calls wait than kCrowded times the slots, a route may add only kFew.
constexpr std::size_t kCrowded = 8;
constexpr std::size_t kFew = 8;
// A read of the ledger costs about the same for one row as for dozens, so a route holds kAhead times the slots ready.
constexpr std::size_t kAhead = 4;
constexpr std::size_t kMostRoutes = 2048;  // that are remembered to have more in the ledger
constexpr std::size_t kLockedPerSlot = 4;  // with more results that cannot be recorded, nothing is sent

std::size_t bytes_of(const DueCall& call) {
  std::size_t bytes = sizeof(DueCall) + call.endpoint_path.size() + call.body.size();
  for (const core::Header& header : call.headers) bytes += header.name.size() + header.value.size();
  return bytes;
}

std::function<double()> default_random() {
  return [generator = std::mt19937_64(std::random_device()())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(generator);
  };
}

core::Explanation explain_unsent(core::Reason reason, const std::string& endpoint_path) {
  core::Observation observation;
  observation.reason = reason;
  observation.endpoint_path = endpoint_path;
  return core::explain(observation);
}

const std::string& shown_url(const Request& request) {
  return request.shown_url.empty() ? request.url : request.shown_url;
}

}  // namespace

Dispatcher::Dispatcher(std::size_t max_connections, std::function<double()> random)
    : engine_(EngineOptions{max_connections}),
      queue_(DispatchSettings{}.max_in_flight),
      random_(random ? std::move(random) : default_random()) {}

void Dispatcher::configure(const DispatchSettings& settings) {
  settings_ = settings;
  queue_.set_slots(settings.max_in_flight);
}

void Dispatcher::set_role(const std::string& role, const core::AppSettings& settings) {
  core::Destinations destinations(settings);
  std::vector<std::string> secrets = destinations.secrets();
  roles_[role] = {std::move(destinations), std::move(secrets)};
}

void Dispatcher::set_policies(PathPolicies policies) {
  policies_ = std::move(policies);
  queue_.set_limits(policies_.limits());
}

std::size_t Dispatcher::waiting_of(std::string_view route) const {
  const std::size_t waiting = queue_.waiting_of(route);
  if (waiting_apart_.empty()) return waiting;
  const auto apart = waiting_apart_.find(std::string(route));
  return apart == waiting_apart_.end() ? waiting : waiting + apart->second;
}

void Dispatcher::add(DueCall call) {
  if (!held_.insert(call.id).second) return;
  // The first attempt of a call always may begin: most calls need neither policy nor clock.
  if (call.attempt > 1 || call.cut_off) {
    const core::DueAttempt due{call.attempt, call.first_begun_us, call.cut_off};
    switch (core::may_begin(due, policies_.policy_of(call.endpoint_path).retry, unix_now_us())) {
      case core::Begin::kNow:
        break;
      case core::Begin::kNeverLost:
        end_unsent(call, explain_unsent(core::Reason::kLost, call.endpoint_path));
        return;
      case core::Begin::kNeverLate:
        end_unsent(call, {});
        results_.back().keep_last_outcome = true;
        return;
    }
  }
  ++waiting_by_role_[call.requested_by];
  waiting_bytes_ += bytes_of(call);
  std::string queue = policies_.queue_of(call.endpoint_path);
  const std::string_view route = core::route_of(call.endpoint_path);
  if (queue.size() != route.size()) ++waiting_apart_[std::string(route)];
  call.queue = queue;
  queue_.push(queue, std::move(call));
}

bool Dispatcher::set_read(std::string_view route, std::int64_t from, std::int64_t next, std::int64_t end) {
  auto known = more_.find(std::string(route));
  if (known == more_.end()) {
    if (next == kNothing) return true;
    if (more_.size() >= kMostRoutes) return false;
    known = more_.try_emplace(std::string(route)).first;
  }
  known->second.read(from, next, end);
  if (known->second.none()) more_.erase(known);
  return true;
}

const std::vector<Dispatcher::Refill>& Dispatcher::refills(std::size_t most) {
  refills_.clear();
  for (auto& [route, unread] : more_) {
    if (refills_.size() >= most) break;
    const std::size_t limit = limit_of(route, waiting());
    const std::size_t held = waiting_of(route);
    if (2 * held >= limit) continue;
    std::size_t room = limit - held;
    const std::vector<core::UnreadCalls::Range> ranges = unread.ranges();
    for (std::size_t left = ranges.size(); left > 0 && room > 0; --left) {
      const std::size_t share = (room + left - 1) / left;
      refills_.push_back({route, ranges[ranges.size() - left], share});
      room -= share;
    }
  }
  return refills_;
}

std::size_t Dispatcher::ahead() const noexcept { return kAhead * slots(); }

std::size_t Dispatcher::limit_of_a_route(std::size_t waiting) const noexcept {
  if (waiting >= 2 * kCrowded * slots() || (waiting > 0 && bytes_left() == 0)) return 0;
  return waiting >= kCrowded * slots() ? std::min(kFew, slots()) : ahead();
}

// A route of which few calls may be in flight does not fill the memory, so that there is room for others.
std::size_t Dispatcher::limit_of(std::string_view route, std::size_t waiting) const {
  const std::size_t limit = limit_of_a_route(waiting);
  const std::optional<std::size_t> in_flight = policies_.limit_of_route(route);
  return in_flight && *in_flight < limit ? std::min(limit, std::max(kFew, kAhead * *in_flight)) : limit;
}

std::size_t Dispatcher::room_for(std::string_view route, std::size_t coming) const {
  if (more_.contains(std::string(route))) return 0;
  const std::size_t limit = limit_of(route, waiting() + coming);
  const std::size_t held = waiting_of(route);
  return held < limit ? limit - held : 0;
}

bool Dispatcher::wants_refill() const {
  return std::any_of(more_.begin(), more_.end(),
                     [&](const auto& route) { return 2 * waiting_of(route.first) < limit_of(route.first, waiting()); });
}

bool Dispatcher::wants_more_routes() const noexcept { return in_flight() < slots() && limit_of_a_route(waiting()) > 0; }

void Dispatcher::end_unsent(const DueCall& call, core::Explanation outcome) {
  Result result;
  result.id = call.id;
  result.attempt = call.attempt - 1;  // this one did not begin
  result.finished_us = unix_now_us();
  result.outcome = std::move(outcome);
  result.status = core::decide_unsent(result.outcome.reason, result.finished_us).status;
  results_.push_back(std::move(result));
}

void Dispatcher::fail_config(const DueCall& call, std::string error, std::string hint) {
  end_unsent(call, {false, false, core::Reason::kConfig, std::move(error), std::move(hint)});
}

void Dispatcher::forget_waiting(const DueCall& call) {
  waiting_bytes_ -= bytes_of(call);
  const auto role = waiting_by_role_.find(call.requested_by);
  if (--role->second == 0) waiting_by_role_.erase(role);
  const std::string_view route = core::route_of(call.endpoint_path);
  if (call.queue.size() == route.size()) return;
  const auto apart = waiting_apart_.find(std::string(route));
  if (--apart->second == 0) waiting_apart_.erase(apart);
}

void Dispatcher::send(Request request, Sending sending) {
  if (sending.first_begun_us == 0) sending.first_begun_us = unix_now_us();
  on_the_wire_.emplace(request.id, std::move(sending));
  ++sent_;
  engine_.start(std::move(request));
}

// Whether another route, of which nothing waits here at the moment, has more in the ledger. Then the only route that
// waits here must not take the other one's slots.
bool Dispatcher::others_wait() const {
  const std::string* only = queue_.only_route();
  return only != nullptr && (more_.size() > 1 || (more_.size() == 1 && more_.begin()->first != core::route_of(*only)));
}

bool Dispatcher::can_dispatch() const {
  return locked_.size() < kLockedPerSlot * slots() && queue_.can_take(others_wait());
}

void Dispatcher::dispatch() {
  if (!can_dispatch()) return;
  while (std::optional<DueCall> call = queue_.take(others_wait())) {
    forget_waiting(*call);
    Sending sending{std::move(call->queue), call->endpoint_path, call->first_begun_us, nullptr, 0, 0};
    try {
      Request request = make_request(*call, sending);
      if (policies_.policy_of(call->endpoint_path).retry.retry_on == core::RetryOn::kNever) {
        claims_.push_back({std::move(request), std::move(sending)});
        continue;
      }
      unmarked_.push_back(OnTheWire{call->id, call->attempt, unix_now_us(), shown_url(request)});
      send(std::move(request), std::move(sending));
    } catch (const core::Error& error) {
      queue_.release(sending.queue);
      fail_config(*call, error.message(), error.hint());
    }
  }
}

const std::vector<OnTheWire>& Dispatcher::claims() {
  claiming_.clear();
  const std::int64_t now = unix_now_us();
  for (const Claim& claim : claims_) {
    claiming_.push_back({claim.request.id, claim.request.attempt, now, shown_url(claim.request)});
  }
  return claiming_;
}

void Dispatcher::claimed(const std::vector<std::int64_t>& ids) {
  for (Claim& claim : std::exchange(claims_, {})) {
    if (std::find(ids.begin(), ids.end(), claim.request.id) != ids.end()) {
      claimed_.push_back(std::move(claim));
    } else {
      queue_.release(claim.sending.queue);
      held_.erase(claim.request.id);
    }
  }
}

void Dispatcher::send_claimed() {
  for (Claim& claim : std::exchange(claimed_, {})) send(std::move(claim.request), std::move(claim.sending));
}

bool Dispatcher::cancel_claim(std::vector<Claim>& claims, std::int64_t id) {
  const auto claim =
      std::find_if(claims.begin(), claims.end(), [id](const Claim& one) { return one.request.id == id; });
  if (claim == claims.end()) return false;
  queue_.release(claim->sending.queue);
  DueCall call;
  call.id = id;
  call.attempt = claim->request.attempt;
  end_unsent(call, explain_unsent(core::Reason::kCancelled, claim->sending.endpoint_path));
  claims.erase(claim);
  return true;
}

bool Dispatcher::cancel(std::int64_t id) {
  if (std::optional<DueCall> waiting = queue_.remove([id](const DueCall& call) { return call.id == id; })) {
    forget_waiting(*waiting);
    end_unsent(*waiting, explain_unsent(core::Reason::kCancelled, waiting->endpoint_path));
    return true;
  }
  if (cancel_claim(claims_, id) || cancel_claim(claimed_, id)) return true;
  if (engine_.cancel(id)) {
    collect();
    return true;
  }
  const auto is_its = [id](const Result& result) { return result.id == id; };
  return std::any_of(results_.begin(), results_.end(), is_its) || std::any_of(batch_.begin(), batch_.end(), is_its) ||
         std::any_of(locked_.begin(), locked_.end(), is_its);
}

bool Dispatcher::is_waiting(std::int64_t id) const {
  return holds(id) && queue_.contains([id](const DueCall& call) { return call.id == id; });
}

void Dispatcher::forget_ended(std::int64_t id) {
  const std::optional<DueCall> waiting = queue_.remove([id](const DueCall& call) { return call.id == id; });
  if (!waiting) return;
  forget_waiting(*waiting);
  held_.erase(id);
}

void Dispatcher::perform() {
  engine_.perform();
  collect();
}

// A 401 says that nothing was done, so this repeats nothing. It is the same attempt, whose slot it keeps.
bool Dispatcher::send_with_previous(Sending& sending, const Result& result) {
  const bool refused = result.http_status == 401 && result.outcome.reason == core::Reason::kHttp;
  if (!refused || !sending.with_previous || unix_now_us() >= sending.previous_until_us) return false;
  sending.refused_began_us = result.started_us;
  engine_.start(std::move(*sending.with_previous));
  sending.with_previous.reset();
  return true;
}

void Dispatcher::decide(const Sending& sending, Result& result) {
  if (sending.refused_began_us != 0) {
    result.started_us = sending.refused_began_us;
    std::string& hint = result.outcome.hint;
    if (result.outcome.succeeded || result.outcome.accepted)
      hint = core::previous_secret_hint(sending.previous_until_us) + (hint.empty() ? "" : " " + hint);
  }
  core::EndedAttempt ended;
  ended.attempt = result.attempt;
  ended.http_status = result.http_status;
  ended.retry_after = result.retry_after;
  ended.first_begun_us = sending.first_begun_us;
  ended.ended_us = result.finished_us;
  if (!settings_.may_accept && std::exchange(result.outcome.accepted, false)) result.outcome.succeeded = true;
  // Most calls succeed, whatever the policy is.
  const bool succeeded = result.outcome.succeeded;
  const PathPolicy& policy = succeeded ? policies_.defaults() : policies_.policy_of(sending.endpoint_path);
  const core::Decision decision = core::decide(result.outcome, ended, policy.retry, succeeded ? 0 : random_());
  result.status = decision.status;
  result.retry_at_us = decision.next_attempt_us;
}

void Dispatcher::collect() {
  for (Result& result : engine_.take_results()) {
    const auto sending = on_the_wire_.find(result.id);
    if (sending == on_the_wire_.end()) continue;  // forgotten
    if (send_with_previous(sending->second, result)) continue;
    queue_.release(sending->second.queue);
    decide(sending->second, result);
    on_the_wire_.erase(sending);
    results_.push_back(std::move(result));
  }
  while (!unmarked_.empty() && !on_the_wire_.contains(unmarked_.front().id)) unmarked_.pop_front();
}

void Dispatcher::drop_waiting() {
  for (auto& [id, sending] : on_the_wire_) sending.with_previous.reset();
  claimed({});
  while (std::optional<DueCall> call = queue_.remove([](const DueCall&) { return true; })) {
    forget_waiting(*call);
    held_.erase(call->id);
  }
  more_.clear();
}

void Dispatcher::forget() {
  for (const auto& [id, sending] : on_the_wire_) {
    engine_.cancel(id);
    queue_.release(sending.queue);
  }
  on_the_wire_.clear();
  for (const std::vector<Claim>* claims : {&claims_, &claimed_})
    for (const Claim& claim : *claims) queue_.release(claim.sending.queue);
  claims_.clear();
  claimed_.clear();
  set_policies({});
  engine_.take_results();
  queue_.clear_waiting();
  held_.clear();
  waiting_bytes_ = 0;
  waiting_by_role_.clear();
  waiting_apart_.clear();
  roles_.clear();
  more_.clear();
  unmarked_.clear();
  marking_.clear();
  results_.clear();
  batch_.clear();
  locked_.clear();
}

const std::vector<std::string>& Dispatcher::waiting_roles() {
  waiting_roles_.clear();
  for (const auto& [role, count] : waiting_by_role_) waiting_roles_.push_back(role);
  return waiting_roles_;
}

const std::vector<Result>& Dispatcher::batch(std::size_t most) {
  while (batch_.size() < most && !results_.empty()) {
    batch_.push_back(std::move(results_.front()));
    results_.pop_front();
  }
  return batch_;
}

void Dispatcher::batch_recorded(const std::vector<std::int64_t>& locked) {
  for (Result& result : batch_) {
    if (std::find(locked.begin(), locked.end(), result.id) != locked.end()) {
      locked_.push_back(std::move(result));
    } else {
      held_.erase(result.id);
    }
  }
  batch_.clear();
}

void Dispatcher::retry_locked() {
  for (Result& result : locked_) results_.push_back(std::move(result));
  locked_.clear();
}

std::int64_t Dispatcher::oldest_result_us() const noexcept {
  if (!batch_.empty()) return batch_.front().finished_us;
  return results_.empty() ? kNothing : results_.front().finished_us;
}

const std::vector<OnTheWire>& Dispatcher::unmarked(std::int64_t now_us, std::int64_t age_us) {
  while (!unmarked_.empty() && unmarked_.front().started_us + age_us <= now_us) {
    if (on_the_wire_.contains(unmarked_.front().id)) marking_.push_back(std::move(unmarked_.front()));
    unmarked_.pop_front();
  }
  // A call that ended in the meantime needs no mark.
  std::erase_if(marking_, [this](const OnTheWire& call) { return !on_the_wire_.contains(call.id); });
  return marking_;
}

void Dispatcher::marked() { marking_.clear(); }

std::optional<std::int64_t> Dispatcher::next_mark_us(std::int64_t age_us) const {
  if (!marking_.empty()) return marking_.front().started_us + age_us;
  if (unmarked_.empty()) return std::nullopt;
  return unmarked_.front().started_us + age_us;
}

}  // namespace wee5::delivery
