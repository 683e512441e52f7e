#include "wee5_cron/pg/settings/log_redaction.h"

#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

namespace {

emit_log_hook_type next_hook = nullptr;

constexpr const char* kSecretSettings[] = {kPreviousSecretSetting, kCronSecretSetting, kTargetsSetting,
                                           kAlertUrlSetting, kProxySetting};

// Its arguments are secrets, too, and Postgres may refuse them before the function begins.
constexpr const char* kConfigureTarget = "configure_target";

// The name of a secret setting, or of the function, in the text; NULL if there is none.
const char* secret_setting_in(const char* text) {
  if (text == nullptr) return nullptr;
  for (const char* setting : kSecretSettings)
    if (strcasestr(text, setting) != nullptr) return setting;
  return strcasestr(text, kConfigureTarget) != nullptr ? kConfigureTarget : nullptr;
}

void replace_message(ErrorData* error, const char* format, const char* setting) {
  MemoryContext old = MemoryContextSwitchTo(error->assoc_context != nullptr ? error->assoc_context : ErrorContext);
  error->message = psprintf(format, setting);
  MemoryContextSwitchTo(old);
}

// The message in Postgres's source, because the log may be in any language.
bool is_message(const ErrorData* error, const char* message_id) {
  return error->message_id != nullptr && strcmp(error->message_id, message_id) == 0;
}

// When a reload changes a setting, the postmaster logs the new value.
void hide_changed_value(ErrorData* error) {
  if (!is_message(error, "parameter \"%s\" changed to \"%s\"")) return;
  if (const char* setting = secret_setting_in(error->message))
    replace_message(error, "parameter \"%s\" changed", setting);
}

// A statement that names a secret setting may hold its value. The server would log the statement below the error that
// it caused, as STATEMENT, as CONTEXT (in a function) or as QUERY (in an EXECUTE). A syntax error quotes a part of it.
void hide_statement(ErrorData* error) {
  const char* setting = secret_setting_in(debug_query_string);
  if (setting != nullptr) error->hide_stmt = true;
  if (setting == nullptr) setting = secret_setting_in(error->internalquery);
  if (setting != nullptr || secret_setting_in(error->context) != nullptr) error->hide_ctx = true;
  if (setting == nullptr) return;
  error->internalquery = nullptr;
  // Headers that are no JSON would be quoted here.
  if (setting == kConfigureTarget && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
    error->detail = nullptr;
  if (is_message(error, "%s at or near \"%s\""))
    replace_message(error, "syntax error in a statement that names %s", setting);
}

void redact(ErrorData* error) {
  hide_changed_value(error);
  hide_statement(error);
  if (next_hook != nullptr) next_hook(error);
}

}  // namespace

void install_log_redaction() {
  next_hook = emit_log_hook;
  emit_log_hook = redact;
}

}  // namespace wee5::pg
