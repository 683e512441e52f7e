// Privileges that a dump carries. What is granted while CREATE EXTENSION runs its script becomes part of the extension
// (pg_init_privs): pg_dump leaves it out, and the script that is run by a restore grants it to somebody else, if at
// all.

#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

namespace {

void grant_to(Datum role, Datum profile) {
  SPI_connect();
  Oid types[2] = {REGROLEOID, TEXTOID};
  Datum values[2] = {role, profile};
  int result = SPI_execute_with_args("SELECT wee5_cron.grant_to($1, $2)", 2, types, values, nullptr, false, 0);
  if (result != SPI_OK_SELECT) elog(ERROR, "could not grant: %s", SPI_result_code_string(result));
  SPI_finish();
}

}  // namespace

// wee5_cron.grant_outside_script(role regrole, profile text) -> void
WEE5_SQL_FUNCTION(wee5_cron_grant_outside_script) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("role or profile is NULL")));
  // A GRANT makes no object that would have to become a member of the extension.
  bool in_script = creating_extension;
  creating_extension = false;
  PG_TRY();
  { grant_to(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)); }
  PG_FINALLY();
  { creating_extension = in_script; }
  PG_END_TRY();
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
