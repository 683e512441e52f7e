#include "wee5_cron/pg/boundary/clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <ctime>
#include <limits>

namespace wee5::pg {

pgsocket open_clock_watch() {
  int watch = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (watch < 0) return PGINVALID_SOCKET;
  // A time that never comes. The kernel cancels the timer when the clock is set.
  struct itimerspec never;
  memset(&never, 0, sizeof(never));
  never.it_value.tv_sec = std::numeric_limits<time_t>::max();
  if (timerfd_settime(watch, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) == 0) return watch;
  close(watch);
  return PGINVALID_SOCKET;
}

bool clock_was_set(pgsocket watch) {
  uint64 expirations;
  return read(watch, &expirations, sizeof(expirations)) > 0 || errno == ECANCELED;
}

}  // namespace wee5::pg
