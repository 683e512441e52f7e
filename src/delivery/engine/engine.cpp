#include "wee5_cron/delivery/engine/engine.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <stdexcept>
#include <utility>

#include "transfer.hpp"
#include "transfer_result.hpp"
#include "wee5_cron/delivery/network/curl_check.hpp"
#include "wee5_cron/delivery/network/resolver_threads.hpp"
#include "wee5_cron/delivery/network/socket_set.hpp"

namespace wee5::delivery {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// libcurl counts these calls, so several engines of a process do not disturb each other.
struct CurlGlobal {
  CurlGlobal() { check(curl_global_init(CURL_GLOBAL_DEFAULT), "curl_global_init"); }
  ~CurlGlobal() { curl_global_cleanup(); }
  CurlGlobal(const CurlGlobal&) = delete;
  CurlGlobal& operator=(const CurlGlobal&) = delete;
};

struct MultiCleanup {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};
using MultiHandle = std::unique_ptr<CURLM, MultiCleanup>;

MultiHandle new_multi() {
  MultiHandle multi(curl_multi_init());
  if (!multi) throw CurlError("curl_multi_init", "out of memory");
  return multi;
}

// How often perform() polls the sockets again before it judges a deadline. Each read takes at least 16 kB, so by then
// it has read whatever a receive buffer holds, and an endless sender cannot keep perform() busy for ever.
constexpr int kMaxRounds = 256;
// Longer deadlines (292 years fit into the clock) are as good as none.
constexpr std::int64_t kMaxDeadlineMs = 1000LL * 60 * 60 * 24 * 365;

milliseconds bounded(std::int64_t count) { return milliseconds(std::clamp<std::int64_t>(count, 1, kMaxDeadlineMs)); }

}  // namespace

struct Engine::State final : SendObserver {
  explicit State(const EngineOptions& options);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // The engine's clock, which stands still while the owner is away.
  TimePoint now() const noexcept { return Clock::now() - away; }

  std::unique_ptr<Transfer> idle_transfer();
  void launch(std::unique_ptr<Transfer> transfer);
  void begin_again(Transfer* transfer);
  bool handle_ready_sockets();
  void handle_timer();
  void drive(curl_socket_t socket, int events);
  void collect_finished();
  void conclude(Transfer* transfer, CURLcode code);
  void finish(Transfer* transfer, Ending ending);
  void take_off(Transfer* transfer) noexcept;
  void fail_all(const char* why);
  void expire_deadlines();
  bool overdue() const noexcept { return !on_wire.empty() && on_wire.earliest()->deadline <= now(); }

  void about_to_send(Transfer* transfer) noexcept override { on_wire.move_to(transfer, transfer->total_deadline); }

  static int on_socket(CURL* easy, curl_socket_t socket, int what, void* self, void* watched) noexcept;
  static int on_timer(CURLM* multi, long timeout_ms, void* self) noexcept;

  // The order matters: the multi handle still calls on_socket() while it is destroyed, so it must go before the
  // sockets.
  CurlGlobal global;
  SocketSet sockets;
  ConnectionSockets connection_sockets;
  MultiHandle multi;
  DeadlineHeap<Transfer> on_wire;
  std::vector<std::unique_ptr<Transfer>> pool;
  std::vector<Result> results;
  Clock::duration away{};
  TimePoint timer_due{};
  bool timer_set = false;
  bool broken = false;  // epoll refused a socket
};

Engine::State::State(const EngineOptions& options) : multi(new_multi()) {
  // As many connections stay open as may be in use. libcurl's default is four times the handles in use: that number
  // changes all the time, and most connections would be closed in a lull. There are never more in all, since idle ones
  // make room.
  const long connections = static_cast<long>(std::clamp<std::size_t>(options.max_connections, 1, 100'000));
  WEE5_SET_OPTION(multi.get(), CURLMOPT_MAXCONNECTS, connections);
  WEE5_SET_OPTION(multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
  never_wait_for_lookups(multi.get(), connections);
  // One request at a time on a connection, also with HTTP/2. Otherwise a connection that breaks would take many calls
  // with it, none of which may be sent again.
  WEE5_SET_OPTION(multi.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  WEE5_SET_OPTION(multi.get(), CURLMOPT_SOCKETFUNCTION, &State::on_socket);
  WEE5_SET_OPTION(multi.get(), CURLMOPT_SOCKETDATA, this);
  WEE5_SET_OPTION(multi.get(), CURLMOPT_TIMERFUNCTION, &State::on_timer);
  WEE5_SET_OPTION(multi.get(), CURLMOPT_TIMERDATA, this);
}

Engine::State::~State() {
  while (!on_wire.empty()) {
    const std::unique_ptr<Transfer> owner(on_wire.earliest());
    take_off(owner.get());
  }
}

int Engine::State::on_socket(CURL* /*easy*/, curl_socket_t socket, int what, void* self, void* /*watched*/) noexcept {
  auto* state = static_cast<State*>(self);
  if (state->sockets.watch(socket, what)) return 0;
  state->broken = true;
  return -1;
}

// Must not call libcurl (CURLMOPT_TIMERFUNCTION). The owner asks timeout_ms() and calls perform().
int Engine::State::on_timer(CURLM* /*multi*/, long timeout_ms, void* self) noexcept {
  auto* state = static_cast<State*>(self);
  state->timer_set = timeout_ms >= 0;
  if (state->timer_set) state->timer_due = Clock::now() + milliseconds(timeout_ms);
  return 0;
}

std::unique_ptr<Transfer> Engine::State::idle_transfer() {
  if (pool.empty()) return std::make_unique<Transfer>(this, &connection_sockets);
  std::unique_ptr<Transfer> transfer = std::move(pool.back());
  pool.pop_back();
  return transfer;
}

void Engine::State::launch(std::unique_ptr<Transfer> transfer) {
  const Request& request = transfer->request;
  transfer->started = Clock::now();
  transfer->started_us =
      std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const TimePoint begin = now();
  transfer->total_deadline = begin + bounded(request.timeout_ms);
  const TimePoint connected = begin + bounded(request.connect_timeout_ms);
  on_wire.push(transfer.get(), std::min(connected, transfer->total_deadline));
  Transfer* launched = transfer.release();  // on_wire owns it from here on
  const CURLMcode code = curl_multi_add_handle(multi.get(), launched->easy());
  if (code == CURLM_OK) return;
  finish(launched, {core::Reason::kConnect, std::string("curl_multi_add_handle: ") + curl_multi_strerror(code)});
}

void Engine::State::drive(curl_socket_t socket, int events) {
  int running = 0;
  const CURLMcode code = curl_multi_socket_action(multi.get(), socket, events, &running);
  // After an error, no transfer goes on (libcurl-errors, CURLMOPT_SOCKETFUNCTION).
  if (code == CURLM_OK && !broken) return;
  collect_finished();
  fail_all(broken ? "epoll_ctl refused a socket" : curl_multi_strerror(code));
}

bool Engine::State::handle_ready_sockets() {
  const auto ready = sockets.ready();
  for (const epoll_event& event : ready) {
    int events = 0;
    if ((event.events & EPOLLIN) != 0) events |= CURL_CSELECT_IN;
    if ((event.events & EPOLLOUT) != 0) events |= CURL_CSELECT_OUT;
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) events |= CURL_CSELECT_ERR;
    drive(event.data.fd, events);
  }
  return !ready.empty();
}

void Engine::State::handle_timer() {
  if (!timer_set || Clock::now() < timer_due) return;
  timer_set = false;  // single-shot; libcurl sets the next one from inside
  drive(CURL_SOCKET_TIMEOUT, 0);
}

void Engine::State::collect_finished() {
  int waiting = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &waiting)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;  // the message dies with the next call
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    conclude(transfer, code);
  }
}

void Engine::State::conclude(Transfer* transfer, CURLcode code) {
  // While the owner was away, libcurl's clock ran on and the engine's did not. Nothing was sent, so the transfer may
  // begin again.
  const bool too_early = code == CURLE_OPERATION_TIMEDOUT && transfer->sendings == 0 && transfer->deadline > now();
  if (transfer->found_closed) transfer->use_new_connection();
  if (too_early || transfer->found_closed) {
    begin_again(transfer);
  } else {
    finish(transfer, ending_of(code, *transfer));
  }
}

void Engine::State::begin_again(Transfer* transfer) {
  curl_multi_remove_handle(multi.get(), transfer->easy());
  transfer->forget_answer();
  const CURLMcode code = curl_multi_add_handle(multi.get(), transfer->easy());
  if (code != CURLM_OK) finish(transfer, {core::Reason::kConnect, curl_multi_strerror(code)});
}

void Engine::State::finish(Transfer* transfer, Ending ending) {
  results.push_back(make_result(*transfer, std::move(ending)));
  take_off(transfer);
  std::unique_ptr<Transfer> owner(transfer);
  owner->release();
  if (owner->may_serve_again()) pool.push_back(std::move(owner));
}

void Engine::State::take_off(Transfer* transfer) noexcept {
  curl_multi_remove_handle(multi.get(), transfer->easy());
  on_wire.remove(transfer);
}

void Engine::State::fail_all(const char* why) {
  while (!on_wire.empty()) {
    Transfer* transfer = on_wire.earliest();
    const bool sent = transfer->sendings > 0;
    finish(transfer, {sent ? core::Reason::kResponse : core::Reason::kConnect, why});
  }
  broken = false;
}

void Engine::State::expire_deadlines() {
  while (overdue()) {
    Transfer* transfer = on_wire.earliest();
    finish(transfer, ending_at_deadline(*transfer));
  }
}

Engine::Engine(EngineOptions options) : state_(std::make_unique<State>(options)) {}
Engine::~Engine() = default;

int Engine::poll_fd() const noexcept { return state_->sockets.fd(); }

long Engine::timeout_ms() const noexcept {
  if (!state_->results.empty()) return 0;
  if (!state_->timer_set && state_->on_wire.empty()) return -1;
  Clock::duration left = Clock::duration::max();
  if (state_->timer_set) left = state_->timer_due - Clock::now();
  if (!state_->on_wire.empty()) left = std::min(left, state_->on_wire.earliest()->deadline - state_->now());
  // Rounded up: an owner that comes a moment too early would spin until the deadline. Bounded, because epoll_wait()
  // takes an int, and a long has no more bits on 32-bit platforms.
  const std::int64_t count = std::chrono::ceil<milliseconds>(left).count();
  return static_cast<long>(std::clamp<std::int64_t>(count, 0, std::numeric_limits<int>::max()));
}

void Engine::start(Request request) {
  std::unique_ptr<Transfer> transfer;
  try {
    transfer = state_->idle_transfer();
  } catch (const CurlError& error) {
    state_->results.push_back(make_unsent_result(request, {core::Reason::kConnect, error.what()}));
    return;
  }
  try {
    transfer->begin(std::move(request));
  } catch (const std::runtime_error& error) {
    state_->results.push_back(make_unsent_result(transfer->request, {core::Reason::kConfig, error.what()}));
    transfer->release();
    state_->pool.push_back(std::move(transfer));
    return;
  }
  state_->launch(std::move(transfer));
}

void Engine::perform() {
  const SignalsBlocked blocked;
  // Read what has arrived first, and judge the deadlines then, because the owner may be late.
  int round = 0;
  bool more = true;
  while (more) {
    more = state_->handle_ready_sockets();
    state_->handle_timer();
    more = more && ++round < kMaxRounds && state_->overdue();
  }
  state_->collect_finished();
  state_->expire_deadlines();
}

void Engine::extend_deadlines(microseconds pause) noexcept {
  if (pause > microseconds::zero()) state_->away += pause;
}

bool Engine::cancel(std::int64_t id) {
  const auto found = std::find_if(state_->on_wire.begin(), state_->on_wire.end(),
                                  [id](const Transfer* transfer) { return transfer->request.id == id; });
  if (found == state_->on_wire.end()) return false;
  state_->finish(*found, {core::Reason::kCancelled, ""});
  return true;
}

std::size_t Engine::in_flight() const noexcept { return state_->on_wire.size(); }

std::vector<Result> Engine::take_results() { return std::exchange(state_->results, {}); }

}  // namespace wee5::delivery
