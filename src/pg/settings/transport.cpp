#include "wee5_cron/pg/settings/transport.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/boundary/quiet_statements.h"
#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

namespace {

// pg_net's worker serves one database. This reads the process table, because pg_stat_activity hides other users' rows
// from users who are not superusers.
bool pg_net_worker_lives() {
  int count = pgstat_fetch_stat_numbackends();
  for (int i = 1; i <= count; ++i) {
    PgBackendStatus* status = backend_status(i);
    if (status == nullptr || status->st_procpid <= 0 || status->st_backendType != B_BG_WORKER) continue;
    if (status->st_databaseid != MyDatabaseId) continue;
    const char* type = GetBackgroundWorkerTypeByPid(status->st_procpid);
    if (type != nullptr && strstr(type, "pg_net") != nullptr) return true;
  }
  return false;
}

// A function of pg_net; InvalidOid if there is none. Raises if the schema net has an overload that somebody else
// created: it could be called with the bearer.
Oid pg_net_function(const char* name, Oid extension) {
  bool foreign;
  Oid found = function_of_extension("net", name, extension, &foreign);
  if (foreign)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the function net.%s(...) does not belong to the extension pg_net", name),
                    errdetail("wee5_cron would pass the bearer secret to it."),
                    errhint("Drop the function that is not pg_net's, or: ALTER DATABASE %s SET wee5_cron.transport = "
                            "'builtin';",
                            quote_identifier(get_database_name(MyDatabaseId)))));
  return found;
}

bool function_has_argument(Oid function, const char* argument) {
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is_null;
  bool has = false;
  Datum names = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargnames, &is_null);
  if (!is_null) {
    Datum* entries;
    int count;
    deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false, TYPALIGN_INT, &entries, nullptr, &count);
    for (int i = 0; i < count; ++i) has = has || strcmp(TextDatumGetCString(entries[i]), argument) == 0;
  }
  ReleaseSysCache(tuple);
  return has;
}

// The function that sends such a request; NULL if there is none. pg_net has none for PUT, PATCH and HEAD; older
// versions send no body with DELETE.
const char* pg_net_function_name(const char* method, bool has_body, Oid extension) {
  const char* name = strcmp(method, "GET") == 0      ? "http_get"
                     : strcmp(method, "POST") == 0   ? "http_post"
                     : strcmp(method, "DELETE") == 0 ? "http_delete"
                                                     : nullptr;
  if (name == nullptr) return nullptr;
  Oid function = pg_net_function(name, extension);
  if (!OidIsValid(function) || (has_body && !function_has_argument(function, "body"))) return nullptr;
  return name;
}

// A policy counts also while row security is off: switching it on does not wait for the lock that is held here.
bool has_policy(Oid table) {
  Relation relation = table_open(PolicyRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
  SysScanDesc scan = systable_beginscan(relation, PolicyPolrelidPolnameIndexId, true, nullptr, 1, &key);
  bool found = HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  return found;
}

// Locks the table first, so that nobody can add a trigger, rule or policy until the transaction ends.
void refuse_tampered_queue(Oid extension) {
  Oid queue = relation_of_extension("net", "http_request_queue", extension);
  if (!OidIsValid(queue))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the table net.http_request_queue does not belong to the extension pg_net"),
                    errhint("Reinstall pg_net, or: ALTER DATABASE %s SET wee5_cron.transport = 'builtin';",
                            quote_identifier(get_database_name(MyDatabaseId)))));
  Relation relation = table_open(queue, RowExclusiveLock);
  // relhastriggers and relhasrules stay true after the last trigger or rule is dropped, so look at what the relation
  // cache built from the catalog.
  bool has_trigger = relation->trigdesc != nullptr;
  bool has_rule = relation->rd_rules != nullptr;
  bool has_policies = relation->rd_rel->relrowsecurity || has_policy(queue);
  table_close(relation, NoLock);
  if (!has_trigger && !has_rule && !has_policies) return;
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("net.http_request_queue has a %s", has_trigger ? "trigger"
                                                     : has_rule  ? "rule"
                                                                 : "policy"),
           errdetail("It would run with the rights of the extension's owner and see the bearer secret. pg_net lets "
                     "every role create triggers there."),
           errhint("Look at \\d net.http_request_queue and drop it, or: ALTER DATABASE %s SET wee5_cron.transport "
                   "= 'builtin';",
                   quote_identifier(get_database_name(MyDatabaseId)))));
}

[[noreturn]] void raise_not_preloaded() {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("the builtin transport needs wee5_cron in shared_preload_libraries"),
                  errhint("Add it to postgresql.conf and restart the server, e.g. shared_preload_libraries = "
                          "'pg_cron,wee5_cron'; or install pg_net in this database.")));
  pg_unreachable();
}

}  // namespace

void find_pg_net(PgNetInfo* info) {
  info->extension = InvalidOid;
  info->worker_lives = false;
  // pg_net's objects are in the schema net. Schemas are cached, extensions are not: a missing schema is the cheaper
  // answer.
  AcceptInvalidationMessages();
  if (!OidIsValid(get_namespace_oid("net", true))) return;
  ExtensionInfo extension;
  find_extension("pg_net", &extension);
  info->extension = extension.oid;
  info->worker_lives = OidIsValid(extension.oid) && pg_net_worker_lives();
}

Transport choose_transport(const char* method, bool has_body) {
  PgNetInfo pg_net = {InvalidOid, false};
  if (guc_transport != kTransportBuiltin) find_pg_net(&pg_net);
  if (guc_transport == kTransportPgNet) {
    if (!OidIsValid(pg_net.extension))
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("wee5_cron.transport is pg_net, but pg_net is not installed in this database"),
                      errhint("CREATE EXTENSION pg_net; or: ALTER DATABASE %s SET wee5_cron.transport = 'auto';",
                              quote_identifier(get_database_name(MyDatabaseId)))));
    if (pg_net_function_name(method, has_body, pg_net.extension) == nullptr)
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                      errmsg("pg_net cannot send %s%s", method, has_body ? " with a body" : ""),
                      errhint("With wee5_cron.transport = 'auto', such calls use the builtin transport.")));
    return kTransportPgNet;
  }
  if (pg_net.worker_lives && pg_net_function_name(method, has_body, pg_net.extension) != nullptr)
    return kTransportPgNet;
  if (!registry_exists()) raise_not_preloaded();
  return kTransportBuiltin;
}

int64 enqueue_with_pg_net(const PgNetRequest* request) {
  ExtensionInfo extension;
  find_extension("pg_net", &extension);
  refuse_tampered_queue(extension.oid);
  bool has_body = request->body != 0;
  const char* name = pg_net_function_name(request->method, has_body, extension.oid);
  if (name == nullptr)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the installed pg_net has no function for %s", request->method),
                    errhint("ALTER EXTENSION pg_net UPDATE;")));

  char* statement = psprintf("SELECT net.%s(url := $1, headers := $2, timeout_milliseconds := $3%s)", name,
                             has_body ? ", body := $4" : "");
  Oid types[4] = {TEXTOID, JSONBOID, INT4OID, JSONBOID};
  Datum values[4] = {CStringGetTextDatum(from_utf8(request->url)),
                     JsonbPGetDatum(jsonb_from_headers(&request->headers)), Int32GetDatum(request->timeout_ms),
                     request->body};
  // The values hold the bearer.
  int nest_level = NewGUCNestLevel();
  silence_statements();
  SPI_connect();
  int result = SPI_execute_with_args(statement, has_body ? 4 : 3, types, values, nullptr, false, 1);
  bool is_null = true;
  int64 request_id = 0;
  if (result == SPI_OK_SELECT && SPI_processed == 1) {
    Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    if (!is_null) request_id = DatumGetInt64(value);
  }
  SPI_finish();
  AtEOXact_GUC(true, nest_level);
  if (is_null)
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("net.%s returned no request id", name)));
  return request_id;
}

// wee5_cron.refuse_tampered_queue() -> void
WEE5_SQL_FUNCTION(wee5_cron_refuse_tampered_queue) {
  (void)fcinfo;
  ExtensionInfo extension;
  find_extension("pg_net", &extension);
  refuse_tampered_queue(extension.oid);
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
