// The worker's part of alerts; sql/common/42_alerts.sql has the rules.

#include "wee5_cron/pg/worker/alerts.h"

#include "wee5_cron/core/request/alert_receiver.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/ledger/sql_version.h"

namespace wee5::pg {

namespace {

SPIPlanPtr trouble_plan = nullptr;
SPIPlanPtr note_plan = nullptr;
SPIPlanPtr repeat_plan = nullptr;

bool something_fails() {
  SPIPlanPtr plan =
      kept_plan(&trouble_plan, "SELECT 1 FROM wee5_cron.trouble WHERE kind = 'failing' LIMIT 1", 0, nullptr);
  execute_plan(plan, nullptr, nullptr, SPI_OK_SELECT);
  return SPI_processed > 0;
}

}  // namespace

bool note_outcomes(const delivery::Result* results, int count) {
  Datum* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(count)));
  int failed = 0;
  bool succeeded = false;
  for (int i = 0; i < count; ++i) {
    if (results[i].outcome.succeeded)
      succeeded = true;
    else if (results[i].retry_at_us == 0)
      ids[failed++] = Int64GetDatum(results[i].id);
  }
  int noted = failed;
  // A success ends a series of failures, which may lie in this very batch.
  if (succeeded && (failed > 0 || something_fails()))
    for (int i = 0; i < count; ++i)
      if (results[i].outcome.succeeded) ids[noted++] = Int64GetDatum(results[i].id);
  if (noted == 0) return false;
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {eight_byte_array(ids, noted, INT8OID)};
  select_row(kept_plan(&note_plan, "SELECT wee5_cron.note_outcomes($1)", 1, types), values, nullptr);
  bool is_null;
  return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

namespace {

// Records again the alerts of troubles that last. Returns when the next one is due; 0: none.
int64 repeat_alerts(int every_ms) {
  if (every_ms == 0 || database_sql != own_sql) return 0;
  const char* statement = "SELECT wee5_cron.repeat_alerts(pg_catalog.make_interval(secs => $1 / 1000.0))";
  Oid types[1] = {INT4OID};
  Datum values[1] = {Int32GetDatum(every_ms)};
  select_row(kept_plan(&repeat_plan, statement, 1, types), values, nullptr);
  bool none;
  Datum next = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &none);
  return none ? 0 : DatumGetTimestampTz(next);
}

}  // namespace

int64 send_alerts(const WorkerSettings* process_settings, int* every_ms) {
  WorkerSettings settings = *process_settings;
  apply_stored_worker_settings(&settings);
  *every_ms = settings.alert_repeat_ms;
  int64 next_us = repeat_alerts(settings.alert_repeat_ms);
  Oid types[1] = {BOOLOID};
  Datum values[1] = {BoolGetDatum(!is_blank(settings.alert_url))};
  VersionedStatement* statement = &database_sql->send_alerts;
  select_row(kept_plan(&statement->plan, statement->text, 1, types), values, nullptr);
  return next_us;
}

// wee5_cron.alert_receiver() -> text
WEE5_SQL_FUNCTION(wee5_cron_alert_receiver) {
  (void)fcinfo;
  WorkerSettings settings;
  settings_of_process(&settings);
  apply_stored_worker_settings(&settings);
  if (is_blank(settings.alert_url)) PG_RETURN_NULL();
  const char* name = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const delivery::ApiUrl origin =
            delivery::parse_api_url(delivery::parse_webhook(settings.alert_url, "on").origin, "on");
        name = core::alert_receiver_name(core::alert_receiver_of(origin.host));
      }))
    // The call itself will say what is wrong with it.
    PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(name));
}

}  // namespace wee5::pg
