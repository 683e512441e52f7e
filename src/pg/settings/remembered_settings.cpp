// What is stored for the caller, kept from one call to the next. Nobody is told of changes to pg_db_role_setting: it
// has no cache in Postgres, hence no invalidation that a library could listen to.

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
  for (StoredValue StoredSettings::*value : {&StoredSettings::api_url, &StoredSettings::cron_secret,
                                             &StoredSettings::vault_api_url, &StoredSettings::vault_cron_secret})
    for (char* StoredValue::*level :
         {&StoredValue::role_in_database, &StoredValue::role, &StoredValue::database, &StoredValue::all})
      to->*value.*level = copy_text(from->*value.*level);
}

void remember(Oid role, uint64 ended, const StoredSettings* settings) {
  if (remembered.context == nullptr)
    remembered.context = AllocSetContextCreate(TopMemoryContext, "wee5_cron stored settings", ALLOCSET_SMALL_SIZES);
  // Out of memory halfway: nothing is remembered.
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
  // With the count of before it was read: who has ended in between is noticed by the next call.
  if (!changing) remember(role, ended, settings);
}

}  // namespace wee5::pg
