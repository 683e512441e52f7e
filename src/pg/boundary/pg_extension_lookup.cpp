#include "wee5_cron/pg/boundary/pg_extension_lookup.h"

namespace wee5::pg {

void find_extension(const char* name, ExtensionInfo* info) {
  memset(info, 0, sizeof(*info));
  Relation relation = table_open(ExtensionRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
  SysScanDesc scan = systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  if (HeapTupleIsValid(tuple)) {
    Form_pg_extension form = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
    info->oid = form->oid;
    info->owner = form->extowner;
    info->schema = form->extnamespace;
    bool is_null;
    Datum version = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
    if (!is_null) strlcpy(info->version, TextDatumGetCString(version), sizeof(info->version));
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
}

bool belongs_to_extension(Oid catalog, Oid object, Oid extension) {
  return OidIsValid(object) && OidIsValid(extension) && getExtensionOfObject(catalog, object) == extension;
}

const char* member_schema(Oid extension) {
  if (!OidIsValid(extension)) return nullptr;
  const char* found = nullptr;
  Relation relation = table_open(DependRelationId, AccessShareLock);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(ExtensionRelationId));
  ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
  SysScanDesc scan = systable_beginscan(relation, DependReferenceIndexId, true, nullptr, 2, keys);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple); tuple = systable_getnext(scan)) {
    Form_pg_depend form = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
    if (form->classid == NamespaceRelationId && form->deptype == DEPENDENCY_EXTENSION)
      found = get_namespace_name(form->objid);
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  return found;
}

Oid relation_of_extension(const char* schema, const char* name, Oid extension) {
  Oid schema_oid = get_namespace_oid(schema, true);
  if (!OidIsValid(schema_oid)) return InvalidOid;
  Oid relation = get_relname_relid(name, schema_oid);
  return belongs_to_extension(RelationRelationId, relation, extension) ? relation : InvalidOid;
}

Oid own_table(const char* name) {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  return relation_of_extension("wee5_cron", name, extension.oid);
}

Oid function_of_extension(const char* schema, const char* name, Oid extension, bool* foreign) {
  *foreign = false;
  Oid schema_oid = get_namespace_oid(schema, true);
  if (!OidIsValid(schema_oid)) return InvalidOid;
  Oid found = InvalidOid;
  CatCList* list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
  for (int i = 0; i < list->n_members; ++i) {
    Form_pg_proc form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(&list->members[i]->tuple));
    if (form->pronamespace != schema_oid) continue;
    if (belongs_to_extension(ProcedureRelationId, form->oid, extension))
      found = form->oid;
    else
      *foreign = true;
  }
  ReleaseCatCacheList(list);
  return found;
}

}  // namespace wee5::pg
