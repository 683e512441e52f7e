#include "network/hanging_resolver.hpp"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string_view>

namespace {

using GetAddrInfo = int (*)(const char*, const char*, const addrinfo*, addrinfo**);

std::mutex mutex;
std::condition_variable changed;
int hanging_lookups = 0;
bool released = true;
bool one_took_signals = false;

// Whether the calling thread would take any signal that can be blocked.
bool takes_signals() {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  for (int signal = 1; signal < __SIGRTMIN; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP && sigismember(&blocked, signal) == 0) return true;
  }
  return false;
}

int hang() {
  std::unique_lock lock(mutex);
  if (takes_signals()) one_took_signals = true;
  ++hanging_lookups;
  changed.notify_all();
  changed.wait_for(lock, std::chrono::seconds(8), [] { return released; });
  --hanging_lookups;
  changed.notify_all();
  return EAI_AGAIN;
}

}  // namespace

// Exported by the executable (-rdynamic), so that libcurl's resolver threads call this one. The C library's, found as
// the next one, does the rest.
extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node, const char* service,
                                                                  const addrinfo* hints, addrinfo** result) {
  static const auto next = reinterpret_cast<GetAddrInfo>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string_view name = node != nullptr ? node : "";
  if (name.ends_with(".hang.test")) return hang();
  if (name.ends_with(".nowhere.test")) return EAI_NONAME;
  if (name.ends_with(".local.test")) return next("127.0.0.1", service, hints, result);
  return next(node, service, hints, result);
}

namespace wee5::delivery::test {

HangingResolver::HangingResolver() {
  const std::lock_guard lock(mutex);
  released = false;
  one_took_signals = false;
}

HangingResolver::~HangingResolver() {
  std::unique_lock lock(mutex);
  released = true;
  changed.notify_all();
  changed.wait(lock, [] { return hanging_lookups == 0; });
}

bool HangingResolver::wait_for_lookups(int count) {
  std::unique_lock lock(mutex);
  return changed.wait_for(lock, std::chrono::seconds(20), [count] { return hanging_lookups >= count; });
}

bool HangingResolver::took_signals() {
  const std::lock_guard lock(mutex);
  return one_took_signals;
}

int HangingResolver::hanging() {
  const std::lock_guard lock(mutex);
  return hanging_lookups;
}

}  // namespace wee5::delivery::test
