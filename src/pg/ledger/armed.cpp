// Whether this database may make calls at all. Every call asks, so this code runs no statement, and remembers the
// answer until something may have changed.

#include "wee5_cron/pg/ledger/armed.h"

#include "wee5_cron/pg/boundary/as_owner.h"
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/ended_transactions.h"
#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/registry/wake.h"
#include "wee5_cron/pg/registry/worker_registry.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

constexpr const char* kSchema = "wee5_cron";

// What the tables wee5_cron.armed and wee5_cron.arming say.
struct Mark {
  bool valid;
  bool has_id;
  unsigned char id[kArmingIdBytes];
};

Oid table_of_ours(const char* name) {
  Oid schema = get_namespace_oid(kSchema, true);
  return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

// The newest snapshot, whatever the isolation level, because disarm() must take effect at once. A parallel worker has
// only the snapshot of its leader.
Snapshot current_snapshot() { return IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot(); }

bool are_neighbours(TransactionId one, TransactionId other) {
  TransactionId after_one = one;
  TransactionId after_other = other;
  TransactionIdAdvance(after_one);
  TransactionIdAdvance(after_other);
  return after_one == other || after_other == one;
}

// The transaction id in a row, if that transaction wrote the row. The raw xmin tells, even after the row was frozen.
TransactionId own_id(HeapTuple tuple, TupleDesc descriptor, AttrNumber column) {
  bool is_null;
  Datum named = heap_getattr(tuple, column, descriptor, &is_null);
  if (is_null) return InvalidTransactionId;
  TransactionId id = DatumGetTransactionId(named);
  return TransactionIdIsNormal(id) && HeapTupleHeaderGetRawXmin(tuple->t_data) == id ? id : InvalidTransactionId;
}

bool is_of_this_database(HeapTuple tuple, TupleDesc descriptor, AttrNumber column) {
  bool is_null;
  Datum database = heap_getattr(tuple, column, descriptor, &is_null);
  return !is_null && DatumGetObjectId(database) == MyDatabaseId;
}

// Reads the two ids of a valid mark; false if there is none. The table of version 0.1.0 has no ids: there, a row is
// enough.
bool read_ids(Oid table, Snapshot snapshot, TransactionId ids[2]) {
  AttrNumber database = get_attnum(table, "database");
  AttrNumber xid = get_attnum(table, "xid");
  if (database == InvalidAttrNumber) return false;
  Relation relation = table_open(table, AccessShareLock);
  int rows = 0;
  bool good = true;
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    if (!is_of_this_database(tuple, RelationGetDescr(relation), database)) continue;
    TransactionId id = xid == InvalidAttrNumber ? InvalidTransactionId : own_id(tuple, RelationGetDescr(relation), xid);
    if (rows < 2) ids[rows] = id;
    good = good && TransactionIdIsValid(id);
    ++rows;
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  if (xid == InvalidAttrNumber) return rows > 0;
  return good && rows == 2 && ids[0] != ids[1] && !are_neighbours(ids[0], ids[1]);
}

void read_id(Snapshot snapshot, const TransactionId ids[2], Mark* mark) {
  Oid table = table_of_ours("arming");
  if (!OidIsValid(table)) return;
  AttrNumber database = get_attnum(table, "database");
  AttrNumber xid = get_attnum(table, "xid");
  AttrNumber id = get_attnum(table, "id");
  if (database == InvalidAttrNumber || xid == InvalidAttrNumber || id == InvalidAttrNumber) return;
  Relation relation = table_open(table, AccessShareLock);
  TupleDesc descriptor = RelationGetDescr(relation);
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    TransactionId own = own_id(tuple, descriptor, xid);
    bool of_mark = TransactionIdIsValid(own) && (own == ids[0] || own == ids[1]);
    if (!of_mark || !is_of_this_database(tuple, descriptor, database)) continue;
    bool is_null;
    Datum bytes = heap_getattr(tuple, id, descriptor, &is_null);
    if (is_null) continue;
    bytea* value = DatumGetByteaPP(bytes);
    if (VARSIZE_ANY_EXHDR(value) != kArmingIdBytes) continue;
    memcpy(mark->id, VARDATA_ANY(value), kArmingIdBytes);
    mark->has_id = true;
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
}

void read_mark(Oid table, Mark* mark) {
  memset(mark, 0, sizeof(*mark));
  Snapshot snapshot = RegisterSnapshot(current_snapshot());
  TransactionId ids[2] = {InvalidTransactionId, InvalidTransactionId};
  mark->valid = read_ids(table, snapshot, ids);
  if (mark->valid) read_id(snapshot, ids, mark);
  UnregisterSnapshot(snapshot);
}

bool is_subscribed(Relation subscriptions, Snapshot snapshot, Oid table) {
  if (!OidIsValid(table)) return false;
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
  SysScanDesc scan = systable_beginscan(subscriptions, SubscriptionRelSrrelidSrsubidIndexId, true, snapshot, 1, &key);
  bool found = HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  return found;
}

bool ledger_is_subscribed() {
  Relation subscriptions = table_open(SubscriptionRelRelationId, AccessShareLock);
  bool found = false;
  // Nearly no server has a subscription: then the catalog has no page.
  if (RelationGetNumberOfBlocks(subscriptions) > 0) {
    Snapshot snapshot = RegisterSnapshot(current_snapshot());
    found = is_subscribed(subscriptions, snapshot, table_of_ours("invocation")) ||
            is_subscribed(subscriptions, snapshot, table_of_ours("attempt"));
    UnregisterSnapshot(snapshot);
  }
  table_close(subscriptions, AccessShareLock);
  return found;
}

bool setting_is(const char* name, const char* value) {
  const char* set = GetConfigOption(name, true, false);
  return set != nullptr && strcmp(set, value) == 0;
}

// pg_createsubscriber promotes a standby before it creates the subscription. In between, the server looks like any
// other primary and has the mark of the original. These settings, with which pg_createsubscriber starts it, cannot
// change while it runs.
bool is_being_converted() {
  static int known = -1;
  if (known < 0) {
    const char* lsn = GetConfigOption("recovery_target_lsn", true, false);
    known = lsn != nullptr && *lsn != '\0' && setting_is("recovery_target_action", "promote") &&
                    setting_is("max_logical_replication_workers", "0")
                ? 1
                : 0;
  }
  return known == 1;
}

// Where this session last saw a valid mark, and how many transactions had ended before.
struct SeenMark {
  Oid table;
  uint64 ended;
  Mark mark;
};
SeenMark seen;

// As call_permit(), but remembers what it reads.
CallPermit permit_of_caller() {
  if (!guc_enabled) return CallPermit::kDisabled;
  if (is_being_converted()) return CallPermit::kConverting;
  Oid table = table_of_ours("armed");
  if (!OidIsValid(table))
    return OidIsValid(get_namespace_oid(kSchema, true)) ? CallPermit::kDisarmed : CallPermit::kRenamed;
  uint64 ended = IsInParallelMode() ? 0 : ended_transactions();
  bool changing = changed_here(MyDatabaseId, table);
  if (ended != 0 && !changing && seen.table == table && seen.ended == ended) return CallPermit::kGranted;
  seen.table = InvalidOid;
  if (ledger_is_subscribed()) return CallPermit::kSubscriber;
  read_mark(table, &seen.mark);
  if (!seen.mark.valid) return CallPermit::kDisarmed;
  if (ended != 0 && !changing) {
    seen.table = table;
    seen.ended = ended;
  }
  return CallPermit::kGranted;
}

// Why there is no mark.
enum class NoMark {
  kNoRow,      // a restore from a dump, or a copy: it has another oid
  kDisarmed,   // disarm() was called
  kNotWritten  // arm() did not write the rows that are there: an ALTER TABLE, an UPDATE or logical replication did
};

NoMark why_no_mark() {
  Oid table = table_of_ours("armed");
  if (!OidIsValid(table)) return NoMark::kNoRow;
  AttrNumber database = get_attnum(table, "database");
  AttrNumber xid = get_attnum(table, "xid");
  if (database == InvalidAttrNumber || xid == InvalidAttrNumber) return NoMark::kNoRow;
  NoMark why = NoMark::kNoRow;
  Relation relation = table_open(table, AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(current_snapshot());
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    if (!is_of_this_database(tuple, RelationGetDescr(relation), database)) continue;
    bool is_null;
    Datum named = heap_getattr(tuple, xid, RelationGetDescr(relation), &is_null);
    if (!is_null && DatumGetTransactionId(named) == InvalidTransactionId)
      why = NoMark::kDisarmed;
    else if (why == NoMark::kNoRow)
      why = NoMark::kNotWritten;
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(relation, AccessShareLock);
  return why;
}

[[noreturn]] void raise_disabled() {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("wee5_cron.enabled is off: no database of this server makes calls"),
                  errhint("To switch calls on: ALTER SYSTEM SET wee5_cron.enabled = on; SELECT pg_reload_conf();")));
  pg_unreachable();
}

[[noreturn]] void raise_renamed() {
  ExtensionInfo extension;
  find_extension(kSchema, &extension);
  const char* schema = member_schema(extension.oid);
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("the schema wee5_cron was renamed, so no calls are made"),
                  schema != nullptr ? errhint("ALTER SCHEMA %s RENAME TO wee5_cron;", quote_identifier(schema))
                                    : errhint("DROP EXTENSION wee5_cron; CREATE EXTENSION wee5_cron;")));
  pg_unreachable();
}

[[noreturn]] void raise_disarmed() {
  const char* database = get_database_name(MyDatabaseId);
  switch (why_no_mark()) {
    case NoMark::kDisarmed:
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("database \"%s\" is disarmed and makes no calls", database),
                      errhint("To let it make calls again: SELECT wee5_cron.arm();")));
      break;
    case NoMark::kNotWritten:
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("somebody has changed, copied or restored wee5_cron.armed since arm(), and database "
                             "\"%s\" makes no calls",
                             database),
                      errhint("To let it make calls again: SELECT wee5_cron.arm();")));
      break;
    case NoMark::kNoRow:
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("database \"%s\" was restored from a dump or copied, and makes no calls yet", database),
                      errhint("If this database should make calls instead of the original: SELECT wee5_cron.arm();")));
  }
  pg_unreachable();
}

const char* explain_disarmed() {
  switch (why_no_mark()) {
    case NoMark::kDisarmed:
      return "disarmed: disarm() was called, so no calls are made until SELECT wee5_cron.arm()";
    case NoMark::kNotWritten:
      return "disarmed: somebody has changed, copied or restored wee5_cron.armed since arm(), so no calls are made "
             "until SELECT wee5_cron.arm()";
    case NoMark::kNoRow:
      break;
  }
  return "disarmed: the database was restored from a dump or copied, and makes no calls until SELECT wee5_cron.arm()";
}

}  // namespace

CallPermit call_permit() {
  if (!guc_enabled) return CallPermit::kDisabled;
  if (is_being_converted()) return CallPermit::kConverting;
  Oid table = table_of_ours("armed");
  if (!OidIsValid(table))
    return OidIsValid(get_namespace_oid(kSchema, true)) ? CallPermit::kDisarmed : CallPermit::kRenamed;
  if (ledger_is_subscribed()) return CallPermit::kSubscriber;
  Mark mark;
  read_mark(table, &mark);
  return mark.valid ? CallPermit::kGranted : CallPermit::kDisarmed;
}

const char* explain_permit(CallPermit permit) {
  switch (permit) {
    case CallPermit::kDisabled:
      return "disabled: wee5_cron.enabled is off, so no calls are made";
    case CallPermit::kConverting:
      return "disarmed: pg_createsubscriber is making this server a subscriber";
    case CallPermit::kRenamed:
      return "disarmed: the schema wee5_cron was renamed; rename it back";
    case CallPermit::kSubscriber:
      return "disarmed: the ledger comes from another database by logical replication; drop the subscription, then "
             "SELECT wee5_cron.arm()";
    case CallPermit::kDisarmed:
      return explain_disarmed();
    case CallPermit::kGranted:
      break;
  }
  return "";
}

void require_sender() {
  // The primary sends the calls that a standby shows, and the publisher those that a subscriber shows.
  if (RecoveryInProgress()) return;
  if (registry_calls_are_off()) raise_disabled();
  CallPermit permit = call_permit();
  if (permit == CallPermit::kDisabled || permit == CallPermit::kDisarmed) require_armed();
}

void require_armed() {
  switch (permit_of_caller()) {
    case CallPermit::kGranted:
      return;
    case CallPermit::kDisabled:
      raise_disabled();
    case CallPermit::kConverting:
      ereport(
          ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("pg_createsubscriber is making this server a subscriber, so no calls are made"),
           errhint(
               "If it is not, reset recovery_target_lsn or max_logical_replication_workers and restart the server.")));
      break;
    case CallPermit::kRenamed:
      raise_renamed();
    case CallPermit::kSubscriber:
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("database \"%s\" receives its ledger by logical replication and makes no calls",
                             get_database_name(MyDatabaseId)),
                      errhint("The publisher makes them. To let this database call instead, drop the subscription, "
                              "then: SELECT wee5_cron.arm();")));
      break;
    case CallPermit::kDisarmed:
      raise_disarmed();
  }
}

void disarm_subscriber(const ExtensionInfo* extension) {
  Oid table = table_of_ours("armed");
  if (!OidIsValid(table)) return;
  Mark mark;
  read_mark(table, &mark);
  if (!mark.valid || !ledger_is_subscribed()) return;
  const SqlVersion* sql = find_sql_version(extension->version);
  if (sql == nullptr) sql = own_sql;
  as_owner(extension->owner, [sql] { SPI_execute(sql->disarm_subscriber.text, false, 0); });
}

const unsigned char* arming_id() {
  return permit_of_caller() == CallPermit::kGranted && seen.mark.has_id ? seen.mark.id : nullptr;
}

}  // namespace wee5::pg

// wee5_cron.has_mark() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_has_mark) {
  (void)fcinfo;
  Oid table = wee5::pg::table_of_ours("armed");
  if (!OidIsValid(table)) PG_RETURN_BOOL(false);
  wee5::pg::Mark mark;
  wee5::pg::read_mark(table, &mark);
  PG_RETURN_BOOL(mark.valid);
}

// wee5_cron.is_armed() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_is_armed) {
  (void)fcinfo;
  Oid table = wee5::pg::table_of_ours("armed");
  if (!OidIsValid(table) || wee5::pg::ledger_is_subscribed()) PG_RETURN_BOOL(false);
  wee5::pg::Mark mark;
  wee5::pg::read_mark(table, &mark);
  PG_RETURN_BOOL(mark.valid);
}

// wee5_cron.may_call() -> boolean
WEE5_SQL_FUNCTION(wee5_cron_may_call) {
  (void)fcinfo;
  PG_RETURN_BOOL(wee5::pg::call_permit() == wee5::pg::CallPermit::kGranted);
}

// wee5_cron.wake_worker() -> void
WEE5_SQL_FUNCTION(wee5_cron_wake_worker) {
  (void)fcinfo;
  wee5::pg::wake_worker_at_commit();
  PG_RETURN_VOID();
}
