#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// An extension's row in the catalog of this database.
struct ExtensionInfo {
  Oid oid;  // InvalidOid: not installed in this database
  Oid owner;
  Oid schema;
  char version[NAMEDATALEN];
};
void find_extension(const char* name, ExtensionInfo* info);

// Whether pg_depend says that the object belongs to the extension. Code must not touch an object that somebody else
// made under the same name.
bool belongs_to_extension(Oid catalog, Oid object, Oid extension);

// The name of the schema that the extension's script created, also after a rename; NULL if there is none.
const char* member_schema(Oid extension);

// The relation schema.name if it belongs to the extension; else InvalidOid.
Oid relation_of_extension(const char* schema, const char* name, Oid extension);

// A function schema.name of the extension; InvalidOid if there is none. *foreign: the schema also has a function of
// that name that is not the extension's, which a call by name might reach.
Oid function_of_extension(const char* schema, const char* name, Oid extension, bool* foreign);

// The table of wee5_cron of that name; InvalidOid where the extension or the table is not there.
Oid own_table(const char* name);

}  // namespace wee5::pg
