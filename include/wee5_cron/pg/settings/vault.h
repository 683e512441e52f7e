#pragma once

#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/settings/stored_settings.h"

namespace wee5::pg {

// Supabase Vault is the extension supabase_vault. Its view vault.decrypted_secrets shows secrets that are encrypted on
// disk. This code never touches a schema or view of that name that does not belong to the extension.

// What Vault holds. Palloc'd, UTF-8; NULL: nothing.
struct VaultValues {
  char* api_url;
  char* cron_secret;
  char* previous_secret;
  char* targets;
  char* trouble;  // why Vault could not be read; NULL: it could
  char* hint;
};

// The values that a session was given explicitly; NULL: none.
struct SessionSettings {
  const char* api_url;
  const char* cron_secret;
  const char* targets;
};

// Reads Vault if it is installed, and either targets and headers of the app are needed, which Vault may always hold, or
// the session (NULL: there is none), `stored` and the server's command line do not give address and secret. If it reads
// Vault, it also reads `stored` again in the same snapshot, so that the
// address and the secret of a call are never of two times. Runs as the current user. If Vault refuses, sets `trouble`
// and raises no error.
void complete_from_vault(Oid role, const SessionSettings* session, bool needs_targets, StoredSettings* stored,
                         VaultValues* vault);

// A new snapshot, registered (the caller unregisters it), and the number of transactions that had ended before it.
struct FreshSnapshot {
  Snapshot snapshot;
  uint64 ended;
};
FreshSnapshot take_fresh_snapshot();
// The same as of a given snapshot, with targets, for many roles. Decrypts Vault once for all roles with the same names
// for its secrets.
void complete_from_vault_at(const FreshSnapshot* now, Oid role, const SessionSettings* session, StoredSettings* stored,
                            VaultValues* vault);
// Reads Vault even if both values are set elsewhere; `stored` says the names.
void read_vault(const StoredSettings* stored, VaultValues* vault);

// Names of secrets, in the server's encoding.
struct VaultNames {
  const char* api_url;
  const char* cron_secret;
  const char* previous_secret;  // that of the secret, and "_previous"
};

// Reads Vault under these names, whatever is set elsewhere.
void read_vault_by_names(const VaultNames* names, VaultValues* vault);

// The names of the secrets for this session, and the names without the session's own settings.
VaultNames vault_names(const StoredSettings* stored);
VaultNames stored_vault_names(const StoredSettings* stored);

// Creates or updates the secrets (UTF-8) as the current user. Raises 55000 if the extension is not installed.
// `previous_secret`: NULL: stays as it is; empty: is removed.
void store_in_vault(const VaultNames* names, const char* api_url, const char* cron_secret, const char* previous_secret);
// The same for the targets. Empty: they are removed.
void store_targets_in_vault(const char* document);

}  // namespace wee5::pg
