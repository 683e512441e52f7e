#pragma once

#include <string>
#include <string_view>
#include <vector>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/settings/stored_settings.h"
#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

// Every secret that a request of a role may have carried: stored, on the server's command line, or in Vault. Palloc'd,
// UTF-8.
struct RoleSecrets {
  StoredValue stored;
  StoredValue previous;  // of which core::secret_of_document() finds the secret
  StoredValue targets;
  const char* command_line;
  const char* command_line_targets;
  VaultValues vault;
  bool unknown;  // Vault cannot be read, and nothing is stored: no text of an answer may be shown
};
void collect_role_secrets(const char* role, RoleSecrets* secrets);

// Stands for a text that might hold a secret that is unknown.
inline constexpr const char* kWithheld = "[not kept: Vault cannot be read, so the secret could not be struck out]";

// Stands for the text of an answer to a call that carried a secret which is not stored any more.
inline constexpr const char* kForgotten =
    "[not kept: a secret of this call is not stored any more, so it could not be struck out]";

// C++: those that are set, without the white space around them.
std::vector<std::string> texts_of(const RoleSecrets& secrets);

// By this number pg_net_request tells whether the secrets of a request are still known. The same secret has the same
// number in each row, so all rows together tell no more than 32 bits of it. hashtext() in SQL.
inline int32 digest_of(std::string_view secret) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(secret.data());
  return static_cast<int32>(hash_bytes(bytes, static_cast<int>(secret.size())));
}

}  // namespace wee5::pg
