/*
 * For LD_PRELOAD: a date that stands still until a test moves it. It is what the eight bytes of the file named by
 * STILL_CLOCK say, in seconds since 1970. Waiting takes its time as ever: only the date is not the real one.
 *
 * (libfaketime does not serve: it stands aside while a process waits, and a postmaster before 16 starts its background
 * workers in a signal handler that interrupts just that.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* seconds;

__attribute__((constructor)) static void open_clock(void) {
  const char* name = getenv("STILL_CLOCK");
  int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void* memory = file >= 0 ? mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  if (memory != MAP_FAILED) seconds = memory;
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
