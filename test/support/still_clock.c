/*
 * For LD_PRELOAD: a date that stands still until a test moves it. It is what the eight bytes of the file named by
 * STILL_CLOCK say, in seconds since 1970. Waiting takes its time as ever: only the date is not the real one.
 *
 * A timer in the sense of timerfd_create() is a pipe into which a test writes when it sets the clock: the file of STILL_CLOCK
 * with the process id added to its name. A real one becomes readable when the kernel cancels it for the same reason.
 *
 * (libfaketime does not serve: it stands aside while a process waits, and a postmaster before 16 starts its background
 * workers in a signal handler that interrupts just that.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* seconds;
static const char* clock_file;

__attribute__((constructor)) static void open_clock(void) {
  const char* name = getenv("STILL_CLOCK");
  int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void* memory = file >= 0 ? mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  if (memory != MAP_FAILED) seconds = memory;
  if (memory != MAP_FAILED) clock_file = strdup(name);
  if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  if (seconds == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
    return (int)syscall(SYS_clock_gettime, clock, now);
  now->tv_sec = *seconds;
  now->tv_nsec = 0;
  return 0;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* now) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (now != NULL) *now = exact.tv_sec;
  return exact.tv_sec;
}

int timerfd_create(int clock, int flags) {
  char pipe[4096];
  if (seconds == NULL) return (int)syscall(SYS_timerfd_create, clock, flags);
  snprintf(pipe, sizeof pipe, "%s.%d", clock_file, (int)getpid());
  if (mkfifo(pipe, 0600) != 0 && errno != EEXIST) return -1;
  return open(pipe, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int timerfd_settime(int timer, int flags, const struct itimerspec* value, struct itimerspec* old) {
  return seconds == NULL ? (int)syscall(SYS_timerfd_settime, timer, flags, value, old) : 0;
}
