// Settings of pg_cron, for SQL that runs as an extension owner who may not look at them.

#include <cstring>

#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

namespace {

// The owner could ask for any setting here, and some of them hold secrets.
bool may_be_told(const char* name) {
  return strncmp(name, "cron.", 5) == 0 || strcmp(name, "shared_preload_libraries") == 0;
}

// Any role may SET a name with a dot. It is a setting only where a library has defined it.
bool is_defined(const char* name) { return (GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) == 0; }

}  // namespace

// wee5_cron.server_setting(name text) -> text
WEE5_SQL_FUNCTION(wee5_cron_server_setting) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  const char* name = text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (!may_be_told(name))
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("\"%s\" is not a setting of pg_cron", name)));
  const char* value = is_defined(name) ? GetConfigOption(name, true, false) : nullptr;
  if (value == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(value));
}

}  // namespace wee5::pg
