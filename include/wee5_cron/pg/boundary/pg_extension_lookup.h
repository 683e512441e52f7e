#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// An extension as it stands in this database's catalog.
struct ExtensionInfo {
  Oid oid;  // InvalidOid: not installed
  Oid owner;
  Oid schema;
  char version[NAMEDATALEN];
};
void find_extension(const char* name, ExtensionInfo* info);

// True where pg_depend says that the object belongs to the extension. A schema, table or function of the same name
// that somebody else made is never touched.
bool belongs_to_extension(Oid catalog, Oid object, Oid extension);

// The present name of the schema that the extension made; NULL where there is none.
const char* member_schema(Oid extension);

// The relation schema.name where it belongs to the extension; else InvalidOid.
Oid relation_of_extension(const char* schema, const char* name, Oid extension);

// A function schema.name of the extension; InvalidOid where there is none. *foreign: somebody else made a function of
// that name there, which a call by name might reach.
Oid function_of_extension(const char* schema, const char* name, Oid extension, bool* foreign);

// The table of wee5_cron of that name; InvalidOid where the extension or the table is not there.
Oid own_table(const char* name);

}  // namespace wee5::pg
