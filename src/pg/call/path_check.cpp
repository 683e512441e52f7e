// wee5_cron.check_endpoint_path(): a path by the rules of a call, before there is one.

#include "wee5_cron/core/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

// wee5_cron.check_endpoint_path(endpoint_path text) -> text
WEE5_SQL_FUNCTION(wee5_cron_check_endpoint_path) {
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("endpoint_path must not be NULL"),
                    errhint("Give the path of the route, e.g. '/api/cron/poll-activities'.")));
  text* path = PG_GETARG_TEXT_PP(0);
  const char* utf8 = to_utf8(text_to_cstring(path));
  CppFailure failure;
  if (!run_cpp(&failure, [&] { core::check_endpoint_path(utf8); })) raise(&failure);
  PG_RETURN_TEXT_P(path);
}

}  // namespace wee5::pg
