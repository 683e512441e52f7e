// Checks of a request that more than one place makes.

#include "wee5_cron/pg/call/request_checks.h"

#include "wee5_cron/core/request/endpoint_path.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

constexpr int kMaxKeyBytes = 200;

}  // namespace

void check_body_bytes(Datum body) {
  // The stored size says little: a number of ten bytes can have a text of a hundred thousand digits.
  Jsonb* json = DatumGetJsonbP(body);
  char* text = JsonbToCString(nullptr, &json->root, static_cast<int>(VARSIZE(json)));
  Size bytes = strlen(to_utf8(text));
  if (bytes <= static_cast<Size>(guc_max_request_bytes)) return;
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("the body has %zu bytes, and wee5_cron.max_request_bytes allows %d", bytes, guc_max_request_bytes),
           errhint("Send only what the app needs to find the data itself, or let a superuser raise the limit: ALTER "
                   "DATABASE %s SET wee5_cron.max_request_bytes = '%zukB';",
                   quote_identifier(get_database_name(MyDatabaseId)), bytes / 1024 + 1)));
}

TimestampTz due_time(TimestampTz at) {
  static const Interval ten_years = {0, 0, 10 * MONTHS_PER_YEAR};
  TimestampTz begun = GetCurrentTransactionStartTimestamp();
  TimestampTz latest = DatumGetTimestampTz(
      DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(begun), IntervalPGetDatum(&ten_years)));
  if (TIMESTAMP_NOT_FINITE(at) || at > latest)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("at \"%s\" is out of range",
                           DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)))),
                    errhint("Give a time within the next 10 years, or leave it out to make the call at once.")));
  return Max(at, begun);
}

void check_key(const char* key) {
  if (strlen(key) <= kMaxKeyBytes) return;
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                  errmsg("the key has %zu bytes, and %d are allowed", strlen(key), kMaxKeyBytes),
                  errhint("Give a short name, such as 'trial-ends-4711'.")));
}

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
