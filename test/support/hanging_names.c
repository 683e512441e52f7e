// For LD_PRELOAD: a lookup of a name that ends in .hangs.internal never returns. Other lookups work as usual.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int (*lookup)(const char*, const char*, const struct addrinfo*, struct addrinfo**);

int getaddrinfo(const char* name, const char* service, const struct addrinfo* hints, struct addrinfo** found) {
  static const char hanging[] = ".hangs.internal";
  size_t length = name ? strlen(name) : 0;

  if (length >= sizeof(hanging) - 1 && strcmp(name + length - (sizeof(hanging) - 1), hanging) == 0)
    for (;;) pause();
  return ((lookup)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
