/*
 * For LD_PRELOAD: names whose addresses a test can change while a server runs. The file named by MOVING_NAMES has a
 * line "NAME ADDRESS PORT" for each; the port stands in for the one that is asked for, so that several servers of one
 * machine can be at the same name. Every other name is looked up as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

typedef int (*Lookup)(const char*, const char*, const struct addrinfo*, struct addrinfo**);

int getaddrinfo(const char* restrict node, const char* restrict service, const struct addrinfo* restrict hints,
                struct addrinfo** restrict result) {
  Lookup real = (Lookup)dlsym(RTLD_NEXT, "getaddrinfo");
  const char* path = getenv("MOVING_NAMES");
  FILE* file = path != NULL && node != NULL ? fopen(path, "re") : NULL;
  char name[256], address[64], port[16];
  int moved = 0;
  if (file == NULL) return real(node, service, hints, result);
  while (!moved && fscanf(file, "%255s %63s %15s", name, address, port) == 3) moved = strcasecmp(name, node) == 0;
  fclose(file);
  return moved ? real(address, port, hints, result) : real(node, service, hints, result);
}
