#pragma once

#include "wee5_cron/pg/settings/vault.h"

namespace wee5::pg {

// An address and the secret that goes there. UTF-8, palloc'd; NULL: none.
struct StoredPair {
  const char* api_url;
  const char* cron_secret;
};

// What becomes of the previous secret when configure() stores a pair, for this database or in Vault. NULL: it stays as
// it is. Empty: it is removed. Else the document that is stored next to the new secret. Needs a transaction.
const char* previous_after_database(const StoredPair* next, bool keep_previous);
const char* previous_after_vault(const StoredPair* next, bool keep_previous, const VaultNames* names);

}  // namespace wee5::pg
