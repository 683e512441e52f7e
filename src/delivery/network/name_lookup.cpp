#include "wee5_cron/delivery/network/name_lookup.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

#include "wee5_cron/delivery/network/curl_check.hpp"
#include "wee5_cron/delivery/network/resolver_threads.hpp"

namespace wee5::delivery {
namespace {

struct EasyCleanup {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
struct MultiCleanup {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};

using AddressText = std::array<char, INET6_ADDRSTRLEN>;

void write_address(const curl_sockaddr* from, AddressText* to) noexcept {
  if (from->family == AF_INET) {
    const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(&from->addr);
    inet_ntop(AF_INET, &ipv4->sin_addr, to->data(), to->size());
  } else if (from->family == AF_INET6) {
    const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(&from->addr);
    inet_ntop(AF_INET6, &ipv6->sin6_addr, to->data(), to->size());
  }
}

}  // namespace

struct NameLookup::State {
  // The order matters: the multi handle goes last.
  std::unique_ptr<CURLM, MultiCleanup> multi{curl_multi_init()};
  std::unique_ptr<CURL, EasyCleanup> easy{curl_easy_init()};
  std::array<char, CURL_ERROR_SIZE> error_text{};
  AddressText first{};
  bool added = false;
  std::string address;
  std::string error;

  State() = default;
  ~State() {
    if (added) curl_multi_remove_handle(multi.get(), easy.get());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // libcurl asks for a socket when it has resolved the name. The address is enough, so there is no socket.
  static curl_socket_t on_address(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) noexcept {
    auto* state = static_cast<State*>(self);
    if (state->first[0] == '\0') write_address(address, &state->first);
    return CURL_SOCKET_BAD;
  }
};

NameLookup::NameLookup(const std::string& host) : state_(std::make_unique<State>()) {
  if (!state_->multi || !state_->easy) throw CurlError("curl_easy_init", "out of memory");
  CURL* easy = state_->easy.get();
  WEE5_SET_OPTION(easy, CURLOPT_URL, ("http://" + host + "/").c_str());
  WEE5_SET_OPTION(easy, CURLOPT_PROTOCOLS_STR, "http");
  WEE5_SET_OPTION(easy, CURLOPT_PROXY, "");
  WEE5_SET_OPTION(easy, CURLOPT_NOSIGNAL, 1L);
  WEE5_SET_OPTION(easy, CURLOPT_ERRORBUFFER, state_->error_text.data());
  // Without it, the destructor joins the resolver thread: a name server that does not answer would hold the caller for
  // a minute.
  WEE5_SET_OPTION(easy, CURLOPT_QUICK_EXIT, 1L);
  never_wait_for_lookups(state_->multi.get(), 1);
  WEE5_SET_OPTION(easy, CURLOPT_OPENSOCKETFUNCTION, &State::on_address);
  WEE5_SET_OPTION(easy, CURLOPT_OPENSOCKETDATA, state_.get());
  check(curl_multi_add_handle(state_->multi.get(), easy), "curl_multi_add_handle");
  state_->added = true;
}

NameLookup::~NameLookup() = default;

bool NameLookup::possible() noexcept {
  const curl_version_info_data* info = curl_version_info(CURLVERSION_NOW);
  return (info->features & CURL_VERSION_ASYNCHDNS) != 0 && info->version_num >= 0x075700;  // CURLOPT_QUICK_EXIT
}

bool NameLookup::step(int milliseconds) {
  State& state = *state_;
  int running = 0;
  {
    const SignalsBlocked blocked;
    check(curl_multi_perform(state.multi.get(), &running), "curl_multi_perform");
  }
  if (running > 0) {
    check(curl_multi_poll(state.multi.get(), nullptr, 0, milliseconds, nullptr), "curl_multi_poll");
    return false;
  }
  int queued = 0;
  const CURLMsg* message = curl_multi_info_read(state.multi.get(), &queued);
  state.address = state.first.data();
  if (state.address.empty() && message != nullptr) {
    state.error = state.error_text[0] != '\0' ? state.error_text.data() : curl_easy_strerror(message->data.result);
  }
  return true;
}

const std::string& NameLookup::address() const noexcept { return state_->address; }
const std::string& NameLookup::error() const noexcept { return state_->error; }

}  // namespace wee5::delivery
