// Who may set app.settings.*, which other programs set in their sessions, too.

#include <initializer_list>
// Postgres's headers last.
#include "wee5_cron/pg/settings/app_setting_rights.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

emit_log_hook_type next_hook = nullptr;

constexpr const char* kHintWhereOpen =
    "A stored value decides where the secret goes. A superuser can allow it: GRANT SET ON PARAMETER "
    "app.settings.api_url, app.settings.cron_secret, app.settings.cron_secret_previous, app.settings.cron_targets TO "
    "the "
    "role.";
constexpr const char* kHintWhereProtected =
    "This setting decides where wee5_cron sends the secret. A superuser can allow it: GRANT SET ON PARAMETER "
    "app.settings.api_url, app.settings.cron_secret, app.settings.cron_secret_previous, app.settings.cron_targets TO "
    "the "
    "role. If another program sets it in each session, as PostgREST does, start the server with "
    "wee5_cron.protect_secret = off. wee5_cron then ignores that program's "
    "value.";

bool refuses_app_setting(const ErrorData* error) {
  if (error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE || error->hint != nullptr || error->message == nullptr)
    return false;
  // Compares the message in Postgres's source, because the user may get it in any language.
  if (error->message_id == nullptr || strcmp(error->message_id, "permission denied to set parameter \"%s\"") != 0)
    return false;
  return strstr(error->message, kApiUrlSetting) != nullptr || strstr(error->message, kCronSecretSetting) != nullptr ||
         strstr(error->message, kTargetsSetting) != nullptr;
}

void add_hint(ErrorData* error) {
  if (refuses_app_setting(error))
    error->hint = MemoryContextStrdup(error->assoc_context != nullptr ? error->assoc_context : ErrorContext,
                                      app_settings_are_open() ? kHintWhereOpen : kHintWhereProtected);
  if (next_hook != nullptr) next_hook(error);
}

}  // namespace

bool stores_settings(Node* statement) {
  return IsA(statement, AlterRoleSetStmt) || IsA(statement, AlterDatabaseSetStmt) ||
         IsA(statement, CreateFunctionStmt) || IsA(statement, AlterFunctionStmt);
}

void ask_for_right_to_app_settings(bool ask) {
  if (!app_settings_are_open()) return;
  // Event triggers run statements within statements: only the outermost one changes the settings.
  static int asking = 0;
  asking += ask ? 1 : -1;
  if (asking != (ask ? 1 : 0)) return;
  for (const char* name : {kApiUrlSetting, kCronSecretSetting, kPreviousSecretSetting, kTargetsSetting}) {
    config_generic* setting = setting_record(name);
    // Only a setting that this library defined: another one may have defined it first.
    if (setting != nullptr && (setting->context == PGC_USERSET || setting->context == PGC_SUSET) &&
        (setting->flags & GUC_DISALLOW_IN_FILE) != 0)
      setting->context = ask ? PGC_SUSET : PGC_USERSET;
  }
}

void install_app_setting_hint() {
  next_hook = emit_log_hook;
  emit_log_hook = add_hint;
}

}  // namespace wee5::pg
