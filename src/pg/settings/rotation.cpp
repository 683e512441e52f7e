// The secret that configure() replaces. It is kept for a day next to the new one.

#include "wee5_cron/pg/settings/rotation.h"

#include <string>

#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/delivery/address/url.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/settings/guc.h"
#include "wee5_cron/pg/settings/setting_candidates.h"

namespace wee5::pg {

namespace {

// The pair that the new one replaces: the one in the same place. A value that is missing there comes from the source
// that counted until now.
struct Replaced {
  StoredPair there;
  StoredSettings stored;  // of a role that has no settings of its own
  VaultValues vault;
};

std::string value_of(const char* there, const StoredValue& stored, const char* command_line, const VaultValues& vault,
                     const char* vault_value) {
  core::SettingCandidates candidates = candidates_of(stored, command_line, vault, vault_value);
  if (there != nullptr) candidates.session = there;  // before all others
  return core::choose_setting(candidates).value;
}

const char* document_after(const Replaced* replaced, const StoredPair* next, bool keep, TextBuffer* texts) {
  const VaultValues& vault = replaced->vault;
  const std::string secret = value_of(replaced->there.cron_secret, replaced->stored.cron_secret,
                                      command_line_cron_secret(), vault, vault.cron_secret);
  const std::string url =
      value_of(replaced->there.api_url, replaced->stored.api_url, command_line_api_url(), vault, vault.api_url);
  switch (core::rotation_step(secret, next->cron_secret, delivery::same_origin(url, next->api_url), keep)) {
    case core::RotationStep::kLeave:
      return nullptr;
    case core::RotationStep::kRemove:
      return "";
    case core::RotationStep::kReplace:
      break;
  }
  const std::int64_t until_us = unix_us_of(GetCurrentTimestamp()) + core::kPreviousSecretKeptUs;
  return texts->put(core::write_previous_secret({secret, url, until_us}));
}

const char* document_of(const Replaced* replaced, const StoredPair* next, bool keep) {
  Size bytes = bytes_of(replaced->there.api_url) + bytes_of(replaced->there.cron_secret) +
               bytes_of(&replaced->stored.api_url) + bytes_of(&replaced->stored.cron_secret) +
               bytes_of(command_line_api_url()) + bytes_of(command_line_cron_secret()) + bytes_of(&replaced->vault);
  TextBuffer texts = make_text_buffer(6 * bytes + 256);
  const char* document = nullptr;
  CppFailure failure;
  if (!run_cpp(&failure, [&] { document = document_after(replaced, next, keep, &texts); })) raise(&failure);
  return document;
}

}  // namespace

const char* previous_after_database(const StoredPair* next, bool keep_previous) {
  Replaced replaced;
  memset(&replaced, 0, sizeof(replaced));
  read_stored_settings(InvalidOid, &replaced.stored);
  complete_from_vault(InvalidOid, nullptr, false, &replaced.stored, &replaced.vault);
  replaced.there = {replaced.stored.api_url.database, replaced.stored.cron_secret.database};
  return document_of(&replaced, next, keep_previous);
}

const char* previous_after_vault(const StoredPair* next, bool keep_previous, const VaultNames* names) {
  Replaced replaced;
  memset(&replaced, 0, sizeof(replaced));
  read_stored_settings(InvalidOid, &replaced.stored);
  read_vault_by_names(names, &replaced.vault);
  replaced.there = {replaced.vault.api_url, replaced.vault.cron_secret};
  return document_of(&replaced, next, keep_previous);
}

namespace {

// What doctor() may know about the previous secret.
struct KeptSecret {
  bool is_kept;
  const char* api_url;  // NULL: the value is not what configure() writes
  int64 until_us;
  bool is_used;
};

void describe_kept(const StoredSettings* stored, const VaultValues* vault, int64 now_us, KeptSecret* kept,
                   TextBuffer* texts) {
  const core::Setting url =
      core::choose_setting(candidates_of(stored->api_url, command_line_api_url(), *vault, vault->api_url));
  const core::Setting secret =
      core::choose_setting(candidates_of(stored->cron_secret, command_line_cron_secret(), *vault, vault->cron_secret));
  const std::string value =
      core::value_at(candidates_of(stored->previous_secret, nullptr, *vault, vault->previous_secret), secret.source);
  kept->is_kept = !value.empty();
  const auto previous = core::read_previous_secret(value);
  if (!previous) return;
  kept->api_url = texts->put(previous->api_url);
  kept->until_us = previous->until_us;
  kept->is_used = now_us < previous->until_us && delivery::same_origin(previous->api_url, url.value);
}

}  // namespace

// wee5_cron.previous_secret_of(role name, OUT is_kept, OUT api_url, OUT until, OUT is_used) -> record
WEE5_SQL_FUNCTION(wee5_cron_previous_secret_of) {
  Oid role = PG_ARGISNULL(0) ? GetSessionUserId() : get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
  StoredSettings stored;
  VaultValues vault;
  read_stored_settings(role, &stored);
  complete_from_vault(role, nullptr, false, &stored, &vault);
  KeptSecret kept = {false, nullptr, 0, false};
  int64 now_us = unix_us_of(GetCurrentTimestamp());
  TextBuffer texts = make_text_buffer(bytes_of(&stored.previous_secret) + bytes_of(&vault) + 1);
  CppFailure failure;
  if (!run_cpp(&failure, [&] { describe_kept(&stored, &vault, now_us, &kept, &texts); })) raise(&failure);

  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.previous_secret_of must return a row");
  Datum values[4] = {BoolGetDatum(kept.is_kept), 0, TimestampTzGetDatum(timestamp_of_unix_us(kept.until_us)),
                     BoolGetDatum(kept.is_used)};
  bool nulls[4] = {false, kept.api_url == nullptr, kept.api_url == nullptr, false};
  if (kept.api_url != nullptr) values[1] = CStringGetTextDatum(from_utf8(kept.api_url));
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

}  // namespace wee5::pg
