// _PG_init(): what happens when the server loads the library.

#include "wee5_cron/core/request/version.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/hooks/hooks.h"
#include "wee5_cron/pg/registry/ended_calls.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/app_setting_rights.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/log_redaction.h"
#include "wee5_cron/pg/worker/launcher.h"

extern "C" {
#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "wee5_cron", .version = wee5::core::kVersion);
#else
PG_MODULE_MAGIC;
#endif
PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {
  // Also during pg_upgrade: without the definitions, the stored settings would be placeholders there.
  wee5::pg::define_settings();
  if (IsBinaryUpgrade) return;
  wee5::pg::install_object_access_hook();
  wee5::pg::install_log_redaction();
  if (!process_shared_preload_libraries_in_progress) return;
  wee5::pg::install_wake();
  wee5::pg::install_utility_hook();
  wee5::pg::install_app_setting_hint();
  wee5::pg::install_registry();
  wee5::pg::install_ended_calls();
  wee5::pg::register_launcher();
}
