#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// What configure() and configure_target() share. Their statements hold a secret.

enum Store { kStoreDatabase, kStoreVault };
// Raises 22023 where it is neither.
Store parse_store(const char* text);

inline constexpr int kShortSecret = 16;
void warn_of_short_secret();

// Shows another text for the statement, in pg_stat_activity, in the STATEMENT line of errors and in the log of a crash,
// and hides the context of errors until show_context().
void hide_statement(const char* shown, ErrorContextCallback* callback);
void show_context(const ErrorContextCallback* callback);

// Checks the rights that ALTER DATABASE requires for these settings. `function`: its signature, whose owner needs them.
void check_rights(const char* function, const char* const* settings, int count);

// ALTER DATABASE ... SET of this database, without a statement. An empty value is none: RESET.
void alter_database(const char* setting, const char* utf8);

// Appends whom ALTER names for a row of pg_db_role_setting, such as "ROLE x IN DATABASE y". False: the role was dropped
// at this moment.
bool append_owner_of_entry(StringInfo text, Oid database, Oid role);

// Whether a document that calls of this database may read has further headers for the app. `vault`: what Vault holds.
bool app_has_further_headers(const char* vault);

}  // namespace wee5::pg
