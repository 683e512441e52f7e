// Grants privileges that pg_dump carries. A grant while CREATE EXTENSION runs its script becomes part of the extension
// (pg_init_privs), so pg_dump leaves it out. A restore would run the script again, and grant to another role or to
// none.

#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

namespace {

void select_two(const char* statement, Oid second_type, Datum first, Datum second) {
  SPI_connect();
  Oid types[2] = {REGROLEOID, second_type};
  Datum values[2] = {first, second};
  int result = SPI_execute_with_args(statement, 2, types, values, nullptr, false, 0);
  if (result != SPI_OK_SELECT) elog(ERROR, "could not grant: %s", SPI_result_code_string(result));
  SPI_finish();
}

void grant_outside_script(FunctionCallInfo fcinfo, const char* statement, Oid second_type) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("neither argument may be NULL")));
  // Postgres must not know that a script runs. A GRANT creates no object that would have to belong to the extension.
  bool in_script = creating_extension;
  creating_extension = false;
  PG_TRY();
  { select_two(statement, second_type, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)); }
  PG_FINALLY();
  { creating_extension = in_script; }
  PG_END_TRY();
}

}  // namespace

// wee5_cron.grant_outside_script(role regrole, privileges text[]) -> void
WEE5_SQL_FUNCTION(wee5_cron_grant_privileges_outside_script) {
  grant_outside_script(fcinfo, "SELECT wee5_cron.grant_privileges($1, $2)", TEXTARRAYOID);
  PG_RETURN_VOID();
}

// Version 0.1.0: wee5_cron.grant_outside_script(role regrole, profile text) -> void
WEE5_SQL_FUNCTION(wee5_cron_grant_outside_script) {
  grant_outside_script(fcinfo, "SELECT wee5_cron.grant_to($1, $2)", TEXTOID);
  PG_RETURN_VOID();
}

}  // namespace wee5::pg
