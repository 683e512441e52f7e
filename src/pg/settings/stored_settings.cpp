// Reads pg_db_role_setting: the settings that ALTER DATABASE and ALTER ROLE stored.

#include "wee5_cron/pg/settings/stored_settings.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

using EntryVisitor = void (*)(const char* name, const char* value, void* arg);

// Calls `visit` for each "name=value" in a row of pg_db_role_setting.
void visit_row(HeapTuple row, Relation relation, EntryVisitor visit, void* arg) {
  bool is_null;
  Datum config = heap_getattr(row, Anum_pg_db_role_setting_setconfig, RelationGetDescr(relation), &is_null);
  if (is_null) return;
  Datum* entries;
  int count;
  deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &entries, nullptr, &count);
  for (int i = 0; i < count; ++i) {
    char* entry = TextDatumGetCString(entries[i]);
    char* equals = strchr(entry, '=');
    if (equals == nullptr) continue;
    *equals = '\0';
    visit(entry, equals + 1, arg);
  }
}

// Calls `visit` for each "name=value" stored for the pair (database, role); InvalidOid: for all databases, or all
// roles.
void visit_entries(Relation relation, Snapshot snapshot, Oid database, Oid role, EntryVisitor visit, void* arg) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(database));
  ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
  SysScanDesc scan = systable_beginscan(relation, DbRoleSettingDatidRolidIndexId, true, snapshot, 2, keys);
  for (HeapTuple row = systable_getnext(scan); HeapTupleIsValid(row); row = systable_getnext(scan))
    visit_row(row, relation, visit, arg);
  systable_endscan(scan);
}

// Where the values of one row go.
struct AppTarget {
  char** api_url;
  char** cron_secret;
  char** previous_secret;
  char** targets;
  char** vault_api_url;
  char** vault_cron_secret;
};

void keep_app_setting(const char* name, const char* value, void* arg) {
  AppTarget* target = static_cast<AppTarget*>(arg);
  if (pg_strcasecmp(name, kApiUrlSetting) == 0) *target->api_url = to_utf8_lossy(pstrdup(value));
  if (pg_strcasecmp(name, kCronSecretSetting) == 0) *target->cron_secret = to_utf8_lossy(pstrdup(value));
  if (pg_strcasecmp(name, kPreviousSecretSetting) == 0) *target->previous_secret = to_utf8_lossy(pstrdup(value));
  if (pg_strcasecmp(name, kTargetsSetting) == 0) *target->targets = to_utf8_lossy(pstrdup(value));
  if (pg_strcasecmp(name, kVaultApiUrlSetting) == 0) *target->vault_api_url = pstrdup(value);
  if (pg_strcasecmp(name, kVaultCronSecretSetting) == 0) *target->vault_cron_secret = pstrdup(value);
}

// The values stored for a pair (database, role) belong to its level of each setting; InvalidOid: for all.
AppTarget target_of(StoredSettings* settings, Oid database, Oid role) {
  char* StoredValue::*for_all = OidIsValid(database) ? &StoredValue::database : &StoredValue::all;
  char* StoredValue::*for_role = OidIsValid(database) ? &StoredValue::role_in_database : &StoredValue::role;
  char* StoredValue::*level = OidIsValid(role) ? for_role : for_all;
  return {&(settings->api_url.*level), &(settings->cron_secret.*level),   &(settings->previous_secret.*level),
          &(settings->targets.*level), &(settings->vault_api_url.*level), &(settings->vault_cron_secret.*level)};
}

void read_by_index(Relation relation, Snapshot snapshot, Oid database, Oid role, StoredSettings* settings) {
  AppTarget target = target_of(settings, database, role);
  visit_entries(relation, snapshot, database, role, keep_app_setting, &target);
}

// On a busy server every call reads these settings. A scan of so small a table costs less than four index lookups.
constexpr BlockNumber kFewPages = 4;

void read_whole_table(Relation relation, Snapshot snapshot, Oid role, StoredSettings* settings) {
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    Form_pg_db_role_setting form = reinterpret_cast<Form_pg_db_role_setting>(GETSTRUCT(tuple));
    if (OidIsValid(form->setdatabase) && form->setdatabase != MyDatabaseId) continue;
    if (OidIsValid(form->setrole) && form->setrole != role) continue;
    AppTarget target = target_of(settings, form->setdatabase, form->setrole);
    visit_row(tuple, relation, keep_app_setting, &target);
  }
  systable_endscan(scan);
}

struct NumberSetting {
  const char* name;
  int WorkerSettings::*value;
  int unit;
  IntBounds bounds;
};
const NumberSetting number_settings[] = {
    {"wee5_cron.request_timeout", &WorkerSettings::request_timeout_ms, GUC_UNIT_MS, kTimeoutBounds},
    {"wee5_cron.connect_timeout", &WorkerSettings::connect_timeout_ms, GUC_UNIT_MS, kTimeoutBounds},
    {"wee5_cron.max_in_flight", &WorkerSettings::max_in_flight, 0, kMaxInFlightBounds},
    {"wee5_cron.max_response_bytes", &WorkerSettings::max_response_bytes, GUC_UNIT_BYTE, kMaxResponseBytesBounds},
    {"wee5_cron.keep_succeeded", &WorkerSettings::keep_succeeded_min, GUC_UNIT_MIN, kKeepBounds},
    {"wee5_cron.keep_failed", &WorkerSettings::keep_failed_min, GUC_UNIT_MIN, kKeepBounds},
    {"wee5_cron.alert_repeat", &WorkerSettings::alert_repeat_ms, GUC_UNIT_MS, kAlertRepeatBounds}};

// Nobody checked a value that was stored while the library was not loaded. If it is out of bounds, Postgres warns each
// session and ignores it. So does the worker.
bool keep_number(const char* name, const char* value, WorkerSettings* settings) {
  for (const NumberSetting& setting : number_settings) {
    if (pg_strcasecmp(name, setting.name) != 0) continue;
    const char* hint = nullptr;
    int number;
    if (parse_int(value, &number, setting.unit, &hint) && number >= setting.bounds.least &&
        number <= setting.bounds.most)
      settings->*setting.value = number;
    return true;
  }
  return false;
}

// Ignores a text that does not fit: half of an address or of a file name is worse than none.
void keep_text(const char* value, char* target, Size size) {
  if (strlen(value) < size) strlcpy(target, value, size);
}

void keep_worker_setting(const char* name, const char* value, void* arg) {
  WorkerSettings* settings = static_cast<WorkerSettings*>(arg);
  int number;
  if (keep_number(name, value, settings)) return;
  if (pg_strcasecmp(name, "wee5_cron.allow_plain_http") == 0)
    keep_text(value, settings->allow_plain_http, sizeof(settings->allow_plain_http));
  else if (pg_strcasecmp(name, "wee5_cron.trace") == 0 && parse_trace(value, &number))
    settings->trace = number;
  else if (pg_strcasecmp(name, "wee5_cron.ca_file") == 0)
    keep_text(value, settings->ca_file, sizeof(settings->ca_file));
  else if (pg_strcasecmp(name, kAlertUrlSetting) == 0)
    keep_text(value, settings->alert_url, sizeof(settings->alert_url));
  else if (pg_strcasecmp(name, kProxySetting) == 0)
    keep_text(value, settings->proxy, sizeof(settings->proxy));
}

}  // namespace

bool is_blank(const char* text) {
  if (text == nullptr) return true;
  while (*text == ' ' || (*text >= '\t' && *text <= '\r')) ++text;
  return *text == '\0';
}

bool is_set(const StoredValue* value) {
  return !is_blank(value->role_in_database) || !is_blank(value->role) || !is_blank(value->database) ||
         !is_blank(value->all);
}

void read_stored_settings_at(Snapshot snapshot, Oid role, StoredSettings* settings) {
  memset(settings, 0, sizeof(*settings));
  Relation relation = table_open(DbRoleSettingRelationId, AccessShareLock);
  if (RelationGetNumberOfBlocks(relation) <= kFewPages) {
    read_whole_table(relation, snapshot, role, settings);
  } else {
    read_by_index(relation, snapshot, InvalidOid, InvalidOid, settings);
    read_by_index(relation, snapshot, MyDatabaseId, InvalidOid, settings);
    if (OidIsValid(role)) {
      read_by_index(relation, snapshot, InvalidOid, role, settings);
      read_by_index(relation, snapshot, MyDatabaseId, role, settings);
    }
  }
  table_close(relation, AccessShareLock);
}

void read_stored_settings(Oid role, StoredSettings* settings) {
  // The catalog snapshot could be stale: no invalidation message announces a change of this table, and a session that
  // already holds the table's lock reads no messages when it takes it again.
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  read_stored_settings_at(snapshot, role, settings);
  UnregisterSnapshot(snapshot);
}

namespace {

struct EntryOfRow {
  StoredEntryVisitor visit;
  void* arg;
  Oid database;
  Oid role;
};

void pass_with_row(const char* name, const char* value, void* arg) {
  EntryOfRow* row = static_cast<EntryOfRow*>(arg);
  row->visit(row->database, row->role, name, value, row->arg);
}

}  // namespace

void visit_stored_entries(StoredEntryVisitor visit, void* arg) {
  Relation relation = table_open(DbRoleSettingRelationId, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan = systable_beginscan(relation, DbRoleSettingDatidRolidIndexId, true, snapshot, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    Form_pg_db_role_setting form = reinterpret_cast<Form_pg_db_role_setting>(GETSTRUCT(tuple));
    if (OidIsValid(form->setdatabase) && form->setdatabase != MyDatabaseId) continue;
    EntryOfRow row = {visit, arg, form->setdatabase, form->setrole};
    visit_row(tuple, relation, pass_with_row, &row);
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(relation, AccessShareLock);
}

void settings_of_process(WorkerSettings* settings) {
  settings->request_timeout_ms = guc_request_timeout;
  settings->connect_timeout_ms = guc_connect_timeout;
  settings->max_in_flight = guc_max_in_flight;
  settings->max_response_bytes = guc_max_response_bytes;
  settings->keep_succeeded_min = guc_keep_succeeded;
  settings->keep_failed_min = guc_keep_failed;
  settings->alert_repeat_ms = guc_alert_repeat;
  strlcpy(settings->allow_plain_http, guc_allow_plain_http, sizeof(settings->allow_plain_http));
  settings->trace = guc_trace;
  strlcpy(settings->ca_file, guc_ca_file != nullptr ? guc_ca_file : "", sizeof(settings->ca_file));
  strlcpy(settings->proxy, guc_proxy != nullptr ? guc_proxy : "", sizeof(settings->proxy));
  strlcpy(settings->alert_url, guc_alert_url != nullptr ? guc_alert_url : "", sizeof(settings->alert_url));
}

void apply_stored_worker_settings(WorkerSettings* settings) {
  Relation relation = table_open(DbRoleSettingRelationId, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  visit_entries(relation, snapshot, InvalidOid, InvalidOid, keep_worker_setting, settings);
  visit_entries(relation, snapshot, MyDatabaseId, InvalidOid, keep_worker_setting, settings);
  UnregisterSnapshot(snapshot);
  table_close(relation, AccessShareLock);
}

}  // namespace wee5::pg
