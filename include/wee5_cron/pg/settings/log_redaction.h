#pragma once

namespace wee5::pg {

// Keeps the values of secret settings (the bearer secret, the alert webhook, the proxy's password) out of the messages
// that Postgres itself writes about a setting. A statement that the administrator logs on purpose, with log_statement
// or log_min_duration_statement, is logged as it is.
void install_log_redaction();

}  // namespace wee5::pg
