#pragma once

// Postgres's headers, and every difference between PostgreSQL 14 and 19 that matters here. Include this last: no
// standard or curl header may follow it, because postgres.h redefines snprintf and others, and defines macros such as
// ERROR, LOG, Min and Max.

extern "C" {
#include "postgres.h"
//
#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_tablespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "pgtime.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM >= 190000
#include "utils/tuplestore.h"
#endif
}

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 200000
#error "wee5_cron is made for PostgreSQL 14 to 19"
#endif

namespace wee5::pg {

// PostgreSQL 15 and newer have a hook for requests of shared memory; 14 takes them in _PG_init().
using SharedMemoryRequestHook = void (*)();

// Installs `request`, and returns the hook that it must call first, if there is one.
inline SharedMemoryRequestHook on_shared_memory_request(SharedMemoryRequestHook request) {
#if PG_VERSION_NUM >= 150000
  SharedMemoryRequestHook previous = shmem_request_hook;
  shmem_request_hook = request;
  return previous;
#else
  request();
  return nullptr;
#endif
}

// CreateWaitEventSet() takes a memory context up to 16, and a resource owner from 17 on. The set lives as long as the
// process.
inline WaitEventSet* create_wait_event_set(int nevents) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, nevents);
#else
  return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

// What pg_stat_activity.wait_event shows while a process waits. Extensions can name their own events from 17 on.
inline uint32 wait_event(const char* name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

inline bool owns_database(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, role);
#else
  return pg_database_ownercheck(database, role);
#endif
}

// Whether the role may run ALTER DATABASE ... SET for a SUSET setting. Before 15 only superusers may.
inline bool may_set_parameter(const char* name, Oid role) {
#if PG_VERSION_NUM >= 150000
  return superuser_arg(role) || pg_parameter_aclcheck(name, role, ACL_SET) == ACLCHECK_OK;
#else
  (void)name;
  return superuser_arg(role);
#endif
}

// The parse tree of a string constant.
inline A_Const* string_constant(char* text) {
  A_Const* constant = makeNode(A_Const);
#if PG_VERSION_NUM >= 150000
  constant->val.sval.type = T_String;
  constant->val.sval.sval = text;
#else
  constant->val.type = T_String;
  constant->val.val.str = text;
#endif
  constant->location = -1;
  return constant;
}

inline bool may_create_database(Oid role) {
  HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
  bool may = false;
  if (HeapTupleIsValid(tuple)) {
    Form_pg_authid form = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple));
    may = form->rolsuper || form->rolcreatedb;
    ReleaseSysCache(tuple);
  }
  return may;
}

// guc.c frees the `extra` of a check hook: with free() up to 15, from its own memory context later.
inline void* guc_extra_alloc(std::size_t size) {
#if PG_VERSION_NUM >= 160000
  return guc_malloc(LOG, size);
#else
  return malloc(size);
#endif
}

inline void guc_extra_free(void* memory) {
#if PG_VERSION_NUM >= 160000
  guc_free(memory);
#else
  free(memory);
#endif
}

// The record of a setting; NULL if there is none.
inline config_generic* setting_record(const char* name) {
#if PG_VERSION_NUM >= 160000
  return find_option(name, false, true, ERROR);
#else
  for (int i = 0; i < GetNumConfigOptions(); ++i)
    if (pg_strcasecmp(get_guc_variables()[i]->name, name) == 0) return get_guc_variables()[i];
  return nullptr;
#endif
}

inline void reserve_guc_prefix(const char* prefix) {
#if PG_VERSION_NUM >= 150000
  MarkGUCPrefixReserved(prefix);
#else
  EmitWarningsOnPlaceholders(prefix);
#endif
}

// The oldest transaction whose commit status Postgres still knows.
inline TransactionId oldest_clog_xid() {
#if PG_VERSION_NUM >= 170000
  return TransamVariables->oldestClogXid;
#else
  return ShmemVariableCache->oldestClogXid;
#endif
}

// How many transactions that wrote something have ended since the server started. Every new snapshot has this number;
// this function needs none. It takes no lock, so a transaction that ends right now may be counted a moment later.
inline uint64 transactions_ended() {
#if PG_VERSION_NUM >= 170000
  return TransamVariables->xactCompletionCount;
#else
  return ShmemVariableCache->xactCompletionCount;
#endif
}

// Makes backend_status() read the current state the next time.
inline void forget_backend_statuses() {
#if PG_VERSION_NUM >= 150000
  pgstat_clear_backend_activity_snapshot();
#else
  pgstat_clear_snapshot();
#endif
}

inline PgBackendStatus* backend_status(int index) {
#if PG_VERSION_NUM >= 160000
  LocalPgBackendStatus* local = pgstat_get_local_beentry_by_index(index);
  return local != nullptr ? &local->backendStatus : nullptr;
#else
  return pgstat_fetch_stat_beentry(index);
#endif
}

// Whether the procedure that calls this may COMMIT. 14 has the exact answer only in later minor releases. There, this
// does not notice a function that calls the procedure, and the COMMIT itself raises.
inline bool commit_is_possible() {
#if PG_VERSION_NUM >= 150000
  return SPI_inside_nonatomic_context();
#else
  return !IsTransactionBlock() && !IsSubTransaction();
#endif
}

inline XLogRecPtr log_flushed_to() {
#if PG_VERSION_NUM >= 150000
  return GetFlushRecPtr(nullptr);
#else
  return GetFlushRecPtr();
#endif
}

inline IndexScanDesc begin_index_scan(Relation heap, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 190000
  return index_beginscan(heap, index, snapshot, nullptr, keys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
  return index_beginscan(heap, index, snapshot, nullptr, keys, 0);
#else
  return index_beginscan(heap, index, snapshot, keys, 0);
#endif
}

inline TableScanDesc begin_table_scan(Relation relation, Snapshot snapshot) {
#if PG_VERSION_NUM >= 190000
  return table_beginscan(relation, snapshot, 0, nullptr, SO_NONE);
#else
  return table_beginscan(relation, snapshot, 0, nullptr);
#endif
}

// Which index entries the new version of a row needs. A heap-only update needs none. From 16 on, an update can be
// heap-only although it changes columns of summarizing indexes (BRIN); those need new entries.
enum class NewIndexEntries { kNone, kSummaries, kAll };

inline bool is_summarizing(const IndexInfo* info) {
#if PG_VERSION_NUM >= 160000
  return info->ii_Summarizing;
#else
  (void)info;
  return false;
#endif
}

// Updates a row as the snapshot sees it. Returns false if another transaction has locked or changed it. Never waits.
inline bool update_unless_locked(Relation relation, ItemPointer row, TupleTableSlot* changed, Snapshot snapshot,
                                 NewIndexEntries* entries) {
  TM_FailureData failure;
  LockTupleMode mode;
#if PG_VERSION_NUM >= 160000
  TU_UpdateIndexes indexes = TU_None;
#else
  bool indexes = false;
#endif
#if PG_VERSION_NUM >= 190000
  TM_Result result = table_tuple_update(relation, row, changed, GetCurrentCommandId(true), 0, snapshot, InvalidSnapshot,
                                        false, &failure, &mode, &indexes);
#else
  TM_Result result = table_tuple_update(relation, row, changed, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
                                        false, &failure, &mode, &indexes);
#endif
#if PG_VERSION_NUM >= 160000
  *entries = indexes == TU_None          ? NewIndexEntries::kNone
             : indexes == TU_Summarizing ? NewIndexEntries::kSummaries
                                         : NewIndexEntries::kAll;
#else
  *entries = indexes ? NewIndexEntries::kAll : NewIndexEntries::kNone;
#endif
  return result == TM_Ok;
}

inline void finish_index_inserts(Relation index, IndexInfo* info) {
#if PG_VERSION_NUM >= 170000
  index_insert_cleanup(index, info);
#else
  (void)index;
  (void)info;
#endif
}

inline Oid primary_key_index(Relation relation) {
#if PG_VERSION_NUM >= 180000
  return RelationGetPrimaryKeyIndex(relation, false);
#else
  return RelationGetPrimaryKeyIndex(relation);
#endif
}

// expression_tree_walker(). Up to 15, its declaration is one that only C can call.
inline bool walk_expression(Node* node, bool (*walker)(Node*, void*), void* context) {
#if PG_VERSION_NUM >= 160000
  return expression_tree_walker(node, walker, context);
#else
  // The cast to void (*)() in between tells compilers that the mismatch is intended.
  return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
#endif
}

// From 18 on, a generated column may also be virtual: Postgres computes it when it is read, and stores nothing.
inline bool has_generated_columns(const TupleConstr* constraints) {
#if PG_VERSION_NUM >= 180000
  if (constraints->has_generated_virtual) return true;
#endif
  return constraints->has_generated_stored;
}

// A bigint[] or timestamptz[]. On 32-bit platforms a Datum has four bytes, so these elements are passed by reference.
inline Datum eight_byte_array(Datum* values, int count, Oid element_type) {
  return PointerGetDatum(construct_array(values, count, element_type, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

// Adds the index entries of a row that was just inserted.
inline void insert_index_tuples(ResultRelInfo* target, TupleTableSlot* slot, EState* estate) {
#if PG_VERSION_NUM >= 190000
  ExecInsertIndexTuples(target, estate, 0, slot, NIL, nullptr);
#elif PG_VERSION_NUM >= 160000
  ExecInsertIndexTuples(target, slot, estate, false, false, nullptr, NIL, false);
#else
  ExecInsertIndexTuples(target, slot, estate, false, false, nullptr, NIL);
#endif
}

// Whether this transaction holds the table's lock in exactly this mode. `database`: InvalidOid for a catalog that all
// databases share.
inline bool holds_lock(Oid database, Oid relation, LOCKMODE mode) {
  LOCKTAG tag;
  SET_LOCKTAG_RELATION(tag, database, relation);
#if PG_VERSION_NUM >= 170000
  return LockHeldByMe(&tag, mode, false);
#else
  return LockHeldByMe(&tag, mode);
#endif
}

// The type that a callback of the system cache gets for the cache.
#if PG_VERSION_NUM >= 190000
using SystemCache = SysCacheIdentifier;
#else
using SystemCache = int;
#endif

// A JSON object that is being built.
struct JsonObject {
#if PG_VERSION_NUM >= 190000
  JsonbInState state;
#else
  JsonbParseState* state;
#endif
};

inline void begin_json_object(JsonObject* object) {
  memset(object, 0, sizeof(*object));
  pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, nullptr);
}

inline void add_to_json_object(JsonObject* object, JsonbValue* name, JsonbValue* value) {
  pushJsonbValue(&object->state, WJB_KEY, name);
  pushJsonbValue(&object->state, WJB_VALUE, value);
}

inline Jsonb* end_json_object(JsonObject* object) {
#if PG_VERSION_NUM >= 190000
  pushJsonbValue(&object->state, WJB_END_OBJECT, nullptr);
  return JsonbValueToJsonb(object->state.result);
#else
  return JsonbValueToJsonb(pushJsonbValue(&object->state, WJB_END_OBJECT, nullptr));
#endif
}

inline void materialized_srf(FunctionCallInfo fcinfo) {
#if PG_VERSION_NUM >= 150000
  InitMaterializedSRF(fcinfo, 0);
#else
  ReturnSetInfo* rsinfo = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  TupleDesc descriptor;
  if (rsinfo == nullptr || !IsA(rsinfo, ReturnSetInfo) || (rsinfo->allowedModes & SFRM_Materialize) == 0)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("set-valued function called in context that cannot accept a set")));
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  MemoryContext old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
  rsinfo->setResult = tuplestore_begin_heap(true, false, work_mem);
  rsinfo->setDesc = CreateTupleDescCopy(descriptor);
  rsinfo->returnMode = SFRM_Materialize;
  MemoryContextSwitchTo(old);
#endif
}

}  // namespace wee5::pg
