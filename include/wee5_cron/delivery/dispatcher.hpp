#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "wee5_cron/core/fair_queue.hpp"
#include "wee5_cron/core/retry_policy.hpp"
#include "wee5_cron/core/settings.hpp"
#include "wee5_cron/delivery/engine.hpp"
#include "wee5_cron/delivery/url.hpp"

namespace wee5::delivery {

// A call of the ledger that is due, as it was read. URL and bearer are not part of it: they are put together when it is
// sent, so that a call that waited follows a change of both at once.
struct DueCall {
  std::int64_t id = 0;
  int attempt = 1;  // the number that this attempt will have
  std::string endpoint_path;
  std::string method;
  std::string body;
  bool has_body = false;
  std::vector<core::Header> headers;
  bool headers_unreadable = false;  // the ledger holds something else there: the call fails with reason `config`
  std::int64_t timeout_ms = 0;      // 0: the default
  std::string requested_by;         // whose settings count
  std::string job_name;
  std::string scheduled_at;  // RFC 3339
  std::string idempotency_key;
  std::int64_t first_begun_us = 0;  // its first attempt, unix time; 0: this one is the first
  bool cut_off = false;             // the attempt before this one was on the wire when the worker or the server ended
};

struct DispatchSettings {
  std::int64_t request_timeout_ms = 60'000;
  std::int64_t connect_timeout_ms = 5'000;
  std::size_t max_in_flight = 256;
  std::size_t max_response_bytes = 8'192;
  std::string allow_plain_http = "off";
  std::string ca_file;
  std::string alert_url;
  Proxy proxy;
  core::Trace trace = core::Trace::kOn;
};

// A call that is on the wire, for the ledger's `sending`.
struct OnTheWire {
  std::int64_t id = 0;
  int attempt = 1;
  std::int64_t started_us = 0;  // unix time
  std::string url;
};

// What a worker holds in memory between its reads and writes of the ledger: calls that wait for a slot, calls on the
// wire, and results that are not recorded yet. Whoever owns it reads due calls in (add), sends (dispatch), serves the
// network (perform) and records results (batch, batch_recorded). Knows no database.
class Dispatcher {
 public:
  // `random`: numbers from [0, 1) for the spread of retries; by default the library's generator.
  explicit Dispatcher(std::size_t max_connections, std::function<double()> random = {});

  int poll_fd() const noexcept { return engine_.poll_fd(); }
  long timeout_ms() const noexcept { return engine_.timeout_ms(); }

  void configure(const DispatchSettings& settings);
  // What app.settings.* are for a role now; replaces what was known.
  void set_role(const std::string& role, const core::SettingCandidates& api_url, const core::SettingCandidates& secret);

  // The policies of paths, each for the whole path or for a path without its query; replaces what was known. A call
  // without one has the defaults.
  void set_policies(std::unordered_map<std::string, core::RetryPolicy> policies);

  // A due call of the ledger. One that is held already is left out.
  void add(DueCall call);
  bool holds(std::int64_t id) const noexcept { return held_.contains(id); }

  // The ledger's calls of a route were read from the id `from` on, as far as `next`: what lies between is held or has
  // ended. kNothing: to the end. False where so many routes have more that this one cannot be remembered.
  static constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::max();
  bool set_read(std::string_view route, std::int64_t from, std::int64_t next);
  // A route that has more in the ledger and runs low here: where to read on, and how many at most.
  struct Refill {
    std::string route;
    std::int64_t from = 0;
    std::size_t room = 0;
  };
  const std::vector<Refill>& refills(std::size_t most);

  // Sends what may go on the wire now. A call that cannot be sent for its settings becomes a result with reason
  // `config`. One whose policy is `never` becomes a claim first.
  void dispatch();
  bool can_dispatch() const;
  // Calls that are sent at most once: each has a slot, and is sent when the ledger says durably that it was begun.
  bool has_claims() const noexcept { return !claims_.empty(); }
  const std::vector<OnTheWire>& claims();
  // The claims of these ids stand in the ledger, and wait for send_claimed(). The others could not be claimed: they are
  // forgotten.
  void claimed(const std::vector<std::int64_t>& ids);
  bool has_claimed() const noexcept { return !claimed_.empty(); }
  void send_claimed();
  // Gives up a call that waits or is on the wire: its result says `cancelled`. True where it is held, also where its
  // answer has come already and only waits to be recorded.
  bool cancel(std::int64_t id);
  void perform();
  void not_served_for(std::chrono::microseconds pause) noexcept { engine_.not_served_for(pause); }
  // Forgets the calls that are not on the wire: nothing may be sent for now. The ledger has them.
  void drop_waiting();
  // Forgets everything: the ledger that it was read from is gone.
  void forget();

  std::size_t in_flight() const noexcept { return on_the_wire_.size() + claims_.size() + claimed_.size(); }
  std::size_t waiting() const noexcept { return queue_.waiting(); }
  std::size_t slots() const noexcept { return settings_.max_in_flight; }
  std::uint64_t sent() const noexcept { return sent_; }
  // How many more calls of a route to hold ready, beside `coming` ones that were read and not added yet. All of a queue
  // is never held: a route may have a few times as many waiting as there are slots; fewer where many routes wait, or
  // where the calls' bodies are large; none beyond that.
  std::size_t room_for(std::string_view route, std::size_t coming = 0) const;
  // How many bytes of calls may still be read.
  std::size_t bytes_left() const noexcept { return waiting_bytes_ < kMostBytes ? kMostBytes - waiting_bytes_ : 0; }
  // There is room for calls of routes that have nothing here yet, and a slot to send one.
  bool wants_more_routes() const noexcept;
  // Some route has more in the ledger and runs low here.
  bool wants_refill() const;

  // Roles of the calls that wait.
  const std::vector<std::string>& waiting_roles();

  // The oldest results, at most `most`, to be recorded together; they stay until batch_recorded().
  const std::vector<Result>& batch(std::size_t most);
  // `locked`: those whose rows somebody else holds locked. They are set aside until retry_locked(); where there are
  // many, nothing more is sent.
  void batch_recorded(const std::vector<std::int64_t>& locked = {});
  bool has_locked() const noexcept { return !locked_.empty(); }
  void retry_locked();
  bool has_results() const noexcept { return !batch_.empty() || !results_.empty(); }
  std::size_t results() const noexcept { return batch_.size() + results_.size(); }
  // When the oldest of them ended, unix time; kNothing: there is none.
  std::int64_t oldest_result_us() const noexcept;

  // Calls that have been on the wire for longer than `age_us` and are not marked in the ledger yet.
  const std::vector<OnTheWire>& unmarked(std::int64_t now_us, std::int64_t age_us);
  void marked();
  // When the oldest unmarked one reaches that age (unix time in microseconds); nullopt: none.
  std::optional<std::int64_t> next_mark_us(std::int64_t age_us) const;

 private:
  static constexpr std::size_t kMostBytes = 8'388'608;

  struct RoleSettings {
    core::Setting api_url;
    core::Setting secret;
  };

  struct Sending {
    std::string route;
    std::string endpoint_path;
    std::int64_t first_begun_us = 0;
  };
  struct Claim {
    Request request;
    Sending sending;
  };

  std::size_t ahead() const noexcept;
  bool others_wait() const;
  std::size_t limit_of_a_route(std::size_t waiting) const noexcept;
  const core::RetryPolicy& policy_of(const std::string& endpoint_path) const;
  Request make_request(const DueCall& call);
  Request make_alert(const DueCall& call) const;
  void forget_waiting(const DueCall& call);
  void send(Request request, Sending sending);
  // A result of a call that is not on the wire: no attempt was begun.
  void end_unsent(const DueCall& call, core::Explanation outcome);
  // Gives up a call that has a slot and is not on the wire.
  bool cancel_claim(std::vector<Claim>& claims, std::int64_t id);
  void fail_config(const DueCall& call, std::string error, std::string hint);
  void decide(const Sending& sending, Result& result);
  void collect();

  Engine engine_;
  DispatchSettings settings_;
  UrlJoiner urls_;
  core::FairQueue<DueCall> queue_;
  std::unordered_map<std::string, core::RetryPolicy> policies_;
  core::RetryPolicy default_policy_;
  std::function<double()> random_;
  std::unordered_map<std::string, RoleSettings> roles_;
  // Where the next read of a route that has more in the ledger begins.
  std::unordered_map<std::string, std::int64_t> more_;
  std::vector<Refill> refills_;
  std::unordered_map<std::string, std::size_t> waiting_by_role_;
  std::unordered_set<std::int64_t> held_;  // all of them, from add() until the result is recorded
  std::size_t waiting_bytes_ = 0;
  std::unordered_map<std::int64_t, Sending> on_the_wire_;
  std::deque<OnTheWire> unmarked_;  // in the order of their start
  std::vector<Claim> claims_;
  std::vector<Claim> claimed_;
  std::vector<OnTheWire> claiming_;
  std::vector<OnTheWire> marking_;
  std::deque<Result> results_;
  std::vector<Result> batch_;
  std::vector<Result> locked_;
  std::vector<std::string> waiting_roles_;
  std::uint64_t sent_ = 0;
};

}  // namespace wee5::delivery
