#pragma once

#include "wee5_cron/pg/compat.h"

namespace wee5::pg {

// Whether this database makes calls: a restored dump and a copied database do not until somebody says so. In a
// transaction with an active snapshot.
bool database_is_armed();

// An ERROR where it does not.
void require_armed();

}  // namespace wee5::pg
