// Keeps the stored settings of the caller from one call to the next. Postgres has no cache for pg_db_role_setting, so
// it sends no invalidation message when it changes. Instead, the count of ended transactions tells whether it can have
// changed.

#include <initializer_list>
// Postgres's headers last.
#include "wee5_cron/pg/boundary/ended_transactions.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

namespace {

struct Remembered {
  MemoryContext context;  // of the texts; NULL: none yet
  Oid role;
  uint64 ended;  // as of when it was read; 0: not to be used
  StoredSettings settings;
};
Remembered remembered;

char* copy_text(const char* text) { return text != nullptr ? pstrdup(text) : nullptr; }

// In the current memory context.
void copy_settings(StoredSettings* to, const StoredSettings* from) {
  for (StoredValue StoredSettings::*value :
       {&StoredSettings::api_url, &StoredSettings::cron_secret, &StoredSettings::previous_secret,
        &StoredSettings::targets, &StoredSettings::vault_api_url, &StoredSettings::vault_cron_secret})
    for (char* StoredValue::*level :
         {&StoredValue::role_in_database, &StoredValue::role, &StoredValue::database, &StoredValue::all})
      to->*value.*level = copy_text(from->*value.*level);
}

void remember(Oid role, uint64 ended, const StoredSettings* settings) {
  if (remembered.context == nullptr)
    remembered.context = AllocSetContextCreate(TopMemoryContext, "wee5_cron stored settings", ALLOCSET_SMALL_SIZES);
  // If memory runs out halfway, nothing is remembered.
  remembered.ended = 0;
  MemoryContextReset(remembered.context);
  MemoryContext old = MemoryContextSwitchTo(remembered.context);
  copy_settings(&remembered.settings, settings);
  MemoryContextSwitchTo(old);
  remembered.role = role;
  remembered.ended = ended;
}

}  // namespace

void current_stored_settings(Oid role, StoredSettings* settings) {
  uint64 ended = ended_transactions();
  bool changing = changed_here(InvalidOid, DbRoleSettingRelationId);
  if (ended != 0 && !changing && remembered.ended == ended && remembered.role == role) {
    copy_settings(settings, &remembered.settings);
    return;
  }
  read_stored_settings(role, settings);
  // The count is from before the read: the next call notices transactions that ended in between.
  if (!changing) remember(role, ended, settings);
}

}  // namespace wee5::pg
