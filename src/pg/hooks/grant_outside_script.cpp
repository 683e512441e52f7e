// Grants privileges that pg_dump carries. A grant while CREATE EXTENSION runs its script becomes part of the extension
// (pg_init_privs), so pg_dump leaves it out. A restore would run the script again, and grant to another role or to
// none.

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
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("role and profile must not be NULL")));
  // Postgres must not know that a script runs. A GRANT creates no object that would have to belong to the extension.
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
