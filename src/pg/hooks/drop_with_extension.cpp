// Lets DROP EXTENSION drop an object that is not a member of the extension. For schemas, SQL has no statement that does
// it.

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"

extern "C" {
#include "catalog/dependency.h"
}

namespace wee5::pg {

// wee5_cron.drop_with_extension(catalog regclass, object oid) -> void
WEE5_SQL_FUNCTION(wee5_cron_drop_with_extension) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("neither argument may be NULL")));
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  ObjectAddress object;
  ObjectAddress owner;
  ObjectAddressSet(object, PG_GETARG_OID(0), PG_GETARG_OID(1));
  ObjectAddressSet(owner, ExtensionRelationId, extension.oid);
  // A second record would do no harm, but would stay for ever.
  deleteDependencyRecordsForSpecific(object.classId, object.objectId, DEPENDENCY_AUTO_EXTENSION, owner.classId,
                                     owner.objectId);
  recordDependencyOn(&object, &owner, DEPENDENCY_AUTO_EXTENSION);
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
