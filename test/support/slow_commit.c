/*
 * A library for shared_preload_libraries, by its path: the commit of a session rests for slow_commit.rest milliseconds
 * after the callbacks of the libraries behind it in the list, and before it invalidates what other processes remember.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void _PG_init(void);

static int rest_ms = 0;

static void rest(XactEvent event, void* arg) {
  (void)arg;
  if (event == XACT_EVENT_COMMIT && rest_ms > 0) pg_usleep(rest_ms * 1000L);
}

void _PG_init(void) {
  DefineCustomIntVariable("slow_commit.rest", "The rest of a commit", NULL, &rest_ms, 0, 0, 60000, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
  RegisterXactCallback(rest, NULL);
}
