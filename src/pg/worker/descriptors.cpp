// The open files of a worker. Postgres's own files and the sockets of requests share one limit, RLIMIT_NOFILE. fd.c
// keeps up to max_safe_fds files open unless it is told that some of them are in use elsewhere.

#include "wee5_cron/pg/worker/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace wee5::pg {

namespace {

// While a name is looked up, libcurl holds two descriptors and getaddrinfo() up to two. Later there is one socket, or
// two while IPv4 and IPv6 race.
constexpr int kDescriptorsPerRequest = 4;
// The descriptors that fd.c leaves to code which opens files without it (its NUM_RESERVED_FDS), and as many again for
// the engine's epoll, the file of TLS roots and the wait set.
constexpr int64 kUnannounced = 20;
// A limit that a person sets is a multiple of this, with some room.
constexpr int64 kLimitStep = 64;
// fd.c refuses a wait set when every external descriptor is taken.
constexpr int kLeftForOthers = 8;

int64 raised_file_limit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return max_safe_fds;
  rlim_t before = limit.rlim_cur;
  if (limit.rlim_cur != limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  return limit.rlim_cur == RLIM_INFINITY ? PG_INT32_MAX : static_cast<int64>(Min(limit.rlim_cur, PG_INT32_MAX));
}

// New descriptors get the lowest free number, so that number is about how many are open.
int64 open_descriptors() {
  int lowest_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (lowest_free < 0) return kUnannounced;
  close(lowest_free);
  return lowest_free;
}

// Takes descriptors out of the share of fd.c, which then keeps fewer files open; returns how many it got.
int64 acquire_from_postgres(int64 wanted) {
  int64 acquired = 0;
  while (acquired < wanted && AcquireExternalFD()) ++acquired;
  if (acquired == wanted) return acquired;
  int64 returned = Min(acquired, kLeftForOthers);
  for (int64 i = 0; i < returned; ++i) ReleaseExternalFD();
  return acquired - returned;
}

}  // namespace

RequestCapacity reserve_request_descriptors(int wanted) {
  int64 limit = raised_file_limit();
  int64 needed = static_cast<int64>(wanted) * kDescriptorsPerRequest;
  int64 beyond_postgres = Max(limit - max_safe_fds - open_descriptors() - kUnannounced, 0);
  int64 available = beyond_postgres;
  if (available < needed) available += acquire_from_postgres(needed - available);
  int64 requests = Min(available / kDescriptorsPerRequest, wanted);
  return {static_cast<int>(Max(requests, 1)), limit};
}

int64 file_limit_for(int wanted) {
  // A server with a higher limit keeps more files open itself, up to max_files_per_process.
  int64 limit =
      max_files_per_process + open_descriptors() + kUnannounced + static_cast<int64>(wanted) * kDescriptorsPerRequest;
  return TYPEALIGN(kLimitStep, limit + kLimitStep);
}

}  // namespace wee5::pg
