#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "wee5_cron/core/request/destination.hpp"
#include "wee5_cron/core/worker/fair_queue.hpp"
#include "wee5_cron/core/worker/unread_calls.hpp"
#include "wee5_cron/delivery/address/url.hpp"
#include "wee5_cron/delivery/dispatch/path_policies.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery {

// A due call as it was read from the ledger. It has no URL and no bearer: these are built together when it is sent, so
// that a call that waited follows a change of both at once.
struct DueCall {
  std::int64_t id = 0;
  int attempt = 1;  // the number that this attempt will have
  std::string endpoint_path;
  std::string method;
  std::string body;
  bool has_body = false;
  std::vector<core::Header> headers;
  bool headers_unreadable =
      false;                    // the ledger's value is not an object of strings: the call fails with reason `config`
  std::int64_t timeout_ms = 0;  // 0: the default
  std::string requested_by;     // the role whose settings count
  std::string job_name;
  std::string scheduled_at;  // RFC 3339
  std::string idempotency_key;
  std::int64_t first_begun_us = 0;  // when its first attempt began, unix time; 0: this one is the first
  bool cut_off = false;             // the worker or the server ended while the attempt before was on the wire
  std::string queue;                // where the dispatcher lets it wait for its turn
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
  bool may_accept = true;  // false: the ledger has no status `accepted`, and such an answer is a success
};

// A call on the wire, for the ledger's status `sending`.
struct OnTheWire {
  std::int64_t id = 0;
  int attempt = 1;
  std::int64_t started_us = 0;  // unix time
  std::string url;
};

// Holds what a worker has in memory between its reads and writes of the ledger: calls that wait for a slot, calls on
// the wire, and results that are not recorded yet. Its owner reads due calls (add), sends them (dispatch), serves the
// network (perform) and records results (batch, batch_recorded). It knows no database.
class Dispatcher {
 public:
  // `random` returns numbers in [0, 1) for the jitter of retries; the default is a generator of the standard library.
  explicit Dispatcher(std::size_t max_connections, std::function<double()> random = {});

  int poll_fd() const noexcept { return engine_.poll_fd(); }
  long timeout_ms() const noexcept { return engine_.timeout_ms(); }

  void configure(const DispatchSettings& settings);
  // Sets the values of app.settings.* for a role, and replaces the ones before. A call that the app answers with 401 is
  // made again at once with the previous secret, if that one may go there.
  void set_role(const std::string& role, const core::AppSettings& settings);

  // Replaces the policies of all paths. Calls that wait already stay in the queues that they are in.
  void set_policies(PathPolicies policies);

  // Takes a due call. Ignores one that is held already.
  void add(DueCall call);
  bool holds(std::int64_t id) const noexcept { return held_.contains(id); }

  // The owner has read the calls of a route from the id `from` up to `next`: those in between are held or have ended.
  // kNothing: up to the end. `end` is that of the refill, if it was one. Returns false if too many routes have more in
  // the ledger to remember this one.
  static constexpr std::int64_t kNothing = core::UnreadCalls::kEnd;
  bool set_read(std::string_view route, std::int64_t from, std::int64_t next, std::int64_t end = kNothing);
  // A route that has more in the ledger and runs low here: where to read on, and how many at most.
  struct Refill {
    std::string route;
    core::UnreadCalls::Range range;
    std::size_t room = 0;  // how many calls to read at most
  };
  const std::vector<Refill>& refills(std::size_t most);

  // Sends the calls that may go on the wire now. A call whose settings are missing or wrong becomes a result with
  // reason `config`. A call that must not be retried (`retry_on = 'never'`) becomes a claim first.
  void dispatch();
  bool can_dispatch() const;
  // Claims are calls that are sent at most once. Each has a slot, and is sent after the ledger durably says that it has
  // begun.
  bool has_claims() const noexcept { return !claims_.empty(); }
  const std::vector<OnTheWire>& claims();
  // The ledger holds the claims of these ids; send_claimed() sends them. Forgets the others, which could not be
  // claimed.
  void claimed(const std::vector<std::int64_t>& ids);
  bool has_claimed() const noexcept { return !claimed_.empty(); }
  void send_claimed();
  // Gives up a call that waits or is on the wire; its result says `cancelled`. Returns whether the call is held, also
  // if its answer has arrived and only waits to be recorded.
  bool cancel(std::int64_t id);
  // Whether the call is held and has not got a slot yet.
  bool is_waiting(std::int64_t id) const;
  // Forgets a waiting call that has ended in the ledger.
  void forget_ended(std::int64_t id);
  void perform();
  void extend_deadlines(std::chrono::microseconds pause) noexcept { engine_.extend_deadlines(pause); }
  // Forgets the calls that are not on the wire, because nothing may be sent for now. The ledger still has them.
  void drop_waiting();
  // Forgets everything, because the ledger is gone.
  void forget();

  std::size_t in_flight() const noexcept { return on_the_wire_.size() + claims_.size() + claimed_.size(); }
  std::size_t waiting() const noexcept { return queue_.waiting(); }
  std::size_t slots() const noexcept { return settings_.max_in_flight; }
  std::uint64_t sent() const noexcept { return sent_; }
  // How many more calls of a route may wait here, on top of `coming` ones that were read but not added yet. A long
  // queue stays in the ledger: a route may have a few times as many calls here as there are slots, and fewer if many
  // routes wait or the calls' bodies are large. None while the route has more in the ledger: refills bring these in
  // their turn.
  std::size_t room_for(std::string_view route, std::size_t coming = 0) const;
  // How many bytes of calls may still be read.
  std::size_t bytes_left() const noexcept { return waiting_bytes_ < kMostBytes ? kMostBytes - waiting_bytes_ : 0; }
  // Whether there is room for calls of routes that have nothing here yet, and a slot to send one.
  bool wants_more_routes() const noexcept;
  // Whether some route runs low here and has more in the ledger.
  bool wants_refill() const;

  // The roles whose calls wait.
  const std::vector<std::string>& waiting_roles();

  // The oldest results, at most `most`, to be recorded together. They stay here until batch_recorded().
  const std::vector<Result>& batch(std::size_t most);
  // `locked` are the ids whose rows another transaction has locked. Their results wait for retry_locked(). If there are
  // many of them, nothing more is sent.
  void batch_recorded(const std::vector<std::int64_t>& locked = {});
  bool has_locked() const noexcept { return !locked_.empty(); }
  void retry_locked();
  bool has_results() const noexcept { return !batch_.empty() || !results_.empty(); }
  std::size_t results() const noexcept { return batch_.size() + results_.size(); }
  // When the oldest result ended, unix time; kNothing: there is none.
  std::int64_t oldest_result_us() const noexcept;

  // The calls that have been on the wire for longer than `age_us` and are not marked as `sending` in the ledger yet.
  const std::vector<OnTheWire>& unmarked(std::int64_t now_us, std::int64_t age_us);
  void marked();
  // When the oldest unmarked call reaches that age (unix time in microseconds); nullopt: there is none.
  std::optional<std::int64_t> next_mark_us(std::int64_t age_us) const;

 private:
  static constexpr std::size_t kMostBytes = 8'388'608;

  struct RoleSettings {
    core::Destinations destinations;
    std::vector<std::string> secrets;  // all that an answer must not show
  };

  struct Sending {
    std::string queue;
    std::string endpoint_path;
    std::int64_t first_begun_us = 0;
    // What is sent if the app answers 401; NULL: nothing, or it is on the wire.
    std::unique_ptr<Request> with_previous;
    std::int64_t previous_until_us = 0;
    std::int64_t refused_began_us = 0;  // when the request began that was answered with 401; 0: none was
  };
  struct Claim {
    Request request;
    Sending sending;
  };

  std::size_t ahead() const noexcept;
  bool others_wait() const;
  std::size_t limit_of_a_route(std::size_t waiting) const noexcept;
  std::size_t limit_of(std::string_view route, std::size_t waiting) const;
  std::size_t waiting_of(std::string_view route) const;
  Request make_request(const DueCall& call, Sending& sending);
  Request make_alert(const DueCall& call) const;
  void apply_connection_settings(Request& request) const;
  void forget_waiting(const DueCall& call);
  void send(Request request, Sending sending);
  // Adds the result of a call whose attempt did not begin.
  void end_unsent(const DueCall& call, core::Explanation outcome);
  // Gives up a claim, which has a slot but is not on the wire.
  bool cancel_claim(std::vector<Claim>& claims, std::int64_t id);
  void fail_config(const DueCall& call, std::string error, std::string hint);
  // Sends the request again with the previous secret, if the app answered 401 and that secret is still to be used.
  bool send_with_previous(Sending& sending, const Result& result);
  void decide(const Sending& sending, Result& result);
  void collect();

  Engine engine_;
  DispatchSettings settings_;
  UrlJoiner urls_;
  core::FairQueue<DueCall> queue_;
  PathPolicies policies_;
  std::function<double()> random_;
  std::unordered_map<std::string, RoleSettings> roles_;
  std::unordered_map<std::string, core::UnreadCalls> more_;  // the routes that have more in the ledger
  std::vector<Refill> refills_;
  std::unordered_map<std::string, std::size_t> waiting_by_role_;
  std::unordered_map<std::string, std::size_t> waiting_apart_;  // calls of a route that wait in queues of whole paths
  std::unordered_set<std::int64_t> held_;                       // every call from add() until its result is recorded
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
