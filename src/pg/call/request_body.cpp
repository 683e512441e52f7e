// The body of a request, as large as it will be on the wire.

#include "wee5_cron/pg/call/request_body.h"

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

void check_body_bytes(Datum body) {
  // The stored size says little: a number of ten bytes can have a text of a hundred thousand digits.
  Jsonb* json = DatumGetJsonbP(body);
  char* text = JsonbToCString(nullptr, &json->root, static_cast<int>(VARSIZE(json)));
  Size bytes = strlen(to_utf8(text));
  if (bytes <= static_cast<Size>(guc_max_request_bytes)) return;
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("the body has %zu bytes, and wee5_cron.max_request_bytes allows %d", bytes, guc_max_request_bytes),
           errhint("Send what the app needs to find the data itself, or let a superuser raise the limit: ALTER "
                   "DATABASE %s SET wee5_cron.max_request_bytes = '%zukB';",
                   quote_identifier(get_database_name(MyDatabaseId)), bytes / 1024 + 1)));
}

}  // namespace wee5::pg
