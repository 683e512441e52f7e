// A row of the ledger, written without a statement. Parsing aside, most of what a one-row INSERT costs is the
// executor's start and end: constraints, defaults and index expressions are read from their stored text each time. Here
// they are kept for the life of the session, as COPY keeps them for one command.
//
// What the session keeps belongs to one state of the table: an invalidation of the table or of one of its indexes,
// which follows every ALTER TABLE, CREATE INDEX, CREATE TRIGGER ..., throws it away. It may then have to be a
// statement: whatever the table has beyond what this file knows to do itself is left to the executor.

#include "wee5_cron/pg/ledger/direct_insert.h"

namespace wee5::pg {

const GivenColumn kGivenColumn[kGivenColumns] = {{"job_name", TEXTOID},
                                                 {"endpoint_path", TEXTOID},
                                                 {"method", TEXTOID},
                                                 {"body", JSONBOID},
                                                 {"headers", JSONBOID},
                                                 {"url", TEXTOID},
                                                 {"transport", TEXTOID},
                                                 {"status", TEXTOID},
                                                 {"reason", TEXTOID},
                                                 {"error", TEXTOID},
                                                 {"hint", TEXTOID},
                                                 {"scheduled_at", TIMESTAMPTZOID},
                                                 {"finished_at", TIMESTAMPTZOID},
                                                 {"timeout", INTERVALOID},
                                                 {"exclusive", TEXTOID},
                                                 {"next_attempt_at", TIMESTAMPTZOID}};

namespace {

struct DirectInsert {
  MemoryContext context;  // of everything below; NULL: nothing is kept
  Oid table;
  bool stale;     // the table, an index or a schema has changed
  bool in_use;    // left standing: an ERROR ended the use, and what is kept may be half made
  bool possible;  // false: the table needs a statement
  EState* estate;
  ResultRelInfo* target;
  TupleTableSlot* slot;
  int index_count;
  Oid* indexes;
  ExprState** defaults;  // a column's; NULL: none, or the caller gives the value
  AttrNumber given[kGivenColumns];
  AttrNumber id;
  AttrNumber idempotency_key;
};
DirectInsert kept;

void relation_changed(Datum arg, Oid relation) {
  (void)arg;
  // Nothing is freed here: the row may be on its way in.
  bool ours = !OidIsValid(relation) || relation == kept.table;
  for (int i = 0; i < kept.index_count; ++i) ours = ours || relation == kept.indexes[i];
  if (ours) kept.stale = true;
}

// The schema may have got another name.
void schema_changed(Datum arg, int cache, uint32 hash) {
  (void)arg;
  (void)cache;
  (void)hash;
  kept.stale = true;
}

void listen_to_changes() {
  static bool listening = false;
  if (listening) return;
  listening = true;
  CacheRegisterRelcacheCallback(relation_changed, 0);
  CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, 0);
}

void forget_kept() {
  MemoryContext context = kept.context;
  memset(&kept, 0, sizeof(kept));
  if (context != nullptr) MemoryContextDelete(context);
}

// Functions that a user made can be replaced without the table hearing of it.
bool is_made_by_user(Oid function, void* context) {
  (void)context;
  return function >= FirstNormalObjectId;
}

bool runs_foreign_code(Node* node, void* context) {
  if (node == nullptr) return false;
  return check_functions_in_node(node, is_made_by_user, context) || walk_expression(node, runs_foreign_code, context);
}

bool has_insert_trigger(const TriggerDesc* triggers) {
  return triggers != nullptr && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
                                 triggers->trig_insert_instead_row || triggers->trig_insert_before_statement ||
                                 triggers->trig_insert_after_statement || triggers->trig_insert_new_table);
}

bool is_plain_table(Relation relation) {
  Form_pg_class form = relation->rd_rel;
  if (form->relkind != RELKIND_RELATION || form->relispartition || form->relrowsecurity || form->relforcerowsecurity ||
      relation->rd_rules != nullptr || has_insert_trigger(relation->trigdesc))
    return false;
  const TupleConstr* constraints = RelationGetDescr(relation)->constr;
  if (constraints == nullptr) return true;
  for (int i = 0; i < constraints->num_check; ++i)
    if (runs_foreign_code(static_cast<Node*>(stringToNode(constraints->check[i].ccbin)), nullptr)) return false;
  return true;
}

AttrNumber column_of_type(TupleDesc descriptor, const char* name, Oid type) {
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute column = TupleDescAttr(descriptor, i);
    if (!column->attisdropped && column->atttypid == type && column->atttypmod == -1 &&
        strcmp(NameStr(column->attname), name) == 0)
      return column->attnum;
  }
  return InvalidAttrNumber;
}

bool is_given(AttrNumber column) {
  for (AttrNumber given : kept.given)
    if (given == column) return true;
  return false;
}

bool find_columns(TupleDesc descriptor) {
  for (int i = 0; i < kGivenColumns; ++i) {
    kept.given[i] = column_of_type(descriptor, kGivenColumn[i].name, kGivenColumn[i].type);
    if (kept.given[i] == InvalidAttrNumber) return false;
  }
  kept.id = column_of_type(descriptor, "id", INT8OID);
  kept.idempotency_key = column_of_type(descriptor, "idempotency_key", UUIDOID);
  return kept.id != InvalidAttrNumber && kept.idempotency_key != InvalidAttrNumber;
}

bool prepare_defaults(Relation relation) {
  TupleDesc descriptor = RelationGetDescr(relation);
  kept.defaults = static_cast<ExprState**>(palloc0(sizeof(ExprState*) * static_cast<Size>(descriptor->natts)));
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute column = TupleDescAttr(descriptor, i);
    if (column->attisdropped) continue;
    // A domain has constraints of its own, also for what is not given.
    if (column->attgenerated != '\0' || column->attidentity != '\0' || get_typtype(column->atttypid) == TYPTYPE_DOMAIN)
      return false;
    if (is_given(column->attnum)) continue;
    Node* expression = build_column_default(relation, column->attnum);
    if (expression == nullptr) continue;
    if (runs_foreign_code(expression, nullptr)) return false;
    kept.defaults[i] = ExecPrepareExpr(reinterpret_cast<Expr*>(expression), kept.estate);
  }
  return true;
}

// B-trees without more to them; other access methods may keep something of their own between the rows of a statement.
bool is_plain_index(Relation index, const IndexInfo* info) {
  return index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indimmediate && info->ii_ExclusionOps == nullptr &&
         !runs_foreign_code(reinterpret_cast<Node*>(info->ii_Expressions), nullptr) &&
         !runs_foreign_code(reinterpret_cast<Node*>(info->ii_Predicate), nullptr);
}

void close_indexes() {
  // The locks stay, as the table's does: the next row finds them already held.
  for (int i = 0; i < kept.index_count; ++i) index_close(kept.target->ri_IndexRelationDescs[i], NoLock);
}

bool prepare_indexes() {
  ExecOpenIndices(kept.target, false);
  int count = kept.target->ri_NumIndices;
  bool plain = true;
  kept.indexes = static_cast<Oid*>(palloc0(sizeof(Oid) * static_cast<Size>(Max(count, 1))));
  for (int i = 0; i < count; ++i) {
    kept.indexes[i] = RelationGetRelid(kept.target->ri_IndexRelationDescs[i]);
    plain = plain && is_plain_index(kept.target->ri_IndexRelationDescs[i], kept.target->ri_IndexRelationInfo[i]);
  }
  kept.index_count = count;
  close_indexes();
  return plain;
}

void prepare(Relation relation) {
  kept.table = RelationGetRelid(relation);
  kept.in_use = true;
  kept.context = AllocSetContextCreate(CacheMemoryContext, "wee5_cron direct insert", ALLOCSET_DEFAULT_SIZES);
  MemoryContext old = MemoryContextSwitchTo(kept.context);
  kept.estate = CreateExecutorState();
  kept.target = makeNode(ResultRelInfo);
  InitResultRelInfo(kept.target, relation, 0, nullptr, 0);
  // A copy: the relation's own descriptor is counted by resource owners, which end with the transaction.
  kept.slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(relation)), table_slot_callbacks(relation));
  kept.possible = is_plain_table(relation) && find_columns(RelationGetDescr(relation)) && prepare_defaults(relation) &&
                  prepare_indexes();
  MemoryContextSwitchTo(old);
  kept.in_use = false;
}

// Opens the ledger, with what is kept of it as it is now.
Relation open_ledger() {
  if (kept.context != nullptr && !kept.stale && !kept.in_use) {
    Relation relation = try_table_open(kept.table, RowExclusiveLock);
    // What others have changed is heard of when the lock is taken.
    if (relation != nullptr && !kept.stale) return relation;
    if (relation != nullptr) table_close(relation, NoLock);
  }
  forget_kept();
  listen_to_changes();
  Relation relation = table_openrv(makeRangeVar(pstrdup("wee5_cron"), pstrdup("invocation"), -1), RowExclusiveLock);
  prepare(relation);
  return relation;
}

bool may_insert() {
  constexpr AclMode kNeeded = ACL_INSERT | ACL_SELECT;
  return pg_class_aclmask(kept.table, GetUserId(), kNeeded, ACLMASK_ALL) == kNeeded;
}

void open_indexes() {
  for (int i = 0; i < kept.index_count; ++i)
    kept.target->ri_IndexRelationDescs[i] = index_open(kept.indexes[i], RowExclusiveLock);
}

// In the memory of one row.
void fill_slot(const Datum* values, const bool* nulls, const pg_uuid_t* given_key) {
  TupleTableSlot* slot = kept.slot;
  ExprContext* context = GetPerTupleExprContext(kept.estate);
  for (int i = 0; i < slot->tts_tupleDescriptor->natts; ++i) {
    slot->tts_values[i] = 0;
    slot->tts_isnull[i] = true;
    if (kept.defaults[i] != nullptr)
      slot->tts_values[i] = ExecEvalExprSwitchContext(kept.defaults[i], context, &slot->tts_isnull[i]);
  }
  for (int i = 0; i < kGivenColumns; ++i) {
    slot->tts_values[kept.given[i] - 1] = values[i];
    slot->tts_isnull[kept.given[i] - 1] = nulls[i];
  }
  if (given_key != nullptr) {
    slot->tts_values[kept.idempotency_key - 1] = PointerGetDatum(given_key);
    slot->tts_isnull[kept.idempotency_key - 1] = false;
  }
  ExecStoreVirtualTuple(slot);
}

void insert_slot(Relation relation) {
  TupleTableSlot* slot = kept.slot;
  slot->tts_tableOid = kept.table;
  if (RelationGetDescr(relation)->constr != nullptr) ExecConstraints(kept.target, slot, kept.estate);
  table_tuple_insert(relation, slot, GetCurrentCommandId(true), 0, nullptr);
  if (kept.index_count > 0) insert_index_tuples(kept.target, slot, kept.estate);
}

}  // namespace

bool insert_invocation_directly(const Datum* values, const bool* nulls, const pg_uuid_t* given_key, int64* id,
                                pg_uuid_t* idempotency_key) {
  Relation relation = open_ledger();
  if (!kept.possible || !may_insert()) {
    table_close(relation, NoLock);
    return false;
  }
  PreventCommandIfReadOnly("INSERT");
  PreventCommandIfParallelMode("INSERT");

  kept.in_use = true;
  kept.target->ri_RelationDesc = relation;
  open_indexes();
  ResetPerTupleExprContext(kept.estate);
  MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(kept.estate));
  fill_slot(values, nulls, given_key);
  bool has_id = !kept.slot->tts_isnull[kept.id - 1];
  if (has_id) *id = DatumGetInt64(kept.slot->tts_values[kept.id - 1]);
  if (!kept.slot->tts_isnull[kept.idempotency_key - 1])
    *idempotency_key = *DatumGetUUIDP(kept.slot->tts_values[kept.idempotency_key - 1]);
  insert_slot(relation);
  ExecClearTuple(kept.slot);
  MemoryContextSwitchTo(old);
  close_indexes();
  table_close(relation, NoLock);
  kept.in_use = false;
  return true;
}

}  // namespace wee5::pg
