#include "wee5_cron/pg/settings/role_secrets.h"

#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/text/text.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"

namespace wee5::pg {

void collect_role_secrets(const char* role, RoleSecrets* secrets) {
  StoredSettings settings;
  read_stored_settings(get_role_oid(role, true), &settings);
  read_vault(&settings, &secrets->vault);
  secrets->stored = settings.cron_secret;
  secrets->command_line = command_line_cron_secret();
  secrets->unknown = secrets->vault.trouble != nullptr && !is_set(&secrets->stored);
}

std::vector<std::string> texts_of(const RoleSecrets& secrets) {
  const StoredValue& stored = secrets.stored;
  std::vector<std::string> texts;
  for (const char* held : {static_cast<const char*>(stored.role_in_database), static_cast<const char*>(stored.role),
                           static_cast<const char*>(stored.database), static_cast<const char*>(stored.all),
                           secrets.command_line, static_cast<const char*>(secrets.vault.cron_secret)}) {
    core::SettingCandidates candidate;
    candidate.all = view_or_empty(held);
    std::string secret = core::choose_setting(candidate).value;
    if (!secret.empty()) texts.push_back(std::move(secret));
  }
  return texts;
}

// wee5_cron.redact_for(role name, value text) -> text
WEE5_SQL_FUNCTION(wee5_cron_redact_for) {
  if (PG_ARGISNULL(1)) PG_RETURN_NULL();
  const char* value = to_utf8_lossy(text_to_cstring(PG_GETARG_TEXT_PP(1)));
  RoleSecrets secrets;
  collect_role_secrets(PG_ARGISNULL(0) ? "" : NameStr(*PG_GETARG_NAME(0)), &secrets);
  if (secrets.unknown) PG_RETURN_TEXT_P(cstring_to_text(kWithheld));
  // A secret of one byte may become nine.
  TextBuffer texts = make_text_buffer(9 * strlen(value) + 1024);
  const char* redacted = value;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        std::string text(value);
        for (const std::string& secret : texts_of(secrets)) text = core::redact(text, secret);
        redacted = texts.put(text);
      }))
    raise(&failure);
  PG_RETURN_TEXT_P(cstring_to_text(from_utf8(redacted)));
}

}  // namespace wee5::pg
