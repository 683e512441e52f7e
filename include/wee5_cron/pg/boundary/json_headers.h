#pragma once

#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// Headers as plain C strings, UTF-8, palloc'd.
struct HeaderList {
  int count;
  char** names;
  char** values;
};

// Reads a JSON object of strings, such as the column `headers` holds. Raises 22023 for anything else. NULL: no headers.
void headers_from_jsonb(Jsonb* jsonb, HeaderList* headers);
// The same for a stored value, which must not stop the worker: returns false if it is not an object of strings.
bool headers_from_stored_jsonb(Jsonb* jsonb, HeaderList* headers);
// Makes the JSON object of a list.
Jsonb* jsonb_from_headers(const HeaderList* headers);

}  // namespace wee5::pg
