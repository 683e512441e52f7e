#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Headers as plain C strings, UTF-8, palloc'd.
struct HeaderList {
  int count;
  char** names;
  char** values;
};

// Reads a JSON object whose values are strings, as the column `headers` holds it. Raises 22023 for anything else.
void headers_from_jsonb(Jsonb* jsonb, HeaderList* headers);
// The same for what is stored already and must not stop anybody: false where it cannot be read, never an ERROR.
bool headers_from_stored_jsonb(Jsonb* jsonb, HeaderList* headers);
// The other way; names and values UTF-8.
Jsonb* jsonb_from_headers(const HeaderList* headers);

}  // namespace wee5::pg
