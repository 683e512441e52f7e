// Whether calls are made at all: the table wee5_cron.armed names the database that may. It is looked at for every call,
// without a statement, and not again while nothing can have changed.

#include "wee5_cron/pg/armed.h"

#include "wee5_cron/pg/boundary.h"
#include "wee5_cron/pg/ended_transactions.h"
#include "wee5_cron/pg/wake.h"

namespace wee5::pg {

namespace {

Oid armed_table() {
  Oid schema = get_namespace_oid("wee5_cron", true);
  return OidIsValid(schema) ? get_relname_relid("armed", schema) : InvalidOid;
}

bool names_this_database(Oid table) {
  Relation relation = table_open(table, AccessShareLock);
  bool armed = false;
  // A heap scan: there is a row, or two where the database was copied.
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, GetActiveSnapshot(), 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple) && !armed; tuple = systable_getnext(scan)) {
    bool is_null;
    Datum database = heap_getattr(tuple, 1, RelationGetDescr(relation), &is_null);
    armed = !is_null && DatumGetObjectId(database) == MyDatabaseId;
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  return armed;
}

// Where a caller has seen the mark, and how many transactions had ended before.
struct SeenMark {
  Oid table;
  uint64 ended;
};
SeenMark seen = {InvalidOid, 0};

bool still_armed() {
  Oid table = armed_table();
  if (!OidIsValid(table)) return false;
  uint64 ended = ended_transactions();
  bool changing = changed_here(MyDatabaseId, table);
  if (ended != 0 && !changing && seen.table == table && seen.ended == ended) return true;
  bool armed = names_this_database(table);
  if (armed && !changing) seen = {table, ended};
  return armed;
}

}  // namespace

// Also in parallel workers, where nothing can be remembered.
bool database_is_armed() {
  Oid table = armed_table();
  return OidIsValid(table) && names_this_database(table);
}

void require_armed() {
  if (still_armed()) return;
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("database \"%s\" was restored from a dump or copied, and makes no calls yet",
                  get_database_name(MyDatabaseId)),
           errhint("If it is to call the app in place of the one that it was made from: SELECT wee5_cron.arm();")));
}

}  // namespace wee5::pg

// wee5_cron.is_armed() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_is_armed) {
  (void)fcinfo;
  PG_RETURN_BOOL(wee5::pg::database_is_armed());
}

// wee5_cron.wake_worker() -> void
WEE5_SQL_FUNCTION(wee5_cron_wake_worker) {
  (void)fcinfo;
  wee5::pg::wake_worker_at_commit();
  PG_RETURN_VOID();
}
