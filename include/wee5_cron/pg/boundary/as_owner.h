#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Runs `work` as `owner`, with SPI connected. The security context keeps triggers and functions that others attached to
// the tables from doing more than the owner may.
template <class Work>
void as_owner(Oid owner, Work work) {
  Oid saved_user;
  int saved_context;
  GetUserIdAndSecContext(&saved_user, &saved_context);
  SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
  SPI_connect();
  work();
  SPI_finish();
  SetUserIdAndSecContext(saved_user, saved_context);
}

}  // namespace wee5::pg
