// What SQL sees of the registry: the rows behind the view wee5_cron.worker.

#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/registry/worker_registry.h"

namespace wee5::pg {

namespace {

// A worker's last error may quote data of its database.
bool may_see_error_of(Oid database) {
  Oid role = GetOuterUserId();
  return database == MyDatabaseId || has_privs_of_role(role, ROLE_PG_READ_ALL_STATS) || owns_database(database, role);
}

void put_worker_slot(ReturnSetInfo* result, WorkerSlot* slot) {
  Datum values[9];
  bool nulls[9] = {};
  core::WorkerState state = state_of(slot);
  // A literal, so a NUL follows it.
  const char* state_word = core::state_name(state).data();
  values[0] = ObjectIdGetDatum(slot->database);
  values[1] = Int32GetDatum(slot->pid);
  nulls[1] = slot->pid == 0;
  values[2] = CStringGetTextDatum(state_word);
  values[3] = Int32GetDatum(static_cast<int32>(pg_atomic_read_u32(&slot->in_flight)));
  values[4] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->sent)));
  values[5] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->succeeded)));
  values[6] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&slot->failed)));
  values[7] = TimestampTzGetDatum(slot->started_at);
  nulls[7] = slot->started_at == 0;
  nulls[8] = slot->last_error[0] == '\0' || !may_see_error_of(slot->database);
  values[8] = nulls[8] ? 0 : CStringGetTextDatum(slot->last_error);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

// wee5_cron.worker_slots() -> setof record
WEE5_SQL_FUNCTION(wee5_cron_worker_slots) {
  materialized_srf(fcinfo);
  ReturnSetInfo* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  for (int i = 0; i < registry_size(); ++i) {
    WorkerSlot slot;
    // Copied under the lock; the tuple is made without it.
    LWLockAcquire(registry_lock(), LW_SHARED);
    memcpy(&slot, registry_slot(i), sizeof(slot));
    LWLockRelease(registry_lock());
    if (!OidIsValid(slot.database) || state_of(&slot) == core::WorkerState::kReserved) continue;
    put_worker_slot(result, &slot);
  }
  return static_cast<Datum>(0);
}

}  // namespace wee5::pg
