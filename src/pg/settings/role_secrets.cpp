#include "wee5_cron/pg/settings/role_secrets.h"

#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/targets.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/redact.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"

namespace wee5::pg {

void collect_role_secrets(const char* role, RoleSecrets* secrets) {
  StoredSettings settings;
  read_stored_settings(get_role_oid(role, true), &settings);
  read_vault(&settings, &secrets->vault);
  secrets->stored = settings.cron_secret;
  secrets->previous = settings.previous_secret;
  secrets->targets = settings.targets;
  secrets->command_line = command_line_cron_secret();
  secrets->command_line_targets = command_line_cron_targets();
  secrets->unknown = secrets->vault.trouble != nullptr && !is_set(&secrets->stored);
}

std::vector<std::string> texts_of(const RoleSecrets& secrets) {
  std::vector<std::string> texts;
  const auto keep = [&texts](std::string_view secret) {
    secret = core::without_blanks_around(secret);
    if (!secret.empty()) texts.emplace_back(secret);
  };
  for (char* StoredValue::*level :
       {&StoredValue::role_in_database, &StoredValue::role, &StoredValue::database, &StoredValue::all}) {
    keep(view_or_empty(secrets.stored.*level));
    keep(core::secret_of_document(view_or_empty(secrets.previous.*level)));
  }
  keep(view_or_empty(secrets.command_line));
  keep(view_or_empty(secrets.vault.cron_secret));
  keep(core::secret_of_document(view_or_empty(secrets.vault.previous_secret)));
  const core::Targets targets(
      candidates_of(secrets.targets, secrets.command_line_targets, secrets.vault, secrets.vault.targets));
  for (const std::string& secret : targets.secrets()) keep(secret);
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
  if (!run_cpp(&failure, [&] { redacted = texts.put(core::redact_all(value, texts_of(secrets))); })) raise(&failure);
  PG_RETURN_TEXT_P(cstring_to_text(from_utf8(redacted)));
}

}  // namespace wee5::pg
