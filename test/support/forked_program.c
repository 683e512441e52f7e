/*
 * For LD_PRELOAD: a program that waits for orders before its main function, and forks itself for each one. To link a
 * program like psql takes ten times as long as to fork it.
 *
 * An order on standard input is a number of bytes in a line, then so many bytes: strings that each end with a zero byte.
 * They are the directory, the files of standard input, output and error, the number of arguments, the arguments, the
 * environment. The answer on standard output is what waitpid() says of the fork, in a line.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int main_function(int, char**, char**);

static main_function* program;

static void redirect(int descriptor, const char* name, int flags) {
  int file = open(name, flags, 0600);
  if (file < 0 || dup2(file, descriptor) < 0) {
    perror(name);
    _exit(127);
  }
  close(file);
}

/* The string at *next, which is then behind it. */
static char* take(char** next) {
  char* string = *next;
  *next += strlen(string) + 1;
  return string;
}

static int obey(char* next, char* end) {
  const char* directory = take(&next);
  if (chdir(directory) != 0) {
    perror(directory);
    _exit(127);
  }
  redirect(STDIN_FILENO, take(&next), O_RDONLY);
  redirect(STDOUT_FILENO, take(&next), O_WRONLY | O_CREAT | O_TRUNC);
  redirect(STDERR_FILENO, take(&next), O_WRONLY | O_CREAT | O_TRUNC);
  int count = atoi(take(&next));
  char** arguments = calloc((size_t)count + 1, sizeof *arguments);
  char** variables = calloc((size_t)(end - next) + 1, sizeof *variables);
  if (arguments == NULL || variables == NULL) abort();
  for (int i = 0; i < count; i++) arguments[i] = take(&next);
  for (int i = 0; next < end; i++) variables[i] = take(&next);
  environ = variables;
  return program(count, arguments, variables);
}

static int wait_for_orders(int count, char** arguments, char** variables) {
  FILE* orders = fdopen(dup(STDIN_FILENO), "re");
  size_t length = 0;
  (void)count, (void)arguments, (void)variables;
  while (orders != NULL && fscanf(orders, "%zu", &length) == 1 && fgetc(orders) == '\n') {
    char* order = malloc(length);
    if (order == NULL || fread(order, 1, length, orders) != length) abort();
    pid_t child = fork();
    if (child == 0) exit(obey(order, order + length));
    free(order);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    printf("%d\n", status);
    fflush(stdout);
  }
  return 0;
}

int __libc_start_main(main_function* main, int count, char** arguments, void (*begin)(void), void (*end)(void), void (*end_of_linker)(void), void* stack) {
  int (*start)(main_function*, int, char**, void (*)(void), void (*)(void), void (*)(void), void*) = dlsym(RTLD_NEXT, "__libc_start_main");
  program = main;
  return start(wait_for_orders, count, arguments, begin, end, end_of_linker, stack);
}
