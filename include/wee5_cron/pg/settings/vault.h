#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// Supabase Vault: the extension supabase_vault, whose view vault.decrypted_secrets shows secrets that are encrypted on
// disk. A schema or view of that name that does not belong to the extension is never touched.

// What Vault holds. Palloc'd, UTF-8; NULL: not there.
struct VaultValues {
  char* api_url;
  char* cron_secret;
  char* trouble;  // why it could not be read
  char* hint;
};

// What a session was given explicitly; NULL: not given.
struct SessionSettings {
  const char* api_url;
  const char* cron_secret;
};

// Reads Vault where neither the session (NULL: there is none), nor `stored`, nor the server's command line gives both
// values. Then `stored` is read anew as of the very snapshot in which Vault is read: address and secret of one call are
// never of two times. Runs as the current user; what Vault refuses is `trouble`, not an ERROR.
void complete_from_vault(Oid role, const SessionSettings* session, StoredSettings* stored, VaultValues* vault);

// A registered snapshot of now, to be unregistered, with the number of transactions that had ended before it.
struct FreshSnapshot {
  Snapshot snapshot;
  uint64 ended;
};
FreshSnapshot take_fresh_snapshot();
// The same for many roles at one time: `stored` as of that snapshot. Vault is decrypted once for all that have the same
// names for its secrets.
void complete_from_vault_at(const FreshSnapshot* now, Oid role, const SessionSettings* session, StoredSettings* stored,
                            VaultValues* vault);
// Reads Vault whatever else is set; `stored` says the names.
void read_vault(const StoredSettings* stored, VaultValues* vault);

// Names of secrets, in the server's encoding.
struct VaultNames {
  const char* api_url;
  const char* cron_secret;
};

// As this session has them, and without what it was given explicitly.
VaultNames vault_names(const StoredSettings* stored);
VaultNames stored_vault_names(const StoredSettings* stored);

// Creates or updates both secrets, as the current user. Raises 55000 where the extension is not there. UTF-8.
void store_in_vault(const VaultNames* names, const char* api_url, const char* cron_secret);

}  // namespace wee5::pg
