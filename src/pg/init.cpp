// Loading the library.

#include "wee5_cron/pg/ended_calls.h"
#include "wee5_cron/pg/guc.h"
#include "wee5_cron/pg/hooks.h"
#include "wee5_cron/pg/launcher.h"
#include "wee5_cron/pg/wake.h"
#include "wee5_cron/pg/worker_registry.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {
  // Also in pg_upgrade: without the definitions the stored settings would be placeholders there.
  wee5::pg::define_settings();
  if (IsBinaryUpgrade) return;
  wee5::pg::install_object_access_hook();
  if (!process_shared_preload_libraries_in_progress) return;
  wee5::pg::install_wake();
  wee5::pg::install_utility_hook();
  wee5::pg::install_registry();
  wee5::pg::install_ended_calls();
  wee5::pg::register_launcher();
}
