#pragma once

#include <curl/curl.h>
#include <pthread.h>

#include <csignal>

// libcurl looks names up in threads, because getaddrinfo() waits. These threads must not disturb the process.
namespace wee5::delivery {

// Blocks all signals of the calling thread as long as the object exists. A thread starts with the signal mask of the
// thread that creates it, so libcurl's threads take no signal that is sent to the process: the server's handlers must
// run in its one thread. Needed around each call of libcurl that drives a transfer; other calls start no thread.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// Up to libcurl 8.19 each transfer has a thread of its own, and CURLOPT_QUICK_EXIT abandons it. From 8.20 on the multi
// handle has a pool of 20 threads. Each name takes two of them (for IPv4 and IPv6), and the handle's cleanup waits for
// all unless it is told not to. The options are given by number, because the headers of the build may be older than the
// library that is loaded. Older libraries refuse both options, and need neither.
inline void never_wait_for_lookups(CURLM* multi, long most_transfers) noexcept {
  constexpr auto kResolveThreadsMax = static_cast<CURLMoption>(20);  // CURLMOPT_RESOLVE_THREADS_MAX
  constexpr auto kQuickExit = static_cast<CURLMoption>(21);          // CURLMOPT_QUICK_EXIT
  curl_multi_setopt(multi, kResolveThreadsMax, 2 * most_transfers);
  curl_multi_setopt(multi, kQuickExit, 1L);
}

}  // namespace wee5::delivery
