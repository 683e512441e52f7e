// The row of a call, written without a statement. Parsing aside, a one-row INSERT spends most of its time on the start
// and the end of the executor, which reads constraints, defaults and index expressions from their stored text each
// time. This file keeps them for the life of the session, as COPY keeps them for one command.
//
// They belong to one state of the table. Every ALTER TABLE, CREATE INDEX or CREATE TRIGGER sends an invalidation, which
// discards them. If the table then has anything that this file does not know, a statement writes the row.

#include "wee5_cron/pg/ledger/insert_call_directly.h"

#include "wee5_cron/pg/ledger/sql_version.h"
#include "wee5_cron/pg/ledger/table_writer.h"

namespace wee5::pg {

const GivenColumnLayout kGivenLayout[kGivenColumns] = {{"job_name", TEXTOID},
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
                                                       {"next_attempt_at", TIMESTAMPTZOID},
                                                       {"due_at", TIMESTAMPTZOID},
                                                       {"key", TEXTOID}};

namespace {

struct DirectInsert {
  MemoryContext context;  // of everything below; NULL: nothing is kept
  Oid table;
  bool stale;     // the table, an index or a schema has changed
  bool in_use;    // still set later: an ERROR ended the use, and everything here may be half made
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
  bool draws_key;  // the key's default is gen_random_uuid(), as the extension made it
};
DirectInsert kept;

// gen_random_uuid() without its cost, which is a tenth of a call's: OpenSSL's locks and its question whether the
// process was forked. So this asks it for many keys at once. The server never forks a process that has drawn any.
struct DrawnKeys {
  pg_uuid_t keys[64];
  int left;
};
DrawnKeys drawn;

const pg_uuid_t* draw_key() {
  if (drawn.left == 0) {
    if (!pg_strong_random(drawn.keys, sizeof(drawn.keys)))
      ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
    drawn.left = lengthof(drawn.keys);
  }
  pg_uuid_t* key = &drawn.keys[--drawn.left];
  // RFC 9562: version 4, and its variant.
  key->data[6] = static_cast<unsigned char>((key->data[6] & 0x0f) | 0x40);
  key->data[8] = static_cast<unsigned char>((key->data[8] & 0x3f) | 0x80);
  return key;
}

void relation_changed(Datum arg, Oid relation) {
  (void)arg;
  // Nothing is freed here: a row may just be written.
  bool ours = !OidIsValid(relation) || relation == kept.table;
  for (int i = 0; i < kept.index_count; ++i) ours = ours || relation == kept.indexes[i];
  if (ours) kept.stale = true;
}

// The schema may have been renamed.
void schema_changed(Datum arg, SystemCache cache, uint32 hash) {
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

// A user's function can be replaced, and the table gets no invalidation.
bool is_made_by_user(Oid function, void* context) {
  (void)context;
  return function >= FirstNormalObjectId;
}

bool runs_foreign_code(Node* node, void* context) {
  if (node == nullptr) return false;
  return check_functions_in_node(node, is_made_by_user, context) || walk_expression(node, runs_foreign_code, context);
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
    kept.given[i] = column_of_type(descriptor, kGivenLayout[i].name, kGivenLayout[i].type);
    const bool needed = i < kGivenDueAt || !sql_is_earlier();
    if (needed && kept.given[i] == InvalidAttrNumber) return false;
  }
  kept.id = column_of_type(descriptor, "id", INT8OID);
  kept.idempotency_key = column_of_type(descriptor, "idempotency_key", UUIDOID);
  return kept.id != InvalidAttrNumber && kept.idempotency_key != InvalidAttrNumber;
}

bool is_drawn_key(AttrNumber column, const Node* its_default) {
  return column == kept.idempotency_key && IsA(its_default, FuncExpr) &&
         reinterpret_cast<const FuncExpr*>(its_default)->funcid == F_GEN_RANDOM_UUID;
}

bool prepare_defaults(Relation relation) {
  TupleDesc descriptor = RelationGetDescr(relation);
  kept.defaults = static_cast<ExprState**>(palloc0(sizeof(ExprState*) * static_cast<Size>(descriptor->natts)));
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute column = TupleDescAttr(descriptor, i);
    if (column->attisdropped) continue;
    // A domain has constraints of its own, for a default as well.
    if (column->attgenerated != '\0' || column->attidentity != '\0' || get_typtype(column->atttypid) == TYPTYPE_DOMAIN)
      return false;
    if (is_given(column->attnum)) continue;
    Node* expression = build_column_default(relation, column->attnum);
    if (expression == nullptr) continue;
    if (runs_foreign_code(expression, nullptr)) return false;
    if (is_drawn_key(column->attnum, expression))
      kept.draws_key = true;
    else
      kept.defaults[i] = ExecPrepareExpr(reinterpret_cast<Expr*>(expression), kept.estate);
  }
  return true;
}

// Plain B-trees: other access methods may keep a state of their own between the rows of a statement.
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

// Opens the table, with `kept` made for its present state.
Relation open_ledger() {
  if (kept.context != nullptr && !kept.stale && !kept.in_use) {
    Relation relation = try_table_open(kept.table, RowExclusiveLock);
    // Taking the lock processes the invalidations that others have sent.
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
    if (kept.given[i] == InvalidAttrNumber) continue;
    slot->tts_values[kept.given[i] - 1] = values[i];
    slot->tts_isnull[kept.given[i] - 1] = nulls[i];
  }
  if (given_key == nullptr && kept.draws_key) given_key = draw_key();
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
