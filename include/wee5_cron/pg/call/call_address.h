#pragma once

#include "wee5_cron/core/text/text_buffer.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// core::SecretHeaders. Texts UTF-8, palloc'd.
struct SecretHeaderTexts {
  const char* header;
  const char* prefix;
  const char* further;  // core::header_lines()
};

// Where a call goes, and with which secret. Texts UTF-8, palloc'd.
struct CallAddress {
  const char* url;     // NULL: the address or the secret is missing
  const char* secret;  // NULL with it
  SecretHeaderTexts headers;
  // The secret that the app expected before, if it may still go to this URL; NULL: none.
  const char* previous_secret;
  int64 previous_until_us;  // Unix time
  const char* missing;      // what to say about the setting that is missing; NULL: none is
  const char* missing_hint;
  const char* session_only;  // the setting that only this session has, so that no worker knows it; NULL: none
  core::TextBuffer texts;
};

// As app.settings.* are now for a role, and in this session. `path`: UTF-8, with the name of the target if there is
// one. `sends`: this session sends the call; if not, the app's further headers may be missing, which cost a look into
// Vault. Raises 55000 where the address is no usable URL or leads elsewhere than the app.
void find_address_of_session(Oid role, const char* path, bool sends, CallAddress* address);
// As they are stored for a role: for a call that this session did not make. Raises 55000 also where one is missing.
void find_stored_address(Oid role, const char* path, CallAddress* address);

// Raises 55000 with the error of the missing setting.
[[noreturn]] void refuse_missing_setting(const CallAddress* address);

}  // namespace wee5::pg
