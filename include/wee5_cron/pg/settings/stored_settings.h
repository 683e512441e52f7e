#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// One setting as ALTER DATABASE and ALTER ROLE stored it, palloc'd; NULL: not stored at that level.
struct StoredValue {
  char* role_in_database;
  char* role;
  char* database;
  char* all;
};

// Blank (only white space) is unset.
bool is_blank(const char* text);
bool is_set(const StoredValue* value);

// The settings that are stored for a role in this database.
struct StoredSettings {
  StoredValue api_url;      // UTF-8
  StoredValue cron_secret;  // UTF-8
  // UTF-8; what core::read_previous_secret() reads. The previous secret counts at the level of the secret itself.
  StoredValue previous_secret;
  StoredValue targets;  // UTF-8; what core::Targets reads
  // Names of secrets in Vault, in the server's encoding.
  StoredValue vault_api_url;
  StoredValue vault_cron_secret;
};

// Reads pg_db_role_setting as it is committed now, whatever the session or its snapshot saw before. `role` InvalidOid:
// only what is stored for all roles. Needs a transaction, and does not work in parallel mode.
void read_stored_settings(Oid role, StoredSettings* settings);
// The same, but reads the catalog only if something may have changed since this session read it last.
void current_stored_settings(Oid role, StoredSettings* settings);
// The same, as of a snapshot.
void read_stored_settings_at(Snapshot snapshot, Oid role, StoredSettings* settings);

// Is called for one "name=value" of pg_db_role_setting. InvalidOid: it is stored for all databases, or for all roles.
using StoredEntryVisitor = void (*)(Oid database, Oid role, const char* name, const char* value, void* arg);
// Visits every entry that concerns this database, of all roles.
void visit_stored_entries(StoredEntryVisitor visit, void* arg);

// The settings of a worker. The session of a background worker sees what ALTER DATABASE stores only when it connects,
// so the worker starts from settings_of_process() and reads the stored values itself.
struct WorkerSettings {
  int request_timeout_ms;
  int connect_timeout_ms;
  int max_in_flight;
  int max_response_bytes;
  int keep_succeeded_min;  // -1: for ever
  int keep_failed_min;
  int alert_repeat_ms;  // 0: never
  char allow_plain_http[2048];
  int trace;  // core::Trace
  char ca_file[MAXPGPATH];
  char alert_url[2048];  // a secret
  char proxy[1024];      // may hold one
};
void settings_of_process(WorkerSettings* settings);
// Replaces what is stored for this database, or for all.
void apply_stored_worker_settings(WorkerSettings* settings);

}  // namespace wee5::pg
